"""Baselines that no step trains."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import AutoModel

import xpe_core
from tests.xpe_core.training.test_training import train_pack
from xpe_core.adapters import read_adapter, take_adapter, write_adapter
from xpe_core.backbones.backbone import load_backbone, load_tokenizer
from xpe_core.config import RunConfig
from xpe_core.data.tokens import TokenisedData
from xpe_core.errors import InputError
from xpe_core.pack import Pack, count_trained_parameters
from xpe_core.training.evaluation import evaluate


@pytest.fixture
def settings(base: dict[str, Any]) -> dict[str, Any]:
    names = ("backbone", "dataset", "source_set", "max_length", "precision", "optimizer", "max_steps")
    return {**{name: base[name] for name in names}, "tuning": "none"}


@pytest.mark.parametrize("readout", ["majority", "nearest_label"])
def test_no_step_is_taken_and_all_seeds_are_equal(settings: dict[str, Any], readout: str) -> None:
    config = RunConfig(**settings, readout=readout)
    model, reports, data = train_pack([config.with_seed(seed) for seed in (1, 2, 3)])
    assert [report.step for report in reports] == [0]
    assert {(run.state, run.num_steps, run.best_step) for run in reports[0].runs} == {("complete", 0, 0)}
    assert count_trained_parameters(config, model.backbone.shape, 3) == 0
    scores = evaluate(model, data, "test", ["kat_Geor", "eng_Latn"])
    assert scores[0] == scores[1] == scores[2]
    assert reports[0].runs[0].selection_accuracy == reports[0].runs[0].best_validation_accuracy > 0


@pytest.fixture
def uneven(settings: dict[str, Any]) -> Iterator[TokenisedData]:
    """Make one class rarer in the data that this process has loaded, and give it back its texts afterwards."""
    _, _, data = train_pack([RunConfig(**settings, readout="majority")])
    before = data.labels.copy()
    data.labels[np.flatnonzero(data.labels == 0)[:40]] = 2
    yield data
    data.labels[:] = before


def test_the_most_frequent_class_of_the_training_examples_is_every_answer(
    settings: dict[str, Any], uneven: TokenisedData
) -> None:
    model, _, _ = train_pack([RunConfig(**settings, readout="majority")])
    counts = Counter(uneven.labels[uneven.select(["deu_Latn", "eng_Latn"], "train")].tolist())
    most = counts.most_common(1)[0][0]
    expected = float((uneven.labels[uneven.select(["kat_Geor"], "test")] == most).sum())
    assert evaluate(model, uneven, "test", ["kat_Geor"])[0][0].score_sums["accuracy"] == expected


def test_the_nearest_name_is_that_of_transformers_own_model(settings: dict[str, Any], tmp_path: Any) -> None:
    config = RunConfig(**settings, readout="nearest_label", label_template="heeng1 {label} speng2")
    trained, _, data = train_pack([config])
    model, tokenizer = AutoModel.from_pretrained(config.backbone).eval(), load_tokenizer(config.backbone)

    def embed(texts: list[str]) -> torch.Tensor:
        batch = tokenizer(texts, padding=True, truncation=True, max_length=16, return_tensors="pt")
        mask = batch["attention_mask"][:, :, None]
        with torch.inference_mode():
            hidden = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        return (hidden * mask).sum(1) / mask.sum(1)

    texts = ["spdeu1 spdeu2 trdeu3", "heeng5", "tryor1 " * 9]
    names = embed([f"heeng1 {label} speng2" for label in data.label_names])
    cosines = functional.cosine_similarity(embed(texts)[:, None], names[None], dim=-1)
    adapter = take_adapter(trained, 0, data.label_names)
    write_adapter(adapter, tmp_path / "run.safetensors")
    read = read_adapter(tmp_path / "run.safetensors")
    assert read.fingerprint == adapter.fingerprint
    found = xpe_core.load(read, "cpu", "float32").probabilities(texts)
    torch.testing.assert_close(torch.from_numpy(found), (cosines / 0.01).softmax(-1), atol=1e-3, rtol=0)


def test_methods_have_their_names_and_what_cannot_be_is_refused(settings: dict[str, Any]) -> None:
    assert RunConfig(**settings, readout="majority").method == "majority"
    assert RunConfig(**settings, readout="nearest_label").method == "nearest"
    with pytest.raises(InputError, match="readout=majority: takes no step.*tuning must be none, not lora"):
        config = RunConfig(**{**settings, "tuning": "lora", "readout": "majority"})
        Pack(load_backbone(config.backbone), [config], 3)
    with pytest.raises(ValueError, match=r"must hold \{label\} once"):
        RunConfig(**settings, readout="nearest_label", label_template="about")
