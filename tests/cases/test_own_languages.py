"""Own data in own languages: what is trained on, what is tested, and which languages are in a row of the tables."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from sweep.analysis import main_table, read_results
from sweep.experiment.config import make_sweep
from sweep.experiment.files import find_open_keys, load_experiment
from sweep.planning.plan import Plan, prepare
from sweep.records.experiment_folder import ExperimentFolder
from sweep.report import print_answer, print_plan
from sweep.storage import Folder
from tests.making.experiments import CODES, write_grid, write_search
from xpe_core.config import RunConfig
from xpe_core.errors import InputError

WORDS = {"business": "bank price market", "sport": "team goal league"}
WHOLE = {"train": 12, "validation": 4, "test": 4}
TEST = {"test": 4}
ARMS = {"spt": {"encoder_ratio": 0.0}, "xpe": {"encoder_ratio": 1.0}}
OWN = {"dataset": "/data/news.csv"}


def write_data(file: Path, languages: Mapping[str, Mapping[str, int]]) -> str:
    """Write a CSV file with two classes."""
    with file.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines)
        writer.writerow(["text", "label", "language", "split"])
        for language, sizes in languages.items():
            for split, size in sizes.items():
                for number in range(size):
                    label = list(WORDS)[number % 2]
                    writer.writerow([f"{WORDS[label]} {number}", label, language, split])
    return str(file)


def plan_of(source: str, backbone: str, *overrides: str) -> Plan:
    pins = [f"backbone={backbone}", "max_length=32", *overrides]
    return prepare(*load_experiment(source, pins), find_open_keys(pins))


def printed(plan: Plan) -> str:
    console = Console(file=io.StringIO(), width=500)
    print_plan(console, plan, Folder("results"))
    return console.file.getvalue()  # type: ignore[attr-defined]


def flat(run: RunConfig, code: str) -> float:
    return 0.5


def test_a_shipped_experiment_with_other_data_trains_on_the_largest_language_and_tests_on_all(
    tmp_path: Path, backbone: str
) -> None:
    own = {"eng": {**WHOLE, "train": 20}, "hau": WHOLE, "deu": WHOLE, "yor_Latn": TEST, "bzd": TEST}
    plan = plan_of("quickstart", backbone, f"dataset={write_data(tmp_path / 'news.csv', own)}")
    assert plan.sweep.base["source_set"] == "eng"
    assert plan.panel.target_languages == ("yor_Latn", "bzd", "deu", "eng", "hau")
    assert plan.panel.selection_languages == ("eng",)
    text = printed(plan)
    assert "trained on eng, the language with the most rows to train on (20): the data set lacks some of joshi5" in text
    assert "tested on all languages with a test split" in text
    assert "Tested, and not in any row: eng (trained on)." in text
    assert "eng is the data set's own language of that code" in text


def test_of_equally_large_languages_the_plan_says_that_the_first_is_taken(tmp_path: Path, backbone: str) -> None:
    data = write_data(tmp_path / "news.csv", {"hau": WHOLE, "deu": WHOLE, "yor_Latn": TEST})
    text = printed(plan_of("quickstart", backbone, f"dataset={data}"))
    assert "trained on deu, the first of 2 languages with the most rows to train on" in text


def test_the_same_command_again_is_the_same_experiment(tmp_path: Path, backbone: str) -> None:
    data = write_data(tmp_path / "news.csv", {"hau": WHOLE, "ibo": WHOLE, "yor": TEST})
    first, again = (plan_of("quickstart", backbone, f"dataset={data}") for _ in range(2))
    assert first.sweep.base["source_set"] == "hau"  # of equally many rows the first code
    ExperimentFolder(tmp_path / "made", first.sweep, first.fingerprints).close()
    ExperimentFolder(tmp_path / "made", again.sweep, again.fingerprints).close()
    specified = yaml.safe_load((tmp_path / "made" / "experiment.yaml").read_text())
    assert (specified["base"]["source_set"], specified["evaluation"]["languages"]) == ("hau", "all")


def test_what_is_said_on_the_command_line_or_is_there_whole_holds(tmp_path: Path, backbone: str) -> None:
    data = write_data(tmp_path / "news.csv", {"en": WHOLE, "ar-SA": WHOLE, "zh-CN": WHOLE, "sw": WHOLE})
    said = plan_of("quickstart", backbone, f"dataset={data}", "source_set=sw", "evaluation.languages=English")
    assert (said.sweep.base["source_set"], said.panel.target_languages) == ("sw", ("en",))
    assert plan_of("sib200-e5", backbone, f"dataset={data}").sweep.base["source_set"] == "enarzho"
    with pytest.raises(InputError, match="source_set: language 'fr' .*is not in the data set"):
        plan_of("quickstart", backbone, f"dataset={data}", "source_set=fr")


@pytest.mark.parametrize("source", ["sib200-dual", "table1-e5"])
def test_source_sets_that_vary_give_way_too(tmp_path: Path, backbone: str, source: str) -> None:
    data = write_data(tmp_path / "news.csv", {"hau": WHOLE, "yor": TEST})
    sweep = plan_of(source, backbone, f"dataset={data}").sweep
    assert sweep.used_source_sets == ("hau",)
    assert "source_set" not in sweep.varying and all(source_set is None for _, source_set in sweep.cells)


def test_a_file_of_ones_own_without_a_source_set_trains_on_the_largest_language(tmp_path: Path, backbone: str) -> None:
    data = write_data(tmp_path / "news.csv", {"hau": WHOLE, "yor": TEST})
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"base": {"dataset": data, "max_steps": 30}, "num_samples": 1}))
    assert plan_of(str(file), backbone).sweep.base["source_set"] == "hau"


def test_languages_without_a_split_are_left_out_of_groups_and_refused_by_name(tmp_path: Path, backbone: str) -> None:
    own = {"eng": WHOLE, "hau": {"train": 12, "validation": 4}, "yor": TEST, "ibo": {"train": 12, "test": 4}}
    data = write_data(tmp_path / "news.csv", own)
    plan = plan_of("quickstart", backbone, f"dataset={data}", "source_set=all", "evaluation.languages=all")
    assert plan.panel.target_languages == ("eng", "ibo", "yor")
    assert plan.panel.data.sources("all") == ("eng", "hau", "ibo")
    text = printed(plan)
    assert "not tested on hau: there is no test split" in text
    assert "not trained on yor: there is no train or validation split" in text
    for key, split in (("source_set=yor", "train"), ("evaluation.languages=hau", "test")):
        name = key.partition("=")[2]
        with pytest.raises(InputError, match=f"language '{name}' has no {split} split"):
            plan_of("quickstart", backbone, f"dataset={data}", key)


def test_data_without_validation_are_validated_on_a_part_of_train(tmp_path: Path, backbone: str) -> None:
    data = write_data(tmp_path / "news.csv", {"hau": {"train": 40, "test": 4}, "yor": TEST})
    plan = plan_of("quickstart", backbone, f"dataset={data}")
    assert plan.panel.data.counts["hau"] == {"train": 36, "validation": 4, "test": 4}
    assert plan.panel.data.labels_of("hau", "validation") == set(WORDS)
    assert "no validation split in hau: validated on a tenth of the train split" in printed(plan)


def test_data_without_train_are_one_sentence(tmp_path: Path, backbone: str) -> None:
    data = write_data(tmp_path / "news.csv", {"hau": TEST})
    with pytest.raises(InputError, match="no language has a train split"):
        plan_of("quickstart", backbone, f"dataset={data}")


def test_german_that_is_not_trained_on_is_in_the_rows_and_english_that_is_is_named(tmp_path: Path) -> None:
    codes = ("eng", "deu", "hau", "bzd")
    write_grid(tmp_path / "made", ARMS, flat, codes=codes, base=OWN, source_sets=["eng"])
    results = read_results([Folder(tmp_path / "made")])
    rows = {name: [results.languages[place] for place in places] for name, places in results.groups.items()}
    assert rows == {"seen": ["deu", "hau"], "all_targets": ["bzd", "deu", "hau"]}
    assert results.left_out == ["Tested, and not in any row: eng (trained on)."]
    assert set(main_table(results)["num_languages"]) == {2, 3}


@pytest.mark.parametrize(
    ("codes", "source_set", "rows"),
    [
        (("af-ZA", "nb-NO", "zh-CN"), "af-ZA", {"seen": 2, "all_targets": 2}),
        (("arb_Arab", "eng_Latn", "zho_Hans"), "eng_Latn", {"seen": 2, "all_targets": 2}),
        (("bzd", "hch", "nah"), "bzd", {"all_targets": 2}),
        (("eng_Latn", "yor_Latn"), "all", {"low_performing": 1, "unseen": 1, "seen": 1, "all": 2}),
    ],
)
def test_tables_have_the_rows_that_there_are(
    tmp_path: Path, codes: Sequence[str], source_set: str, rows: dict[str, int]
) -> None:
    write_grid(tmp_path / "made", ARMS, flat, codes=codes, base=OWN, source_sets=[source_set])
    results = read_results([Folder(tmp_path / "made")])
    assert {name: len(places) for name, places in results.groups.items()} == rows


def test_rows_of_all_source_sets_average_the_same_languages(tmp_path: Path) -> None:
    codes = ("eng_Latn", "deu_Latn", "hau_Latn", "yor_Latn")
    write_grid(tmp_path / "made", ARMS, flat, codes=codes, base=OWN, source_sets=["eng_Latn", "deu_Latn"])
    results = read_results([Folder(tmp_path / "made")])
    assert results.excluded == {"eng_Latn", "deu_Latn"}
    assert set(main_table(results).filter(group="all_targets")["num_languages"]) == {2}


def test_where_together_they_train_on_all_each_leaves_out_its_own(tmp_path: Path) -> None:
    def taught(run: RunConfig, code: str) -> float:
        return 0.9 if run.data.source_set == code else 0.4

    write_grid(
        tmp_path / "made", ARMS, taught, codes=("eng", "hau"), base=OWN, source_sets=["eng", "hau"], seeds=(1, 2)
    )
    results = read_results([Folder(tmp_path / "made")])
    table = main_table(results)
    assert set(table["score"]) == {0.4} and set(table["num_languages"]) == {1}
    assert "rows of different source sets average different languages" in results.left_out[0]


def test_the_published_data_keep_the_published_rows(tmp_path: Path) -> None:
    codes = ("eng_Latn", "deu_Latn", "kat_Geor", "yor_Latn")
    for number, dataset in enumerate(("Davlan/sib200", "/data/SIB-200/data/annotated")):
        folder = tmp_path / f"made{number}"
        write_grid(folder, ARMS, flat, codes=codes, base={"dataset": dataset}, source_sets=["enarzho", "xlmr_seen"])
        results = read_results([Folder(folder)])
        assert results.exclude == "joshi5" and "all_without_joshi5" in results.groups
        assert results.left_out == ["Tested, and not in any row: deu_Latn, eng_Latn (trained on)."]
        assert results.trained_on_targets == {"xlmr_seen": 1}


def test_the_exclusion_can_be_said(tmp_path: Path) -> None:
    write_grid(tmp_path / "made", ARMS, flat, codes=("de", "en", "ha"), base=OWN, source_sets=["en"])
    for exclude, left in (("none", 3), ("trained", 2), ("trained,ha", 1), ("joshi5", 1), ("German", 2)):
        results = read_results([Folder(tmp_path / "made")], exclude)
        assert max(map(len, results.groups.values())) == left, exclude


def test_the_table_at_the_end_of_a_search_has_the_rows_of_the_report(tmp_path: Path, backbone: str) -> None:
    own = {**dict.fromkeys(CODES, TEST), "eng_Latn": WHOLE}
    plan = plan_of("quickstart", backbone, f"dataset={write_data(tmp_path / 'news.csv', own)}")
    points: list[dict[str, Any]] = [{"num_virtual_tokens": 4, "encoder_ratio": 0.5, "prompt_learning_rate": 0.01}]
    assert plan.sweep.kind == "search"
    write_search(tmp_path / plan.name, plan.sweep, [(point, "complete", 0.6, 60) for point in points], flat)
    console = Console(file=io.StringIO(), width=120)
    folder = tmp_path / plan.name
    print_answer(console, plan, Folder(folder))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    results = read_results([Folder(folder)])
    assert results.left_out == ["Tested, and not in any row: eng_Latn (trained on)."]
    assert results.left_out[0] in text
    sizes = [f"({len(places)})" for places in results.groups.values()]
    assert [word for word in text.split() if re.fullmatch(r"\(\d+\)", word)] == sizes
    assert "tested" in text and "joshi5" not in text


def test_groups_of_a_file_are_languages_everywhere_and_rows_of_its_tables(tmp_path: Path, backbone: str) -> None:
    own = {"hau": WHOLE, "ibo": WHOLE, "yor": WHOLE, "eng": WHOLE}
    values = {
        "groups": {"african": ["yor", "Hausa", "ig"], "west": "african, eng"},
        "base": {"dataset": write_data(tmp_path / "news.csv", own), "max_steps": 30},
        "space": {"source_set": {"choice": ["african", "west", "eng"]}},
        "selection_languages": "west",
        "evaluation": {"languages": ["african", "eng"]},
    }
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(values))
    plan = plan_of(str(file), backbone)
    assert plan.sweep.used_source_sets == ("Hausa,ig,yor", "Hausa,eng,ig,yor", "eng")
    assert plan.panel.target_languages == plan.panel.selection_languages == ("eng", "hau", "ibo", "yor")
    assert "african, west, eng\n" in re.sub(" +\n", "\n", printed(plan))
    pinned = plan_of(str(file), backbone, "source_set=african")
    assert pinned.sweep.corners[0].data.source_set == "Hausa,ig,yor"


def test_a_group_is_a_row_and_names_its_source_set_and_a_run_does_not_know_it(tmp_path: Path) -> None:
    codes = ("eng", "hau", "ibo", "yor", "deu")
    groups = {"african": ["yor", "hau", "ibo"], "germanic": ["deu", "eng"]}
    sets = ["eng", "african"]
    sweep = write_grid(tmp_path / "made", ARMS, flat, codes=codes, base=OWN, groups=groups, source_sets=sets)
    results = read_results([Folder(tmp_path / "made")])
    assert results.source_sets == ["eng", "african"]
    assert [results.languages[place] for place in results.groups["germanic"]] == ["deu"]
    plain = make_sweep(kind="grid", arms=ARMS, base=OWN, source_sets=["eng", "hau,ibo,yor"])
    assert [config.run_id for config in sweep.corners] == [config.run_id for config in plain.corners]


@pytest.mark.parametrize(
    ("groups", "sentence"),
    [
        ({"joshi5": ["hau"]}, "groups.joshi5: is a group, family or script already"),
        ({"turkic": ["tur"]}, "groups.turkic: is a group, family or script already"),
        ({"hau": ["yor"]}, r"groups.hau: is a language already \(Hausa, hau_Latn\)"),
        ({"all_targets": ["yor"]}, "groups.all_targets: tables and options use this name already"),
        ({"a b": ["yor"]}, "groups: 'a b' is no name"),
        ({"mine": []}, "groups.mine: must be a list of languages"),
        ({"mine": ["yor", ""]}, "groups.mine: .*no name before or after a comma"),
        (["yor"], "groups=.'yor'.: must hold keys of its own"),
    ],
)
def test_a_groups_name_is_ones_own(tmp_path: Path, groups: Any, sentence: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"groups": groups}))
    with pytest.raises(InputError, match=sentence):
        load_experiment(str(file))


def test_a_group_with_the_name_of_one_of_the_datas_languages_is_refused(tmp_path: Path, backbone: str) -> None:
    data = write_data(tmp_path / "news.csv", {"north": WHOLE, "south": TEST})
    file = tmp_path / "mine.yaml"
    values = {"groups": {"north": ["south"]}, "base": {"dataset": data, "source_set": "south", "max_steps": 30}}
    file.write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match="groups.north: is a language of the data set already"):
        plan_of(str(file), backbone)
