"""Full fine-tuning: the steps of a plain model of transformers, under a plain loop and under its Trainer."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    DistilBertConfig,
    DistilBertModel,
    MegatronBertConfig,
    MegatronBertModel,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
    XLMConfig,
    XLMModel,
)
from transformers.optimization import Adafactor

from tests.making.encoders import ENCODERS, SIZES, save_encoder
from tests.xpe_core.training.test_training import train_pack
from tests.xpe_core.tunings.test_in_packs import IDLE
from xpe_core.backbones.backbone import load_backbone, measure
from xpe_core.config import RunConfig
from xpe_core.data.tokens import load_tokens
from xpe_core.errors import InputError
from xpe_core.pack import Pack, build_run, check_config, count_trained_parameters, rate_and_decay
from xpe_core.training.order import draw_batches
from xpe_core.training.training import Training

HEAD = {"head.dense": "classifier.dense", "head.out": "classifier.out_proj"}
"""What our head's layers are called in XLM-R's class."""
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
OTHERS: dict[str, Callable[[], PreTrainedModel]] = {
    **ENCODERS,
    "distilbert": lambda: DistilBertModel(
        DistilBertConfig(vocab_size=20, dim=32, n_layers=2, n_heads=4, hidden_dim=48)
    ),
    "modernbert": lambda: ModernBertModel(ModernBertConfig(**SIZES, max_position_embeddings=32, pad_token_id=1)),
    "megatron-bert": lambda: MegatronBertModel(MegatronBertConfig(**SIZES, max_position_embeddings=32)),
    "xlm": lambda: XLMModel(XLMConfig(vocab_size=20, emb_dim=32, n_layers=2, n_heads=4, max_position_embeddings=32)),
}


@pytest.fixture
def settings(base: dict[str, Any]) -> dict[str, Any]:
    """Give a small run of full fine-tuning."""
    names = ("backbone", "dataset", "source_set", "batch_size", "eval_steps", "max_length", "precision", "pooling")
    few = {"max_steps": 5, "eval_steps": 5, "learning_rate": 1e-3, "head_dropout": 0.0, "optimizer": "adamw"}
    return {**{name: base[name] for name in names}, **few, "tuning": "full"}


def pad(data: Any, rows: np.ndarray) -> dict[str, Tensor]:
    token_ids = data.pad(rows)
    return {
        "input_ids": token_ids,
        "attention_mask": torch.arange(token_ids.shape[1]) < torch.from_numpy(data.lengths[rows])[:, None],
    }


def run_plain_loop(config: RunConfig, data: Any) -> tuple[PreTrainedModel, nn.Module]:
    """Return a model of transformers and a head after a config's steps, each written out."""
    model = AutoModel.from_pretrained(config.backbone, add_pooling_layer=False, **NO_DROPOUT).float()
    head = build_run(config, load_backbone(config.backbone).shape, len(data.label_names))["head"]
    named = {f"full.{name}": value for name, value in model.named_parameters()}
    named |= {f"head.{name}": value for name, value in head.named_parameters()}
    rates = {name: rate_and_decay(name, config) for name in named}
    groups = [{"params": [named[name]], "lr": rate, "weight_decay": decay} for name, (rate, decay) in rates.items()]
    optimizer: torch.optim.Optimizer
    if config.training.optimizer == "adafactor":
        optimizer = Adafactor(groups, scale_parameter=False, relative_step=False)
    else:
        optimizer = torch.optim.AdamW(groups)
    rows = data.select(["deu_Latn", "eng_Latn"], "train")
    batches = draw_batches(rows, data.lengths[rows], config)
    for _ in range(config.training.max_steps):
        batch = pad(data, chosen := next(batches))
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bfloat16"):
            hidden = model(**batch).last_hidden_state.float()
        mask = batch["attention_mask"][:, :, None]
        pooled = hidden[:, 0] if config.values["pooling"] == "first" else (hidden * mask).sum(1) / mask.sum(1)
        optimizer.zero_grad()
        functional.cross_entropy(head(pooled, []), torch.from_numpy(data.labels[chosen])).backward()
        nn.utils.clip_grad_norm_(named.values(), config.training.max_grad_norm)
        optimizer.step()
    return model, head


