"""Scores against hand-computed numbers and a plain loop."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.conftest import LANGUAGES
from tests.making.runs import make_run
from xpe_core.backbones.backbone import load_backbone
from xpe_core.config import RunConfig
from xpe_core.data.tokens import load_tokens
from xpe_core.pack import Pack
from xpe_core.tasks.scores import LanguageScore, mean_score, read_score
from xpe_core.training.batches import BATCH_TOKENS
from xpe_core.training.evaluation import evaluate


@pytest.fixture
def config(dataset: str, backbone: str) -> RunConfig:
    return RunConfig(backbone=backbone, dataset=dataset, num_virtual_tokens=4, max_length=16, precision="float32")


def test_every_language_weighs_the_same_in_a_mean() -> None:
    scores = [
        LanguageScore("eng_Latn", 100, {"accuracy": 90.0}, 0.1),
        LanguageScore("kat_Geor", 10, {"accuracy": 5.0}, 0.7),
    ]
    assert mean_score(scores) == pytest.approx(0.7)
    assert mean_score(scores, ["kat_Geor"]) == pytest.approx(0.5)


def test_a_mean_is_of_the_metric_that_selects() -> None:
    assert mean_score([LanguageScore("kat_Geor", 10, {"exact_match": 4.0, "accuracy": 9.0}, 0.1)]) == 0.4


def test_a_score_that_an_older_version_wrote_is_read() -> None:
    older = {"language": "kat_Geor", "num_examples": 10, "num_correct": 5, "macro_f1": 0.25, "loss": 0.5}
    score = read_score({**older, "num_most_frequent": 3})
    assert score == LanguageScore("kat_Geor", 10, {"accuracy": 5.0, "macro_f1": 2.5}, 0.5, {"accuracy": 3.0})
    assert read_score(older).chance_sums == {}
    assert read_score(dataclasses.asdict(score)) == score


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_one_pass_over_all_runs_and_languages_counts_what_single_examples_give(config: RunConfig, pooling: str) -> None:
    configs = [RunConfig(**{**config.values, "seed": seed, "pooling": pooling}) for seed in (1, 2)]
    data = load_tokens(config.data.dataset, config.backbone, config.data.max_length)
    model = Pack(load_backbone(config.backbone), configs, len(data.label_names))
    plain = [make_run(own, model.backbone.hidden_size, len(data.label_names)) for own in configs]
    scores = evaluate(model, data, "test", LANGUAGES)
    for place in range(len(configs)):
        for score in scores[place]:
            correct, losses = 0, []
            for index in data.select([score.language], "test"):
                tokens = data.token_ids[data.offsets[index] : data.offsets[index + 1]]
                token_ids = torch.from_numpy(tokens.astype(np.int64))[None]
                with torch.no_grad():
                    text = model.backbone.embed(token_ids)
                    embeddings = torch.cat([plain[place]["prompt"]([]), text], dim=1)
                    hidden = model.backbone.model(inputs_embeds=embeddings).last_hidden_state
                    logits = plain[place]["head"](hidden[:, 0] if pooling == "first" else hidden.mean(1), [])[0]
                correct += int(logits.argmax() == data.labels[index])
                losses.append(-torch.log_softmax(logits, 0)[data.labels[index]].item())
            assert (score.num_examples, score.score_sums["accuracy"]) == (18, correct)
            assert score.loss == pytest.approx(np.mean(losses), abs=1e-5)


def test_a_cap_on_examples_holds_for_each_language(config: RunConfig) -> None:
    data = load_tokens(config.data.dataset, config.backbone, config.data.max_length)
    model = Pack(load_backbone(config.backbone), [config], len(data.label_names))
    assert [score.num_examples for score in evaluate(model, data, "test", LANGUAGES, max_examples=5)[0]] == [5] * 4


def test_places_choose_the_runs_that_are_scored_and_their_order(config: RunConfig) -> None:
    data = load_tokens(config.data.dataset, config.backbone, config.data.max_length)
    configs = [config.with_seed(seed) for seed in (1, 2, 3)]
    model = Pack(load_backbone(config.backbone), configs, len(data.label_names))
    model.parameters["head.out.weight"] *= 50  # so that the runs differ by more than rounding
    every, some = evaluate(model, data, "test", LANGUAGES), evaluate(model, data, "test", LANGUAGES, runs=[2, 0])
    for found, expected in zip(some, [every[2], every[0]], strict=True):
        assert [score.score_sums for score in found] == [score.score_sums for score in expected]
        losses = [score.loss for score in expected]
        assert [score.loss for score in found] == pytest.approx(losses, abs=1e-5)
    assert every[0][0].loss != pytest.approx(every[2][0].loss, abs=1e-2)


@pytest.mark.parametrize("budget", [1, 200, 1_000_000])
def test_the_size_of_a_batch_does_not_change_a_score(
    config: RunConfig, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load_tokens(config.data.dataset, config.backbone, config.data.max_length)
    model = Pack(load_backbone(config.backbone), [config], len(data.label_names))
    expected = evaluate(model, data, "test", LANGUAGES)[0]
    monkeypatch.setitem(BATCH_TOKENS, "cpu", budget)
    for score, usual in zip(evaluate(model, data, "test", LANGUAGES)[0], expected, strict=True):
        assert (score.num_examples, score.score_sums) == (usual.num_examples, usual.score_sums)
        assert score.loss == pytest.approx(usual.loss, abs=1e-5)


def test_scores_hold_every_metric_and_what_guessing_would_give(config: RunConfig) -> None:
    data = load_tokens(config.data.dataset, config.backbone, config.data.max_length)
    model = Pack(load_backbone(config.backbone), [config], len(data.label_names))
    model.parameters["head.out.bias"][0, 1] = 100.0  # always the second class: 6 of 18
    for score in evaluate(model, data, "test", LANGUAGES)[0]:
        assert score.score_sums == {"accuracy": 6.0, "macro_f1": pytest.approx(18 * (2 * 6 / (2 * 6 + 12)) / 3)}
        assert score.chance_sums == {"accuracy": 6.0}
