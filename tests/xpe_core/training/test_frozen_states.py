"""A readout alone: the same from states that are computed once as through the backbone, and no pass of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import LANGUAGES
from xpe_core.backbones.backbone import Backbone, load_backbone
from xpe_core.config import RunConfig
from xpe_core.data.tokens import TokenisedData, load_tokens
from xpe_core.pack import Pack
from xpe_core.training.evaluation import evaluate
from xpe_core.training.frozen_states import FILE, FrozenStates
from xpe_core.training.training import Report, train
from xpe_core.tunings.none.tuning import NoTuning

SHARED = ("backbone", "dataset", "source_set", "batch_size", "max_steps", "eval_steps", "max_length", "precision")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a cache of its own."""
    monkeypatch.setenv("XPE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(params=["first", "mean"])
def config(request: pytest.FixtureRequest, base: dict[str, Any]) -> RunConfig:
    values = {name: base[name] for name in SHARED}
    return RunConfig(**values, tuning="none", pooling=request.param, learning_rate=2e-3, optimizer="adamw")


def build(config: RunConfig, seeds: tuple[int, ...] = (1, 2)) -> tuple[Pack, TokenisedData]:
    data = load_tokens(config.source, config.backbone, config.data.max_length)
    pack = Pack(load_backbone(config.backbone), [config.with_seed(seed) for seed in seeds], len(data.label_names))
    return pack, data


def train_and_test(config: RunConfig) -> tuple[dict[str, torch.Tensor], list[Report], list[Any]]:
    pack, data = build(config)
    reports = list(train(pack, data))
    return pack.parameters, reports, evaluate(pack, data, "test", LANGUAGES)


def test_weights_and_scores_are_those_of_training_through_the_backbone(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, reports, scores = train_and_test(config)
    monkeypatch.setattr(NoTuning, "inserts", True)
    expected, through, plain = train_and_test(config)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=0)
    assert through[-1].work.num_operations > reports[-1].work.num_operations == 0
    assert reports[-1].work.num_tokens == through[-1].work.num_tokens > 0
    for own, other in zip(scores, plain, strict=True):
        assert [score.score_sums for score in own] == [score.score_sums for score in other]
        assert [score.loss for score in own] == pytest.approx([score.loss for score in other], abs=1e-5)


def test_no_text_goes_through_the_backbone_twice(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[int] = []
    forward = Backbone.forward

    def count(self: Backbone, embeddings: torch.Tensor, *arguments: Any) -> torch.Tensor:
        computed.append(len(embeddings))
        return forward(self, embeddings, *arguments)

    monkeypatch.setattr(Backbone, "forward", count)
    pack, data = build(config)
    list(train(pack, data))
    evaluate(pack, data, "test", ["kat_Geor"])
    seen = [
        *(data.select(LANGUAGES[:2], split) for split in ("train", "validation")),
        data.select(["kat_Geor"], "test"),
    ]
    assert sum(computed) == sum(map(len, seen))
    computed.clear()
    train_and_test(config.with_seed(9))  # other seeds, another process: the cache has all but three test splits
    assert sum(computed) == len(data.select([one for one in LANGUAGES if one != "kat_Geor"], "test"))


def test_states_are_the_backbones_for_any_rows_in_any_order(config: RunConfig) -> None:
    pack, data = build(config)
    rows = np.array([[3, 200], [140, 3]])
    states = FrozenStates(pack, data).take(rows)
    for row, state in zip(rows.ravel(), states.flatten(0, 1), strict=True):
        hidden = pack.backbone.model(data.pad(np.array([row]))).last_hidden_state[0]
        expected = hidden[0] if pack.reads_first else hidden.mean(0)
        torch.testing.assert_close(state, expected, atol=1e-5, rtol=0)


def test_a_damaged_file_of_the_cache_is_made_again(config: RunConfig, own_cache: Path) -> None:
    pack, data = build(config)
    rows = data.select(["eng_Latn"], "train")
    expected = FrozenStates(pack, data).take(rows)
    (file,) = (own_cache / "states").glob(f"*/{FILE}")
    file.write_bytes(file.read_bytes()[:-100])
    assert torch.equal(FrozenStates(pack, data).take(rows), expected)
    np.save(file, np.zeros((2, 2), dtype=np.float32))
    assert torch.equal(FrozenStates(pack, data).take(rows), expected)


def test_only_what_is_asked_for_is_computed_whatever_was_asked_for_before(config: RunConfig, own_cache: Path) -> None:
    pack, data = build(config)
    rows = data.select(["eng_Latn"], "train")
    alone = FrozenStates(pack, data).take(rows[5:9])
    states = FrozenStates(pack, data)
    states.take(rows[:7])
    assert torch.equal(FrozenStates(pack, data).take(rows[5:9]), alone)
    torch.testing.assert_close(states.take(rows[5:9]), alone, atol=1e-5, rtol=0)
    assert sorted(len(np.load(file)) for file in (own_cache / "states").glob(f"*/{FILE}")) == [2, 4, 7]


def test_few_steps_on_many_examples_compute_only_what_they_visit(config: RunConfig, own_cache: Path) -> None:
    few = config.with_values(batch_size=4, max_steps=3, eval_steps=3)
    pack, data = build(few)
    list(train(pack, data))
    kept = sum(len(np.load(file)) for file in (own_cache / "states").glob(f"*/{FILE}"))
    visited = kept - len(data.select(LANGUAGES[:2], "validation"))
    assert 12 <= visited <= 12 * len(pack.configs) < len(data.select(LANGUAGES[:2], "train"))


def test_data_of_which_rows_were_left_out_have_states_of_their_own(config: RunConfig) -> None:
    pack, data = build(config)
    rows = data.select(["eng_Latn"], "train")
    whole = FrozenStates(pack, data).take(rows)
    split_ids = data.split_ids.copy()
    split_ids[rows[::2]] = -1
    fewer = replace(data, split_ids=split_ids)
    torch.testing.assert_close(FrozenStates(pack, fewer).take(rows[1::2]), whole[1::2], atol=1e-5, rtol=0)


def test_training_with_dropout_in_the_backbone_takes_no_states_and_testing_does(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropping = config.with_values(backbone_dropout=0.3)
    found, reports, scores = train_and_test(dropping)
    assert reports[-1].work.num_operations > 0
    plain, _, _ = train_and_test(config)
    assert not torch.equal(found["head.dense.weight"], plain["head.dense.weight"])
    pack, data = build(dropping)
    pack.parameters.update(found)
    monkeypatch.setattr(NoTuning, "inserts", True)
    for own, other in zip(scores, evaluate(pack, data, "test", LANGUAGES), strict=True):
        assert [score.score_sums for score in own] == [score.score_sums for score in other]
        assert [score.loss for score in own] == pytest.approx([score.loss for score in other], abs=1e-5)


def test_training_with_dropout_in_the_backbone_computes_no_states_of_the_training_texts(
    config: RunConfig, own_cache: Path
) -> None:
    pack, data = build(config.with_values(backbone_dropout=0.3))
    list(train(pack, data))
    kept = sum(len(np.load(file)) for file in (own_cache / "states").glob(f"*/{FILE}"))
    assert kept == len(data.select(LANGUAGES[:2], "validation"))
