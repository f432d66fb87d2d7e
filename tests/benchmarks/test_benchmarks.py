"""The parts of the benchmarks that decide what their numbers mean: who does what, on which examples, in which order."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import xpe_core
from benchmarks import micm, prediction, report
from benchmarks.setting import alternate, build_config, draw_examples, median_ratio, print_ratios, take, train_pack
from sweep.analysis import read_results
from sweep.storage import Folder
from xpe_core.adapters import take_adapter, write_peft
from xpe_core.backbones.backbone import load_backbone
from xpe_core.config import RunConfig
from xpe_core.data.examples import SPLITS
from xpe_core.data.tokens import TokenisedData, load_tokens
from xpe_core.pack import Pack


@pytest.fixture
def config(dataset: str, backbone: str) -> RunConfig:
    """Give the benchmarks' task on the tiny backbone and data."""
    arguments = Namespace(backbone=backbone, dataset=dataset)
    small: dict[str, Any] = {"source_set": "eng_Latn,kat_Geor", "batch_size": 8, "max_length": 16}
    return build_config(arguments, "float32", 5, encoder_hidden_size=8, **small)


@pytest.fixture
def data(config: RunConfig) -> TokenisedData:
    return load_tokens(config.data.dataset, config.backbone, config.data.max_length)


def test_a_round_has_as_many_examples_as_its_steps_see_and_others_than_the_next(
    config: RunConfig, data: TokenisedData
) -> None:
    first, second = draw_examples(data, config, 1), draw_examples(data, config, 2)
    assert len(set(first)) == len(set(second)) == 5 * 8
    assert set(first) != set(second)
    assert np.array_equal(first, draw_examples(data, config, 1))
    assert set(first) <= set(data.select(["eng_Latn", "kat_Geor"], "train"))


def test_a_part_of_the_data_holds_the_examples_and_a_little_validation(config: RunConfig, data: TokenisedData) -> None:
    examples = draw_examples(data, config, 1)
    part = take(data, examples)
    chosen = np.flatnonzero(part.split_ids == SPLITS.index("train"))
    assert np.array_equal(part.pad(chosen), data.pad(examples))
    assert np.array_equal(part.labels[chosen], data.labels[examples])
    validation = part.select(part.languages, "validation")
    assert [part.languages[place] for place in part.language_ids[validation]] == ["eng_Latn", "kat_Geor"]


def test_our_training_counts_the_text_tokens_of_every_run(config: RunConfig, data: TokenisedData) -> None:
    examples = draw_examples(data, config, 1)
    trained = train_pack(config, data, examples, 3)
    assert trained.num_tokens == 3 * data.lengths[examples].sum()
    assert trained.tokens_per_second == trained.num_tokens / trained.seconds


def test_the_peer_trains_the_same_examples(config: RunConfig, data: TokenisedData) -> None:
    peft_trainer = pytest.importorskip("benchmarks.peft_trainer", reason="peft and datasets are in the extra bench")
    examples = draw_examples(data, config, 1)
    trained = peft_trainer.train_peer(config, data, examples)
    assert trained.num_tokens == data.lengths[examples].sum()
    assert trained.seconds > 0


def test_the_peers_predictions_are_those_of_the_examples(config: RunConfig, data: TokenisedData) -> None:
    peft_trainer = pytest.importorskip("benchmarks.peft_trainer", reason="peft and datasets are in the extra bench")
    examples = draw_examples(data, config, 1)
    model = peft_trainer.build_model(config)
    trainer = peft_trainer.build_trainer(model, config, data, examples, per_device_eval_batch_size=4)
    found = peft_trainer.predict(trainer, data, examples)
    model.eval()
    for example, label in zip(examples, found, strict=True):
        token_ids = data.pad(np.array([example]))
        with torch.no_grad():
            logits = model(input_ids=token_ids, attention_mask=torch.ones_like(token_ids)).logits
        assert int(logits.argmax()) == label


