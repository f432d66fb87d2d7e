"""Experiment files: strict, one place for a value, and errors that name the file and the key."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sweep.experiment.files import load_experiment
from sweep.experiment.space import Dimension
from tests.making.experiments import load_search
from xpe_core.errors import InputError


def write_experiment(folder: Path, **values: Any) -> str:
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump({"base": {"max_steps": 100}, **values}), encoding="utf-8")
    return str(file)


@pytest.mark.parametrize(
    "name", ["quickstart", "sib200-e5", "sib200-dual", "table1", "table1-e5", "table2", "table2-e5", "nli-e5", "qa-e5"]
)
def test_every_shipped_experiment_is_valid(name: str) -> None:
    assert load_experiment(name)[0] == name


def test_sib200_dual_searches_what_the_paper_varies_and_keeps_its_recipe() -> None:
    _, sweep = load_search("sib200-dual")
    assert set(sweep.space) == {"num_virtual_tokens", "encoder_hidden_size", "encoder_ratio", "source_set"}
    config = sweep.config()
    assert (config.backbone, config.data.dataset) == ("FacebookAI/xlm-roberta-large", "Davlan/sib200")
    assert (config.training.optimizer, config.training.max_steps, config.precision) == ("adafactor", 24_000, "bfloat16")
    assert sweep.used_source_sets == ("enarzho", "joshi5", "xlmr_seen")


def test_a_set_value_moves_a_field_from_the_space_to_the_base(tmp_path: Path) -> None:
    file = write_experiment(tmp_path, space={"learning_rate": {"log_uniform": [1e-4, 1e-2]}})
    _, sweep = load_search(file, ["learning_rate=1e-3"])
    assert sweep.space == {}
    assert sweep.config().training.learning_rate == 1e-3


def test_a_dotted_key_sets_a_part_of_the_experiment(tmp_path: Path) -> None:
    _, sweep = load_search(write_experiment(tmp_path), ["evaluation.max_examples=7", "num_samples=3"])
    assert (sweep.evaluation.max_examples, sweep.num_samples) == (7, 3)


def test_a_data_folder_is_kept_by_its_absolute_path(
    tmp_path: Path, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(dataset).parent)
    _, sweep = load_search(write_experiment(tmp_path), [f"dataset={Path(dataset).name}"])
    assert sweep.config().data.dataset == dataset


@pytest.mark.parametrize(
    ("text", "seeds"), [("1,2", (1, 2)), ("1-4", (1, 2, 3, 4)), ("7", (7,)), ("1-2,9", (1, 2, 9)), ([3, 4], (3, 4))]
)
def test_seeds_are_read_as_people_write_them(tmp_path: Path, text: Any, seeds: tuple[int, ...]) -> None:
    assert load_experiment(write_experiment(tmp_path, seeds=text))[1].seeds == seeds


@pytest.mark.parametrize(
    ("dimension", "centre"),
    [
        ({"choice": [5, 10, 20]}, 10),
        ({"uniform": [0.1, 0.9], "step": 0.1}, pytest.approx(0.5)),
        ({"uniform": [0.0, 1.0]}, 0.5),
        ({"log_uniform": [1e-4, 1e-2]}, pytest.approx(1e-3)),
        ({"integers": [1, 6]}, 3),
        ({"integers": [8, 64], "step": 8}, 32),
    ],
)
def test_the_centre_of_a_dimension_is_one_of_its_values(dimension: dict[str, Any], centre: Any) -> None:
    assert Dimension(**dimension).centre == centre


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source_sets": ["eng"]}, "source_sets belongs to kind: grid, and this is kind: search"),
        (
            {"kind": "grid", "space": {}, "arms": {"a": {}}, "source_sets": {"a": 3}},
            "source_sets={'a': '3'}: must be a list",
        ),
        ({"bass": {}}, "unknown key 'bass'; did you mean 'base'"),
        ({"base": {"lerning_rate": 1}}, "unknown key 'lerning_rate'; did you mean 'learning_rate'"),
        ({"space": {"learning_rat": {"choice": [1]}}}, "unknown key 'learning_rat'; did you mean 'learning_rate'"),
        ({"scheduler": {"grace": 3}}, "unknown key 'grace'; did you mean 'grace_period'. in scheduler"),
        ({"space": {"max_steps": {"choice": [50]}}}, "max_steps stands in base and in space"),
        ({"space": {"seed": {"choice": [1]}}}, "a seed is no hyperparameter"),
        ({"space": {"dataset": {"choice": ["cldr"]}}}, "dataset cannot be searched"),
        ({"space": {"task": {"choice": ["topic"]}}}, "task cannot be searched"),
        ({"space": {"learning_rate": {"uniform": [1, 0]}}}, "space.learning_rate.*two ascending numbers"),
        ({"space": {"learning_rate": {"log_uniform": [0, 1]}}}, "two ascending positive numbers"),
        ({"space": {"learning_rate": {"choice": [1], "uniform": [0, 1]}}}, "exactly one of choice"),
        (
            {"space": {"learning_rate": {"choice": [1e-3, -1]}}},
            r"space.learning_rate.choice.1.=-1: input should",
        ),
        ({"seeds": [1, 1]}, "holds a seed twice"),
        ({"seeds": "1;2"}, "must look like 1,2 or 1-10"),
        ({"num_samples": 0}, "num_samples=0: input should be greater"),
        ({"scheduler": {"grace_period": 200}}, "grace_period=200 is longer than max_steps=100"),
        ({"kind": "serach"}, "kind='serach'"),
        (
            {"kind": "grid", "space": {}, "arms": {"low": {"tuning": "lora", "encoder_ratio": 0.3}}},
            "arms.low: .*encoder_ratio=0.3: belongs to tuning: prompt",
        ),
        ({"resources": {"seeds_per_trial": 0}}, r"resources.seeds_per_trial=0: input should be greater"),
        ({"seeds": [2**31]}, "seeds.0.=2147483648: input should be less than"),
        ({"seeds": [-1]}, "seeds.0.=-1: input should be greater than"),
        ({"base": "e5-small"}, "base must hold keys of its own, not 'e5-small'"),
        ({"space": 5}, "space must hold keys of its own, not 5"),
        ({"space": {"num_virtual_tokens": {"uniform": [4, 20]}}}, "num_virtual_tokens takes whole numbers"),
        ({"space": {"batch_size": {"integers": [4, 20], "step": 0.5}}}, "the step of integers is a whole number"),
    ],
)
def test_a_mistake_is_said_with_its_file_and_key(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    file = write_experiment(tmp_path, **values)
    with pytest.raises(InputError, match=f"^experiment {file}: .*{message}"):
        load_experiment(file)


def test_the_inside_of_a_space_is_checked_like_its_ends(tmp_path: Path) -> None:
    space = {"num_virtual_tokens": {"choice": [1, 10]}, "encoder_ratio": {"uniform": [0, 1]}}
    with pytest.raises(InputError, match="encoder_ratio=0.5, num_virtual_tokens=1: .*no token for one half"):
        load_experiment(write_experiment(tmp_path, space=space))


def test_a_folder_named_like_the_bundled_backbone_does_not_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "e5-small").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_search("quickstart")[1].config().backbone == "e5-small"


def test_a_space_that_leaves_no_token_for_one_half_is_refused_before_it_starts(tmp_path: Path) -> None:
    space = {"num_virtual_tokens": {"choice": [1, 10]}, "encoder_ratio": {"uniform": [0.1, 0.9]}}
    with pytest.raises(InputError, match="space at encoder_ratio=0.1, num_virtual_tokens=1: .*no token for one half"):
        load_experiment(write_experiment(tmp_path, space=space))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("max_step=3", "unknown key 'max_step'; did you mean 'max_steps'"),
        ("evaluation.max_exampels=3", "unknown key 'max_exampels'; did you mean 'max_examples'. in evaluation"),
        ("max_steps", "must look like key=value"),
        ("encoder_ratio=1.5", "encoder_ratio=1.5: input should be less than or equal to 1"),
    ],
)
def test_a_mistake_in_a_set_value_is_said(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_experiment(write_experiment(tmp_path), [override])


def test_an_unknown_experiment_is_refused_with_what_is_shipped() -> None:
    shipped = "nli-e5, qa-e5, quickstart, quickstart-study, sib200-dual"
    with pytest.raises(InputError, match=f"unknown experiment 'quikstart'; shipped are {shipped}"):
        load_experiment("quikstart")


@pytest.mark.parametrize("text", ["base: [", "- 1", "\x00"])
def test_a_file_that_holds_no_experiment_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=f"^experiment {file}"):
        load_experiment(str(file))
    with pytest.raises(InputError, match="No such file"):
        load_experiment(str(tmp_path / "absent.yaml"))


def test_a_set_value_takes_a_field_out_of_a_zipped_pair(tmp_path: Path) -> None:
    pair = {"learning_rate": [1e-3, 1e-4], "prompt_learning_rate": [5e-2, 5e-3]}
    _, sweep = load_search(write_experiment(tmp_path, zipped=[pair]), ["learning_rate=5e-4"])
    assert sweep.config({"prompt_learning_rate": 5e-3}).values["prompt_learning_rate"] == 5e-3
    assert (list(sweep.dimensions), sweep.config().training.learning_rate) == (["prompt_learning_rate"], 5e-4)