def drop_idle(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in parameters.items() if not name.endswith(IDLE)}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("pooling", ["first", "mean"])
@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_steps_are_those_of_a_plain_loop_over_transformers_own_model(
    settings: dict[str, Any], optimizer: str, pooling: str, precision: str
) -> None:
    plain = {"schedule": "constant", "warmup_ratio": 0.0, "max_grad_norm": 0.5, "backbone_learning_rate": 3e-4}
    if optimizer == "adafactor":
        # in its first step a change has the sign of the gradient alone, be that no more than rounding error
        plain |= {"learning_rate": 1e-4, "backbone_learning_rate": 1e-4}
    config = RunConfig(**{**settings, **plain, "optimizer": optimizer, "pooling": pooling, "precision": precision})
    data = load_tokens(config.data.dataset, config.backbone, config.data.max_length)
    model, head = run_plain_loop(config, data)
    trained, _, _ = train_pack([config])
    expected = {f"full.{name}": value for name, value in model.named_parameters()}
    expected |= {f"head.{name}": value for name, value in head.named_parameters()}
    found = trained.run_parameters(0)
    assert found.keys() == expected.keys()
    tolerance = 1e-5 if precision == "float32" else 3e-3  # of 1e-3 a step: signs of what bfloat16 rounds away
    for name, value in drop_idle(expected).items():
        torch.testing.assert_close(found[name], value.data, atol=tolerance, rtol=0, msg=name)
    start = load_backbone(config.backbone).model.state_dict()
    assert all((found[f"full.{name}"] - value).abs().max() > 1e-4 for name, value in start.items() if value.any())


def test_steps_are_those_of_transformers_trainer(settings: dict[str, Any]) -> None:
    config = RunConfig(**{**settings, "pooling": "first", "schedule": "linear", "warmup_ratio": 0.4})
    data = load_tokens(config.data.dataset, config.backbone, config.data.max_length)
    model = AutoModelForSequenceClassification.from_pretrained(config.backbone, num_labels=3, **NO_DROPOUT).float()
    ours = build_run(config, load_backbone(config.backbone).shape, 3)["head"].state_dict()
    theirs = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in ours.items():
            layer, part = name.split(".")
            theirs[f"{HEAD[f'head.{layer}']}.{part}"].copy_(value)
    rows = data.select(["deu_Latn", "eng_Latn"], "train")
    batches = draw_batches(rows, data.lengths[rows], config)
    batch_rows = [next(batches) for _ in range(config.training.max_steps)]
    steps = [{**pad(data, chosen), "labels": torch.from_numpy(data.labels[chosen])} for chosen in batch_rows]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=config.training.max_steps,
            per_device_train_batch_size=1,
            learning_rate=config.training.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=2,
            weight_decay=config.training.weight_decay,
            max_grad_norm=config.training.max_grad_norm,
            train_sampling_strategy="sequential",
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
        )
        Trainer(model, arguments, train_dataset=steps, data_collator=lambda ones: ones[0]).train()
    trained, _, _ = train_pack([config])
    for name, value in drop_idle(trained.run_parameters(0)).items():
        part, _, own = name.partition(".")
        other = f"roberta.{own}" if part == "full" else f"{HEAD[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}"
        torch.testing.assert_close(value, theirs[other].data, atol=1e-5, rtol=0, msg=name)


@pytest.mark.parametrize("kind", OTHERS)
def test_the_weights_that_do_not_decay_are_those_of_transformers_trainer(kind: str, tmp_path: Path) -> None:
    model = OTHERS[kind]()
    model.pooler = None
    trainer = Trainer(model, TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[]))
    expected = set(trainer.get_decay_parameter_names(model))
    config = RunConfig(tuning="full", weight_decay=0.1)
    found = {name for name, _ in model.named_parameters() if rate_and_decay(f"full.{name}", config)[1]}
    assert found == expected and found


