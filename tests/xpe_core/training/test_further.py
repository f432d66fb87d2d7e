"""Runs of a pack that are trained further, each on a language of its own: as if each were alone."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from xpe_core.backbones.backbone import load_backbone
from xpe_core.config import RunConfig
from xpe_core.data.few import draw_train_rows
from xpe_core.data.tokens import TokenisedData, load_tokens
from xpe_core.errors import InputError
from xpe_core.pack import Pack
from xpe_core.stacked import Parameters
from xpe_core.tasks.scores import mean_score
from xpe_core.training.evaluation import evaluate
from xpe_core.training.further import Further, place_parameters
from xpe_core.training.training import Training, train

TARGETS = ("kat_Geor", "yor_Latn")


def load(config: RunConfig) -> TokenisedData:
    return load_tokens(config.data.dataset, config.backbone, config.data.max_length)


def build(configs: Sequence[RunConfig], data: TokenisedData) -> Pack:
    return Pack(load_backbone(configs[0].backbone), configs, len(data.label_names))


def train_source(config: RunConfig) -> Parameters:
    """Return the trained parts of a run on its source languages."""
    data = load(config)
    model = build([config], data)
    list(train(model, data))
    return {name: value.clone() for name, value in model.run_parameters(0).items()}


def go_on(config: RunConfig, runs: Sequence[tuple[int, str, Parameters | None]]) -> tuple[Pack, Training]:
    """Train runs of (seed, language, where they start) further in one pack, to their end."""
    data = load(config)
    model = build([config.with_seed(seed) for seed, *_ in runs], data)
    further = [Further(f"{seed} {language}", language, start) for seed, language, start in runs]
    training = Training(model, data, further=further)
    while not training.ended:
        training.advance()
    training.keep_best()
    return model, training


@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
@pytest.mark.parametrize("few", [{}, {"max_train_examples": 6}])
def test_packs_over_targets_are_what_each_run_alone_is(
    base: dict[str, Any], optimizer: str, few: dict[str, int]
) -> None:
    source = RunConfig(**{**base, "optimizer": optimizer})
    parents = {seed: train_source(source.with_seed(seed)) for seed in (1, 2)}
    config = source.with_values(max_steps=20, eval_steps=5, **few)
    runs = [(seed, target, parents[seed]) for target in TARGETS for seed in (1, 2)]
    pack, together = go_on(config, runs)
    for index, run in enumerate(runs):
        alone, training = go_on(config, [run])
        for name, value in alone.run_parameters(0).items():
            assert (value - pack.run_parameters(index)[name]).abs().max() <= 1e-5, name
            assert name.endswith("bias") or (value - run[2][name]).abs().max() > 1e-4, name
        assert training.report().runs[0].best_step == together.report().runs[index].best_step


def test_a_run_goes_on_from_where_its_parent_ended_in_steps_of_its_own(base: dict[str, Any]) -> None:
    source = RunConfig(**base)
    start = train_source(source)
    config = source.with_values(max_steps=1, eval_steps=1, learning_rate=1e-12, encoder_prompt_learning_rate=1e-12)
    config = config.with_values(prompt_learning_rate=1e-12)
    model, _ = go_on(config, [(1, "kat_Geor", start)])
    for name, value in model.run_parameters(0).items():
        torch.testing.assert_close(value, start[name], atol=1e-9, rtol=0)


def test_what_is_trained_on_and_chosen_by_is_the_target_alone(base: dict[str, Any]) -> None:
    config = RunConfig(**base, max_train_examples=9)
    model, training = go_on(config, [(4, "yor_Latn", None)])
    data = load(config)
    assert training._runs[0].rows.tolist() == draw_train_rows(data, ["yor_Latn"], 4, 9).tolist()
    run = training.report().runs[0]
    assert [score.language for score in run.validation_scores] == ["yor_Latn"]
    scores = evaluate(model, data, "validation", ["yor_Latn"])[0]
    assert run.selection_accuracy == run.best_validation_accuracy == mean_score(scores)


def test_without_a_start_the_run_is_that_on_the_language_alone(base: dict[str, Any]) -> None:
    config = RunConfig(**{**base, "source_set": "kat_Geor"})
    data = load(config)
    plain = build([config], data)
    list(train(plain, data))
    model, _ = go_on(config, [(1, "kat_Geor", None)])
    for name, value in plain.run_parameters(0).items():
        assert torch.equal(value, model.run_parameters(0)[name])


@pytest.mark.parametrize("step", [7, 10])
def test_a_training_that_is_restored_in_its_middle_needs_no_parent_and_ends_alike(
    base: dict[str, Any], step: int
) -> None:
    source = RunConfig(**base)
    start, config = train_source(source), source.with_values(max_steps=20, eval_steps=10)
    whole, _ = go_on(config, [(1, "kat_Geor", start), (1, "yor_Latn", start)])
    data = load(config)

    def begin(parents: Parameters | None) -> Training:
        names = ("1 kat_Geor", "1 yor_Latn")
        further = [Further(name, name[2:], parents) for name in names]
        return Training(build([config, config], data), data, further=further)

    first = begin(start)
    while first.step < step:
        first.advance(0)
    second = begin(None)
    second.restore(first.save())
    while not second.ended:
        second.advance()
    second.keep_best()
    for name, value in whole.parameters.items():
        assert torch.equal(value, second.model.parameters[name]), name
    other = Training(build([config, config], data), data, further=[Further("a", "kat_Geor"), Further("b", "yor_Latn")])
    with pytest.raises(InputError, match="checkpoint is of other runs"):
        other.restore(first.save())


def test_parts_of_another_shape_are_refused(base: dict[str, Any]) -> None:
    config = RunConfig(**base)
    start = train_source(config.with_values(num_virtual_tokens=4, max_steps=1))
    with pytest.raises(InputError, match="another shape"):
        go_on(config, [(1, "kat_Geor", start)])


def test_targets_of_different_sizes_are_no_pack(base: dict[str, Any]) -> None:
    config = RunConfig(**base)
    data = load(config)
    split_ids = data.split_ids.copy()
    split_ids[data.select(["kat_Geor"], "train")[:3]] = -1
    smaller = replace(data, split_ids=split_ids)
    further = [Further("a", "kat_Geor"), Further("b", "yor_Latn")]
    with pytest.raises(InputError, match="equally many examples"):
        Training(build([config, config], data), smaller, further=further)


TUNINGS = [
    {"tuning": "none"},
    {"tuning": "lora", "rank": 2, "lora_dropout": 0.1},
    {"tuning": "ia3"},
    {"tuning": "prefix"},
    {"tuning": "full", "learning_rate": 1e-3},
]


def of_tuning(base: dict[str, Any], tuning: dict[str, Any]) -> RunConfig:
    shared = {name: value for name, value in base.items() if not name.startswith(("encoder_", "num_virtual"))}
    few = {"max_steps": 8, "eval_steps": 4, "learning_rate": 2e-2}
    return RunConfig(**{**shared, **few, **tuning})


@pytest.mark.parametrize("tuning", TUNINGS, ids=lambda tuning: str(tuning["tuning"]))
def test_runs_of_every_tuning_go_on_from_their_parents(base: dict[str, Any], tuning: dict[str, Any]) -> None:
    source = of_tuning(base, tuning)
    data = load(source)
    starts = {seed: train_source(source.with_seed(seed)) for seed in (1, 2)}
    still = source.with_values(max_steps=1, eval_steps=1, learning_rate=1e-12, weight_decay=0.0)
    stays, training = go_on(still, [(2, "kat_Geor", starts[2])])
    for name, value in stays.run_parameters(0).items():
        torch.testing.assert_close(value, starts[2][name], atol=1e-6, rtol=0)
    parent = build([source.with_seed(2)], data)
    place_parameters(parent, [Further("parent", "kat_Geor", starts[2])])
    before, after = (evaluate(model, data, "test", TARGETS)[0] for model in (parent, stays))
    assert [score.loss for score in before] == pytest.approx([score.loss for score in after], abs=1e-5)
    fresh = evaluate(build([source.with_seed(2)], data), data, "test", TARGETS)[0]
    assert [score.loss for score in before] != pytest.approx([score.loss for score in fresh], abs=1e-4)
    if tuning["tuning"] == "full":
        return  # owns its backbone: a pack holds one run
    runs = [(seed, target, starts[seed]) for target in TARGETS for seed in (1, 2)]
    pack, _ = go_on(source, runs)
    for index, run in enumerate(runs):
        alone, _ = go_on(source, [run])
        for name, value in alone.run_parameters(0).items():
            assert (value - pack.run_parameters(index)[name]).abs().max() <= 1e-5, name


def test_runs_on_a_backbone_of_another_kind_go_on_alike(base: dict[str, Any], bert: str, dataset: str) -> None:
    source = RunConfig(**{**base, "backbone": bert, "max_steps": 6, "eval_steps": 3})
    start = train_source(source)
    runs = [(1, target, start) for target in TARGETS]
    pack, _ = go_on(source, runs)
    for index, run in enumerate(runs):
        alone, _ = go_on(source, [run])
        for name, value in alone.run_parameters(0).items():
            assert (value - pack.run_parameters(index)[name]).abs().max() <= 1e-5, name
