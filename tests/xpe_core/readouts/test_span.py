"""Spans: losses and gradients of transformers' class, the best span of all, and runs alone as in a pack."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertForQuestionAnswering

from tests.making.pairs import make_encoder
from tests.making.questions import write_questions
from xpe_core.backbones.backbone import load_backbone
from xpe_core.config import RunConfig
from xpe_core.data.asked import Asked
from xpe_core.data.tokens import TokenisedData, load_tokens
from xpe_core.errors import InputError
from xpe_core.pack import Pack
from xpe_core.readouts.span.choosing import choose, lose
from xpe_core.tasks import TASKS
from xpe_core.training.evaluation import evaluate
from xpe_core.training.training import Training, train

TUNINGS: dict[str, dict[str, Any]] = {
    "none": {"tuning": "none"},
    "prompt": {"num_virtual_tokens": 4, "encoder_ratio": 0.5, "encoder_hidden_size": 8},
    "lora": {"tuning": "lora", "rank": 2},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("span")
    return {"backbone": make_encoder("bert", folder / "bert"), "dataset": write_questions(folder / "data")}


def make_config(place: dict[str, str], **values: Any) -> RunConfig:
    base = {"task": "qa", "readout": "span", "columns": "split=50/17/33", "source_set": "eng_Latn", "max_length": 11}
    base |= {"doc_stride": 2, "batch_size": 6, "max_steps": 8, "eval_steps": 4, "learning_rate": 5e-3}
    return RunConfig(**{**base, **place, "precision": "float32", "optimizer": "adamw", **values})


def load(config: RunConfig) -> TokenisedData:
    return load_tokens(config.source, config.backbone, config.data.max_length, config.task)


def test_losses_and_gradients_are_those_of_transformers_class(place: dict[str, str]) -> None:
    config = make_config(place, tuning="none")
    data, backbone = load(config), load_backbone(config.backbone)
    model = BertForQuestionAnswering.from_pretrained(config.backbone).eval()
    pack = Pack(backbone, [config], 0)
    with torch.no_grad():
        model.qa_outputs.weight.copy_(pack.parameters["span.out.weight"][0] * 20)
        model.qa_outputs.bias.copy_(torch.tensor([0.3, -0.2]))
    parameters = {"span.out.weight": model.qa_outputs.weight, "span.out.bias": model.qa_outputs.bias}
    parameters = {name: value.detach()[None].clone().requires_grad_() for name, value in parameters.items()}
    rows = data.select(["eng_Latn"], "train")[:12]
    assert len(set(data.lengths[rows])) > 1
    ids, types = data.pad(rows)[None], data.pad_types(rows)
    assert types is not None
    outputs = pack.outputs(parameters, pack.insert(parameters, [0]), ids, data.lengths[rows], (), types[None])
    losses = lose(outputs, data.asked(rows[None]))[0]
    losses.mean().backward()
    expected = []
    for row in rows:  # each alone, without padding
        one, kind = data.pad(np.array([row])), data.pad_types(np.array([row]))
        start, end = torch.from_numpy(data.asked(np.array([row])).targets.numpy())[0]
        positions = {"start_positions": start[None], "end_positions": end[None]}
        expected.append(model(input_ids=one, token_type_ids=kind, **positions).loss)
    torch.stack(expected).mean().backward()
    torch.testing.assert_close(losses, torch.stack(expected), atol=1e-5, rtol=0)
    gradient = parameters["span.out.weight"].grad
    assert gradient is not None and gradient.abs().max() > 1e-3
    torch.testing.assert_close(gradient[0], model.qa_outputs.weight.grad, atol=1e-5, rtol=0)


@pytest.mark.parametrize("max_answer_length", [1, 3, 50])
def test_the_best_span_is_the_best_of_all(max_answer_length: int) -> None:
    torch.manual_seed(0)
    outputs = torch.randn(2, 5, 9, 2)
    places = torch.zeros(1, 5, 9, dtype=torch.bool)
    for window, (start, stop) in enumerate([(2, 8), (3, 9), (8, 9), (1, 5), (2, 4)]):
        places[0, window, start:stop] = True
    asked = Asked(torch.zeros(1, 5, 2, dtype=torch.long), torch.full((1, 5), 9), places)
    chosen = choose(outputs, asked, max_answer_length)
    for run, window in itertools.product(range(2), range(5)):
        inside = torch.nonzero(places[0, window]).flatten().tolist()
        spans = [(first, last) for first in inside for last in inside if 0 <= last - first < max_answer_length]
        logits = outputs[run, window]
        first, last = max(spans, key=lambda span: float(logits[span[0], 0] + logits[span[1], 1]))
        assert chosen[run, window].tolist() == pytest.approx([first, last, float(logits[first, 0] + logits[last, 1])])


def test_an_examples_answer_is_that_of_its_best_window(place: dict[str, str]) -> None:
    data = load(make_config(place))
    assert data.windows is not None
    rows = data.select(["eng_Latn"], "test")
    predictions = np.zeros((len(rows), 3), dtype=np.float32)
    for window, row in enumerate(rows):  # a window that holds the answer gives it, another one a worse score
        first, last = data.windows.targets[row]
        inside = np.flatnonzero(data.windows.starts[data.offsets[row] : data.offsets[row + 1]] >= 0)
        predictions[window] = (first, last, 2.0) if last else (inside[0], inside[0], 1.0)
    answered, right = TASKS["qa"].pair_up(data, rows, predictions)
    assert len(answered) == len(np.unique(data.windows.owners[rows])) < len(rows)
    assert all(answer in golds for answer, golds in zip(answered, right, strict=True))
    predictions[:, 2] *= -1  # now the others win, where there are others
    answered, right = TASKS["qa"].pair_up(data, rows, predictions)
    assert not all(answer in golds for answer, golds in zip(answered, right, strict=True))


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
@pytest.mark.parametrize("tuning", TUNINGS)
def test_a_run_in_a_pack_is_the_run_alone(place: dict[str, str], tuning: str, optimizer: str) -> None:
    configs = [make_config(place, **TUNINGS[tuning], optimizer=optimizer, seed=seed) for seed in (1, 2)]
    configs.append(configs[0].with_values(learning_rate=1e-2))
    data = load(configs[0])
    together = Pack(load_backbone(place["backbone"]), configs, 0)
    for _ in train(together, data):
        pass
    alone = Pack(load_backbone(place["backbone"]), configs[1:2], 0)
    before = {name: value.clone() for name, value in alone.parameters.items()}
    for _ in train(alone, data):
        pass
    assert any(not torch.equal(value, before[name]) for name, value in alone.parameters.items())
    for name, value in alone.run_parameters(0).items():
        torch.testing.assert_close(value, together.run_parameters(1)[name], atol=1e-5, rtol=0)


def test_training_goes_on_from_a_checkpoint_as_if_nothing_had_happened(place: dict[str, str]) -> None:
    configs = [make_config(place, **TUNINGS["prompt"], seed=seed) for seed in (1, 2)]
    data, backbone = load(configs[0]), load_backbone(place["backbone"])
    whole = Training(Pack(backbone, configs, 0), data)
    whole.advance()
    saved = whole.save()
    whole.advance()
    again = Training(Pack(backbone, configs, 0), data)
    again.restore(saved)
    again.advance()
    assert again.step == whole.step == 8
    for name, value in whole.model.parameters.items():
        torch.testing.assert_close(again.model.parameters[name], value, atol=0, rtol=0)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_both_metrics_are_of_questions(place: dict[str, str], precision: str) -> None:
    config = make_config(place, **TUNINGS["prompt"], precision=precision)
    data = load(config)
    (score,) = evaluate(Pack(load_backbone(place["backbone"]), [config], 0), data, "test", ["eng_Latn"])[0]
    assert data.windows is not None
    rows = data.select(["eng_Latn"], "test")
    assert score.num_examples == len(np.unique(data.windows.owners[rows])) < len(rows)
    assert list(score.score_sums) == ["f1", "exact_match"] and score.selecting == "f1" and not score.chance_sums
    assert 0 <= score.score_sums["exact_match"] <= score.score_sums["f1"] <= score.num_examples


def test_a_readout_of_another_kind_of_answer_is_refused(place: dict[str, str]) -> None:
    backbone = load_backbone(place["backbone"])
    with pytest.raises(InputError, match="task=qa: asks for another kind of answer than readout=head gives"):
        Pack(backbone, [make_config(place, readout="head")], 0)
    with pytest.raises(InputError, match="task=topic: asks for another kind .* allowed is readout=head"):
        Pack(backbone, [make_config(place, task="topic")], 3)