@pytest.mark.parametrize("kind", ENCODERS)
def test_as_many_numbers_are_trained_as_the_model_has(kind: str, tmp_path: Path) -> None:
    model = ENCODERS[kind]()
    model.pooler = None
    size = SIZES["hidden_size"]
    expected = sum(value.numel() for value in model.parameters()) + size * size + size + 3 * size + 3
    config = RunConfig(tuning="full", backbone=kind)
    assert count_trained_parameters(config, measure(kind, model), 3) == expected


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["xlm-roberta", "mdeberta-v3"])
def test_layers_that_are_computed_again_give_the_same_weights(
    settings: dict[str, Any], kind: str, dropout: float, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    backbone = save_encoder(tmp_path / kind, ENCODERS[kind]())
    config = RunConfig(**{**settings, "backbone": backbone, "backbone_dropout": dropout})
    kept, _, _ = train_pack([config])
    again, _, _ = train_pack([config.with_values(gradient_checkpointing=True)])
    start = load_backbone(backbone).model.state_dict()
    for name, value in kept.run_parameters(0).items():
        torch.testing.assert_close(again.run_parameters(0)[name], value, atol=1e-6, rtol=0, msg=name)
    assert any((kept.run_parameters(0)[f"full.{name}"] - value).abs().max() > 1e-3 for name, value in start.items())


def test_layers_that_are_computed_again_keep_fewer_numbers_for_the_backward_pass(settings: dict[str, Any]) -> None:
    sizes = {}
    for again in (False, True):
        config = RunConfig(**{**settings, "gradient_checkpointing": again})
        data = load_tokens(config.data.dataset, config.backbone, config.data.max_length)
        model = Pack(load_backbone(config.backbone), [config], 3)
        kept: list[int] = []

        def note(tensor: Tensor, kept: list[int] = kept) -> Tensor:
            kept.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            parameters = {name: value.requires_grad_() for name, value in model.parameters.items()}
            rows = data.select(["deu_Latn"], "train")
            model.outputs(parameters, model.insert(parameters, [0]), data.pad(rows)[None], data.lengths[rows])
        sizes[again] = sum(kept)
    assert sizes[True] < sizes[False] / 2


def test_a_backbone_without_layers_that_can_be_computed_again_is_refused() -> None:
    config = RunConfig(tuning="full", gradient_checkpointing=True, backbone="some", max_length=16)
    shape = measure("some", ENCODERS["bert"]())
    assert shape.can_repeat_layers
    with pytest.raises(InputError, match="gradient_checkpointing=True: the layers of some cannot be computed again"):
        check_config(config, replace(shape, can_repeat_layers=False))


def test_the_frozen_backbone_of_others_stays_as_it_is(settings: dict[str, Any]) -> None:
    backbone = load_backbone(settings["backbone"])
    before = {name: value.clone() for name, value in backbone.model.state_dict().items()}
    other = RunConfig(**{**settings, "tuning": "none"})
    first, _, _ = train_pack([other])
    trained, _, _ = train_pack([RunConfig(**settings)])
    second, _, _ = train_pack([other])
    assert all(torch.equal(value, before[name]) for name, value in backbone.model.state_dict().items())
    assert all(value.grad is None and not value.requires_grad for value in backbone.parameters())
    assert all(torch.equal(value, second.parameters[name]) for name, value in first.parameters.items())
    weights = trained.run_parameters(0)
    assert all(weights[f"full.{name}"].data_ptr() != value.data_ptr() for name, value in before.items())


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
@pytest.mark.parametrize("steps", [3, 4])
def test_a_run_goes_on_from_a_checkpoint_as_if_nothing_had_happened(
    settings: dict[str, Any], optimizer: str, steps: int
) -> None:
    config = RunConfig(**{**settings, "optimizer": optimizer, "max_steps": 9, "eval_steps": 4, "head_dropout": 0.2})
    data = load_tokens(config.data.dataset, config.backbone, config.data.max_length)
    whole, _, _ = train_pack([config])

    def start() -> Training:
        return Training(Pack(load_backbone(config.backbone), [config], 3), data)

    first, second = start(), start()
    for _ in range(steps):
        first.advance(0)
    second.restore(first.save())
    del first
    while not second.ended:
        second.advance()
    second.keep_best()
    for name, value in whole.run_parameters(0).items():
        assert torch.equal(value, second.model.run_parameters(0)[name]), name


def test_a_batch_that_does_not_fit_into_memory_is_taken_in_parts(settings: dict[str, Any], monkeypatch: Any) -> None:
    config = RunConfig(**settings)
    whole, _, _ = train_pack([config])
    read = Pack.read

    def read_few(self: Pack, insertion: Any, token_ids: Tensor, *others: Any) -> Tensor:
        if token_ids.shape[1] > 3 and torch.is_grad_enabled():
            raise torch.OutOfMemoryError
        return read(self, insertion, token_ids, *others)

    monkeypatch.setattr(Pack, "read", read_few)
    parts, _, _ = train_pack([config])
    for name, value in drop_idle(whole.run_parameters(0)).items():
        torch.testing.assert_close(parts.run_parameters(0)[name], value, atol=1e-5, rtol=0, msg=name)
