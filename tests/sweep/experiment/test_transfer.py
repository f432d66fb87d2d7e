"""What a transfer asks for: its second stage's fields, and what is refused."""

from typing import Any

import pytest

from sweep.experiment.config import build_sweep, make_sweep
from sweep.experiment.files import load_experiment
from sweep.experiment.transfer import Transfer
from xpe_core.errors import InputError

ARMS: dict[str, dict[str, Any]] = {"xpe": {"encoder_ratio": 1.0}, "lora": {"tuning": "lora", "lora_dropout": 0.1}}


def make_transfer(**values: Any) -> Transfer:
    sweep = make_sweep(**{"kind": "transfer", "arms": ARMS, "targets": {"languages": "yor"}, **values})
    assert isinstance(sweep, Transfer)
    return sweep


def test_the_second_stage_is_the_recipes_where_nothing_is_said() -> None:
    sweep = make_transfer(base={"learning_rate": 1e-3, "source_set": "eng", "backbone_dropout": 0.1})
    assert (sweep.targets.max_train_examples, sweep.targets.from_scratch) == ((None,), False)
    xpe, lora = (sweep.go_on(arm, config, 50) for arm, config in zip(ARMS, sweep.corners, strict=True))
    for config in (xpe, lora):
        training = config.training
        assert (training.max_steps, training.warmup_ratio, training.patience) == (6_000, 0.05, 30)
        assert (training.learning_rate, config.data.source_set) == (1e-3, "eng")
        assert config.data.max_train_examples == 50 and training.backbone_dropout == 0
    assert (xpe.values["encoder_dropout"], xpe.values["head_dropout"], lora.values["lora_dropout"]) == (0, 0, 0)
    assert sweep.corners[0].values["encoder_dropout"] == 0.1  # in the first stage


def test_fields_of_the_second_stage_are_where_an_arm_has_them() -> None:
    base = {"max_steps": 5, "head_dropout": 0.2, "encoder_dropout": 0.3}
    sweep = make_transfer(targets={"languages": "yor", "max_train_examples": 7, "base": base})
    assert sweep.targets.max_train_examples == (7,)
    xpe, lora = (sweep.go_on(arm, config, 7).values for arm, config in zip(ARMS, sweep.corners, strict=True))
    assert (xpe["max_steps"], xpe["head_dropout"], xpe["encoder_dropout"]) == (5, 0.2, 0.3)
    assert (lora["max_steps"], lora["head_dropout"], "encoder_dropout" in lora) == (5, 0.2, False)


def test_from_new_weights_the_source_set_is_the_target() -> None:
    sweep = make_transfer(base={"source_set": "eng"})
    config = sweep.start_anew("xpe", sweep.corners[0], None, "yor_Latn")
    assert config.data.source_set == "yor_Latn"
    assert config.config_id == sweep.go_on("xpe", sweep.corners[0], None).with_values(source_set="yor_Latn").config_id


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": {}}, "arms is missing: a transfer names at least one"),
        ({"targets": None}, "targets"),
        ({"targets": {"max_train_examples": 5}}, "languages"),
        ({"targets": {"languages": "yor", "max_train_examples": [0]}}, "greater than or equal to 1"),
        (
            {"targets": {"languages": "yor", "max_train_examples": [5, 5]}},
            r"max_train_examples \[5, 5\] holds a number",
        ),
        ({"targets": {"languages": "yor", "base": {"max_stesp": 5}}}, "targets.base: unknown key 'max_stesp'"),
        ({"targets": {"languages": "yor", "base": {"max_steps": "x"}}}, "targets.base: max_steps='x'"),
        ({"targets": {"languages": "yor", "base": {"rank": 4}}}, "targets.base: rank is that of the run which is"),
        ({"targets": {"languages": "yor", "base": {"source_set": "eng"}}}, "targets.base: source_set is that of the"),
        ({"targets": {"languages": "yor", "base": {"max_train_examples": 4}}}, "stands beside base, in targets"),
        ({"targets": {"languages": "yor", "base": {"warmup_ratio": 2}}}, "warmup_ratio"),
        ({"keep": "best"}, "keep=best: a transfer has no single best configuration"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(changes: dict[str, Any], message: str) -> None:
    values = {"kind": "transfer", "arms": ARMS, "targets": {"languages": "yor"}, **changes}
    with pytest.raises(InputError, match=message) as refused:
        build_sweep(values, "experiment mine")
    assert "\n" not in str(refused.value)


def test_targets_belong_to_a_transfer() -> None:
    with pytest.raises(InputError, match="targets belongs to kind: transfer, and this is kind: grid"):
        build_sweep({"kind": "grid", "arms": ARMS, "targets": {"languages": "yor"}}, "experiment mine")


def test_groups_of_the_file_may_be_targets() -> None:
    sweep = make_transfer(groups={"african": ["yor", "hau"]}, targets={"languages": ["african", "kat"]})
    assert set(sweep.targets.languages) == {"yor", "hau", "kat"}


@pytest.mark.parametrize(("text", "caps"), [("null", (None,)), ("14", (14,)), ("[14, null]", (14, None))])
def test_numbers_of_examples_are_set_as_they_stand_in_a_file(text: str, caps: tuple[int | None, ...]) -> None:
    _, sweep = load_experiment("table2-e5", [f"targets.max_train_examples={text}"])
    assert isinstance(sweep, Transfer) and sweep.targets.max_train_examples == caps
