"""Studies: methods with a base and a space each, one budget for all, and fresh seeds."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sweep.experiment.config import make_sweep
from sweep.experiment.files import load_experiment
from sweep.experiment.study import Study
from xpe_core.errors import InputError

RATE = {"learning_rate": {"log_uniform": [1e-4, 1e-2]}}
METHODS: dict[str, Any] = {
    "head": {"base": {"tuning": "none"}, "space": RATE},
    "low": {"base": {"tuning": "lora"}, "space": {**RATE, "rank": {"choice": [4, 8]}}, "default": {"rank": 4}},
    "soft": {
        "base": {"encoder_ratio": 0.0},
        "space": {"num_virtual_tokens": {"choice": [4, 5, 6, 8, 10]}},
        "default": {},
    },
}


def make_study(**values: Any) -> Study:
    study = make_sweep(**{"kind": "study", "base": {"max_steps": 40}, "methods": METHODS, **values})
    assert isinstance(study, Study)
    return study


def load_study(folder: Path, overrides: list[str]) -> Study:
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump({"kind": "study", "base": {"max_steps": 40}, "methods": METHODS}), encoding="utf-8")
    _, study = load_experiment(str(file), overrides)
    assert isinstance(study, Study)
    return study


def test_each_method_is_a_search_with_the_same_number_of_trials_and_seeds() -> None:
    study = make_study(budget={"trials": 5}, seeds=[1, 2, 3])
    assert {name: search.num_samples for name, search in study.searches.items()} == dict.fromkeys(METHODS, 5)
    assert {search.seeds for search in study.searches.values()} == {(1, 2, 3)}
    assert len({search.search_seed for search in study.searches.values()}) == 3  # each draws on its own
    assert study.num_runs == 3 * 5 * 3 + (3 + 2) * 6


def test_a_default_setting_has_the_defaults_of_the_fields_that_it_does_not_name() -> None:
    study = make_study()
    low, soft = study.defaults["low"].values, study.defaults["soft"].values
    assert (low["rank"], low["learning_rate"], low["max_steps"]) == (4, 5e-5, 40)
    assert (soft["num_virtual_tokens"], soft["encoder_ratio"]) == (20, 0.0)
    assert "head" not in study.defaults


def test_a_search_begins_with_a_default_setting_that_differs_only_in_what_is_searched() -> None:
    study = make_study(methods={**METHODS, "long": {**METHODS["soft"], "default": {"max_steps": 80}}})
    assert study.first_points("low") == ({"rank": 4, "learning_rate": 5e-5},)
    assert study.first_points("head") == study.first_points("long") == ()
    assert study.defaults["long"].training.max_steps == 80


def test_a_method_goes_before_the_base() -> None:
    study = make_study(methods={**METHODS, "quick": {"base": {"max_steps": 8, "tuning": "none"}}})
    assert {name: search.longest for name, search in study.searches.items()} == {
        **dict.fromkeys(METHODS, 40),
        "quick": 8,
    }


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"methods": {}}, "methods is missing"),
        ({"replication_seeds": "2-7"}, "replication_seeds: 2 is a seed of the searches too"),
        ({"budget": {"trials": 4, "steps": 100}}, "exactly one of trials, steps, device_hours"),
        (
            {"methods": {"a": {"base": {"tuning": "none"}}, "b": {"base": {"tuning": "none"}}}},
            "methods.a and methods.b are the same configuration",
        ),
        ({"budget": {}}, "exactly one of trials, steps, device_hours"),
        ({"replication_seeds": [11, 11]}, "replication_seeds [11, 11] holds a seed twice"),
        ({"methods": {"a default": {}}}, "'a default' cannot be a method's name"),
        ({"methods": {"a:b": {}}}, "'a:b' cannot be a method's name"),
        ({"methods": {"a/b": {}, "a b": {}}}, "'a/b' and 'a b' differ only in what no file name holds"),
        ({"methods": {"a": {"default": {"source_set": "eng"}}}}, "methods.a: source_set is the same in all trials"),
        ({"methods": {"a": {"default": {"backbone": "x"}}}}, "methods.a: backbone is the same in all trials"),
        ({"methods": {"a": {}, "b": {"base": {"source_set": "eng"}}}}, "methods.b: its source_set is eng, that of a "),
        ({"methods": {"a": {"base": {"rank": 4}}}}, "methods.a: base: rank=4: belongs to tuning: lora"),
        ({"methods": {"a": {"base": {"learning_rate": "fast"}}}}, "methods.a.base: learning_rate='fast'"),
        ({"methods": {"a": {"space": {"learning_rate": {"uniform": [2, 1]}}}}}, "two ascending"),
        ({"methods": {"a": {"default": {"rate": 1}}}}, "methods.a.default: unknown key 'rate'"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match="(?s).*".join(map(_escape, [said]))):
        make_study(**values)


def _escape(text: str) -> str:
    return "".join(
        f"[{letter}]" if letter in ".?*+()'" else f"\\{letter}" if letter in "[]" else letter for letter in text
    )


def test_a_set_value_holds_in_all_methods_that_have_the_field(tmp_path: Path) -> None:
    study = load_study(tmp_path, ["learning_rate=1e-3", "rank=16", "budget.trials=2", "replication_seeds=21-23"])
    assert {name: tuple(search.space) for name, search in study.searches.items()} == {
        "head": (),
        "low": (),
        "soft": ("num_virtual_tokens",),
    }
    assert {config.training.learning_rate for config in study.corners} == {1e-3}
    assert study.searches["low"].base["rank"] == 16 and study.defaults["low"].values["rank"] == 16
    assert "rank" not in study.base and study.base["learning_rate"] == 1e-3
    assert study.budget.trials == 2 and study.replication_seeds == (21, 22, 23)


def test_a_field_that_no_method_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="encoder_rate"):
        load_study(tmp_path, ["encoder_rate=1"])
    with pytest.raises(InputError, match="^--set prefix_init: no method of this study has this field$"):
        load_study(tmp_path, ["prefix_init=text"])


def test_a_set_field_may_be_one_of_a_readout_that_is_set_behind_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"kind": "study", "methods": {"near": {"base": {"tuning": "none"}}}}), "utf-8")
    _, study = load_experiment(str(file), ["label_template=about {label}", "readout=nearest_label"])
    assert isinstance(study, Study)
    assert study.corners[0].values["label_template"] == "about {label}"


def test_a_field_under_a_method_is_set_by_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="^--set methods.low.base.rank=3: a field is set by its own name.*: rank=3$"):
        load_study(tmp_path, ["methods.low.base.rank=3"])


def test_a_grace_period_that_no_trial_is_long_enough_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="scheduler.grace_period=200 is longer than max_steps=40"):
        load_study(tmp_path, ["scheduler.grace_period=200"])


def test_what_was_set_is_not_said_to_stand_in_a_line_of_the_file() -> None:
    for given in (["budget.steps=300", "budget.trials=2"], ["budget={trials: 2, steps: 3}"]):
        with pytest.raises(InputError, match="^experiment quickstart-study: budget=.*exactly one of trials"):
            load_experiment("quickstart-study", given)


def test_a_methods_own_data_are_the_same_folder_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "news").mkdir()
    monkeypatch.chdir(tmp_path)
    methods = {"a": {"base": {"tuning": "none"}}, "b": {"base": {"tuning": "lora", "dataset": "news"}}}
    file = tmp_path / "mine.yaml"
    file.write_text(
        yaml.safe_dump({"kind": "study", "base": {"dataset": "news"}, "methods": methods}), encoding="utf-8"
    )
    _, study = load_experiment(str(file))
    assert isinstance(study, Study)
    assert {config.data.dataset for config in study.corners} == {str(tmp_path / "news")}


def test_another_kind_of_budget_takes_the_place_of_the_files() -> None:
    _, study = load_experiment("quickstart-study", ["budget.steps=300"])
    assert isinstance(study, Study)
    assert (study.budget.trials, study.budget.steps) == (None, 300)


@pytest.mark.parametrize("name", ["quickstart-study", "study-e5", "study-xlmr"])
def test_every_shipped_study_is_valid(name: str) -> None:
    _, study = load_experiment(name)
    assert isinstance(study, Study)
    assert set(study.defaults) <= set(study.methods)