def test_contestants_take_turns_and_the_warm_up_is_not_counted() -> None:
    calls: list[tuple[str, int]] = []

    def build(name: str) -> Any:
        def measure(number: int) -> float:
            calls.append((name, number))
            return 10.0 * number + len(calls)

        return measure

    measured = alternate({"one": build("one"), "other": build("other")}, 2)
    assert calls == [(name, number) for number in (0, 1, 2) for name in ("one", "other")]
    assert measured == {"one": [13.0, 25.0], "other": [14.0, 26.0]}
    calls.clear()
    assert len(alternate({"one": build("one")}, 2, warm_up=False)["one"]) == len(calls) == 2


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    # a machine that is three times slower in the second round: the medians' ratio would be 20 / 20
    assert median_ratio([10.0, 60.0, 20.0], [5.0, 30.0, 20.0]) == 2.0


def test_ratios_are_printed_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_ratios({"train_float32": 1.23456, "search": 4.0})
    assert capsys.readouterr().out == "ratio train_float32 1.235\nratio search 4.000\n"


def test_the_authors_framework_is_given_every_example_with_its_labels_place(dataset: str, tmp_path: Path) -> None:
    file = tmp_path / "made" / "train.json"
    labels = ("sports", "travel", "health")
    micm._write_split(file, Path(dataset), ["kat_Geor", "eng_Latn"], "train", labels)
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [row["language"] for row in rows] == ["kat_Geor"] * 48 + ["eng_Latn"] * 48
    for row in rows:
        assert row["text"].startswith(labels[row["label"]][:2])  # the tiny data's words begin with their label


def test_the_authors_clock_is_read_once_or_not_at_all() -> None:
    assert micm._find_seconds("{'train_runtime': '8.459', 'epoch': '1'}", "train_runtime") == 8.459
    with pytest.raises(RuntimeError, match="printed test_runtime 0 times"):
        micm._find_seconds("{'train_runtime': '8.459'}", "test_runtime")


def test_the_large_reports_experiment_has_every_run_on_every_language(tmp_path: Path) -> None:
    assert report.write_experiment(tmp_path / "made", num_arms=3, seeds=(1, 2)) == 3 * 4 * 2
    results = read_results([Folder(tmp_path / "made")])
    assert (len(results.languages), len(results.cells), results.problems.is_empty()) == (205, 12, True)
    assert results.arms == ["spt", "dual_0.5", "xpe"]


def test_how_much_faster_a_prediction_is_is_the_median_of_the_rounds() -> None:
    measured = {
        "float32: pipeline": [10.0, 5.0, 10.0],
        "float32: pipeline, batches of 8": [20.0, 10.0, 20.0],
        "float32: ours": [30.0, 15.0, 60.0],
        "bfloat16: pipeline": [20.0, 10.0, 20.0],
        "bfloat16: pipeline, batches of 16": [40.0, 20.0, 40.0],
        "bfloat16: ours": [100.0, 50.0, 100.0],
    }
    assert prediction.find_ratios(measured, "bfloat16") == {
        "prediction_float32_default": 3.0,
        "prediction_as_they_come_default": 10.0,
        "prediction_float32_best": 1.5,
        "prediction_as_they_come_best": 5.0,
        "prediction_bfloat16_default": 5.0,
        "prediction_bfloat16_best": 2.5,
    }


def test_the_pipeline_on_the_exported_adapter_gives_our_probabilities(config: RunConfig, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    model = Pack(load_backbone(config.backbone), [config], 3)
    adapter = take_adapter(model, 0, ("sports", "travel", "health"))
    adapter.parameters["head.out.weight"] *= 50
    write_peft(adapter, tmp_path / "exported")
    texts = ["spdeu1 spdeu2 trdeu3", "heeng5", "tryor1 " * 40]
    found = prediction.load_stock(adapter, str(tmp_path / "exported"), "float32")(2)(texts)
    assert np.abs(found - xpe_core.load(adapter).probabilities(texts)).max() < 1e-5
