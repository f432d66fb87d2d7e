"""Names of languages and groups as people give them: each case a small input of its own."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from sweep.experiment.config import SweepConfig
from sweep.experiment.files import load_experiment
from sweep.planning.languages import fit_to_data
from tests.cases.test_data_files import ROWS
from tests.cases.test_more_data_files import write_csv
from xpe_core.errors import InputError
from xpe_core.languages import resolve_languages


def load(folder: Path, groups: str, *overrides: str) -> SweepConfig:
    data = write_csv(folder / "news.csv", ROWS)
    file = folder / "own.yaml"
    file.write_text(
        f"kind: search\nbase: {{backbone: e5-small, dataset: {data}, source_set: eng}}\n"
        f"space: {{encoder_ratio: {{choice: [0.2, 0.5]}}}}\nnum_samples: 4\ngroups: {groups}\n"
        "evaluation: {languages: all}\n"
    )
    return load_experiment(str(file), overrides)[1]


@pytest.mark.parametrize("groups", ["{mine: [west, deu], west: [eng]}", "{west: [eng], mine: [west, deu]}"])
def test_a_group_may_hold_another_in_any_order(tmp_path: Path, groups: str) -> None:
    sweep, chosen = fit_to_data(load(tmp_path, groups, "source_set=mine"))
    assert sweep.used_source_sets == ("deu,eng",)
    assert chosen.selection == ("deu_Latn", "eng_Latn")


def test_a_group_that_holds_itself_is_refused_with_the_way_round(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"groups.mine: holds itself \(mine -> west -> mine\)"):
        load(tmp_path, "{mine: [west], west: [mine]}")


def test_what_a_group_names_and_the_data_lack_is_said_before_anything_runs(tmp_path: Path) -> None:
    _, chosen = fit_to_data(load(tmp_path, "{mine: [eng_Latn, hua], far: [hau]}"))
    said = [note for note in chosen.notes if note.startswith("groups.")]
    assert [note.split(":")[0] for note in said] == ["groups.mine goes without hua", "groups.far goes without hau"]
    assert "hau_Latn) is not in the data set; it has deu_Latn, eng_Latn" in said[1]


def test_an_unknown_name_is_refused_with_the_groups_of_the_file_beside_the_others(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown language 'mine'.*; groups of the file: Mine$"):
        fit_to_data(load(tmp_path, "{Mine: [eng]}", "evaluation.languages=mine"))


@pytest.mark.parametrize(
    ("name", "available", "meant"),
    [("zh", ["cmn", "zh_tw", "yue"], "cmn or zh_tw"), ("no", ["no_NO", "nb"], "nb or no_NO")],
)
def test_a_short_code_is_not_taken_for_the_one_region_that_has_it_where_the_language_is_there_too(
    name: str, available: Sequence[str], meant: str
) -> None:
    with pytest.raises(InputError, match=f"may mean {meant} here"):
        resolve_languages(name, available)
