"""Experiments on several backbones and data sets: each panel's numbers are those of an experiment by itself."""

import csv
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sweep.analysis import read_evaluations, read_runs
from sweep.analysis.report_data import read_reports
from sweep.driver.tuner import run_experiment
from sweep.experiment.arms import Replication
from sweep.experiment.config import SweepConfig, make_sweep
from sweep.experiment.panels import split_panels
from sweep.planning.moved import keep_names
from sweep.planning.plan import prepare
from sweep.planning.replication import resolve_replication
from sweep.records.adapters import find_beaten_runs
from sweep.records.experiment_folder import ExperimentFolder
from sweep.records.ledger import read_ledger
from sweep.storage import Folder
from tests.conftest import ONE_THREAD, Refuse, Run, copy_experiment, make_backbone, make_words
from xpe_core.errors import InputError
from xpe_core.locations import use_locations

ORDER = ["arm", "source_set", "seed"]
MEASURED = ["selection_accuracy", "validation_accuracy", "best_step", "num_trained_parameters"]
COMPARED = [*ORDER, "run_id", "state", *MEASURED]
LABELS = ("news", "weather")
"""Of the second data set, which has other languages, too."""


def write_table(file: Path, changed: str = "") -> str:
    """Write a table with two labels in English, German and Swahili, of words that the backbones know; return its path.

    A word is added to every text where something is to be `changed`.
    """
    words = make_words()
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["text", "label", "language", "split"])
        for language in ("eng_Latn", "deu_Latn", "swh_Latn"):
            draw = random.Random(language)
            for split, size in (("train", 24), ("validation", 8), ("test", 14)):
                for number in range(size):
                    label = LABELS[number % len(LABELS)]
                    like = "yor_Latn" if language == "swh_Latn" else language
                    known = words[like, ("sports", "travel")[number % len(LABELS)]]
                    text = " ".join(draw.choices(known, k=draw.randint(3, 8)))
                    writer.writerow([f"{text}{changed}", label, language, split])
    return str(file)


@pytest.fixture(scope="module")
def places(dataset: str, backbone: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return two backbones of other sizes, and two data sets with other labels and languages."""
    folder = tmp_path_factory.mktemp("panels")
    wide = make_backbone(folder / "wide", hidden_size=48)
    return {"tiny": backbone, "wide": wide, "topics": dataset, "table": write_table(folder / "table.csv")}


def make_grid(places: dict[str, str], panels: list[tuple[str, str]], **values: Any) -> dict[str, Any]:
    """Return a grid of two arms on each of some backbones and data sets."""
    base = {"source_set": "eng_Latn,deu_Latn", "num_virtual_tokens": 4, "encoder_hidden_size": 8, "batch_size": 8}
    base |= {
        "max_steps": 30,
        "eval_steps": 10,
        "encoder_prompt_learning_rate": 5e-3,
        "max_length": 16,
        "optimizer": "adamw",
        "pooling": "mean",
    }
    base |= {"precision": "float32", "learning_rate": 5e-3}
    arms = {
        f"{method} {backbone} {dataset}": {
            "backbone": places[backbone],
            "dataset": places[dataset],
            "encoder_ratio": ratio,
        }
        for backbone, dataset in panels
        for method, ratio in (("spt", 0.0), ("xpe", 1.0))
    }
    resources = {**ONE_THREAD, "checkpoint_seconds": 0}
    return {"kind": "grid", "base": base, "arms": arms, "seeds": [1, 2], "resources": resources, **values}


ALL = [(backbone, dataset) for backbone in ("tiny", "wide") for dataset in ("topics", "table")]


@pytest.fixture(scope="module")
def crossed(
    places: dict[str, str], cache_folder: Path, local_ray: None, tmp_path_factory: pytest.TempPathFactory
) -> Folder:
    """Run the grid of two backbones on two data sets; change a copy of its folder only."""
    plan = prepare("crossed", make_sweep(**make_grid(places, ALL)))
    return run_experiment(plan, tmp_path_factory.mktemp("crossed"))


def test_the_numbers_of_each_panel_are_those_of_an_experiment_by_itself(
    places: dict[str, str], crossed: Folder, tmp_path: Path
) -> None:
    runs, rows = read_runs(crossed), read_evaluations(crossed)
    assert len(runs) == 16 and set(runs["state"]) == {"complete"}
    for backbone, dataset in ALL:
        plan = prepare("alone", make_sweep(**make_grid(places, [(backbone, dataset)])))
        alone = run_experiment(plan, tmp_path / f"{backbone}-{dataset}")
        own = runs.filter(pl.col("backbone") == places[backbone], pl.col("dataset") == places[dataset])
        assert own.sort(ORDER).select(COMPARED).equals(read_runs(alone).sort(ORDER).select(COMPARED))
        keys = ["run_id", "split", "language"]
        scores = read_evaluations(alone).sort(keys)
        here = rows.filter(pl.col("run_id").is_in(own["run_id"].to_list())).sort(keys)
        assert here.equals(scores) and set(scores["language"]) >= {"eng_Latn", "deu_Latn"}
    assert runs["selection_accuracy"].n_unique() > 4  # they do not all answer alike
    tested = rows.filter(split="test").join(runs, on="run_id")
    languages = tested.group_by("dataset").agg(pl.col("language").unique().sort())
    assert dict(languages.iter_rows()) == {
        places["topics"]: ["deu_Latn", "eng_Latn", "kat_Geor", "yor_Latn"],
        places["table"]: ["deu_Latn", "eng_Latn", "swh_Latn"],
    }


def test_more_seeds_extend_all_panels_and_nothing_is_run_twice(
    places: dict[str, str], crossed: Folder, tmp_path: Path
) -> None:
    copy_experiment(crossed, tmp_path)
    folder = run_experiment(prepare("crossed", make_sweep(**make_grid(places, ALL, seeds=[1, 2, 3]))), tmp_path)
    runs = read_runs(folder)
    assert len(runs) == runs["run_id"].n_unique() == 24
    assert len(read_ledger(folder)) == 16
    before = read_runs(crossed).sort(ORDER).select(COMPARED)
    assert runs.filter(pl.col("seed") < 3).sort(ORDER).select(COMPARED).equals(before)


def test_the_panels_of_an_experiment_are_named_by_what_differs(places: dict[str, str]) -> None:
    def names(panels: list[tuple[str, str]]) -> list[str]:
        return [panel.name for panel in split_panels(make_sweep(**make_grid(places, panels)))]

    tiny = Path(places["tiny"]).name
    assert names([("tiny", "topics")]) == [""]
    assert names([("tiny", "topics"), ("wide", "topics")]) == [tiny, "wide"]
    assert names([("wide", "table"), ("wide", "topics")]) == ["table.csv", Path(places["topics"]).name]
    assert names(ALL)[-1] == "wide/table.csv" and len(set(names(ALL))) == 4


def test_data_of_another_content_in_the_second_panel_are_refused(
    places: dict[str, str], crossed: Folder, tmp_path: Path
) -> None:
    copy_experiment(crossed, tmp_path)
    table, content = Path(places["table"]), Path(places["table"]).read_bytes()
    try:
        write_table(table, " more")
        plan = prepare("crossed", make_sweep(**make_grid(places, ALL)))
        with pytest.raises(InputError, match=r"the data differ, in content \(.*table.csv; fingerprints"):
            run_experiment(plan, tmp_path)
    finally:
        table.write_bytes(content)


def test_a_language_that_one_of_the_data_sets_lacks_is_said_with_its_panel(places: dict[str, str]) -> None:
    grid = make_grid(
        places, [("tiny", "topics"), ("tiny", "table")], evaluation={"languages": ["eng_Latn", "yor_Latn"]}
    )
    with pytest.raises(InputError, match="^table.csv: evaluation.languages: .*yor"):
        prepare("mine", make_sweep(**grid))
    grid = make_grid(places, [("tiny", "topics"), ("tiny", "table")])
    grid["base"]["source_set"] = "kat_Geor"
    with pytest.raises(InputError, match="^table.csv: source_set: .*kat"):
        prepare("mine", make_sweep(**grid))


def test_a_search_and_a_method_of_a_study_have_one_backbone_and_data_set(places: dict[str, str]) -> None:
    with pytest.raises(
        ValueError, match="backbone cannot be searched: accuracies on several .* arms of a grid may differ"
    ):
        make_sweep(space={"backbone": {"choice": [places["tiny"], places["wide"]]}})
    with pytest.raises(ValueError, match="methods.spt: dataset is the same in all trials"):
        make_sweep(kind="study", methods={"spt": {"default": {"dataset": "cldr"}}})
    with pytest.raises(
        ValueError, match="methods.b: its source_set is deu_Latn, that of a eng_Latn; methods on the same"
    ):
        make_study(places, {"a": {}, "b": {"source_set": "deu_Latn"}})


def make_study(places: dict[str, str], bases: dict[str, dict[str, str]], **values: Any) -> SweepConfig:
    """Return a study of heads, each with its own base."""
    base = {**make_grid(places, [("tiny", "topics")])["base"], "tuning": "none", "source_set": "eng_Latn"}
    base = {key: value for key, value in base.items() if not key.startswith(("encoder", "num_virtual"))}
    spaces = {"space": {"learning_rate": {"log_uniform": [1e-3, 1e-2]}}, "default": {"learning_rate": 5e-3}}
    base.pop("learning_rate")
    return make_sweep(
        kind="study",
        base={**base, "dataset": places["topics"], "backbone": places["tiny"]},
        methods={name: {"base": own, **spaces} for name, own in bases.items()},
        **{"budget": {"trials": 2}, "seeds": [1], "replication_seeds": [2, 3], "resources": ONE_THREAD, **values},
    )


def test_the_numbers_of_a_study_on_several_are_those_of_studies_by_themselves(
    places: dict[str, str], cache_folder: Path, local_ray: None, run_here: Run, tmp_path: Path
) -> None:
    bases = {"small": {}, "wide": {"backbone": places["wide"]}, "table": {"dataset": places["table"]}}
    order = ["arm", "stage", "trial_number", "seed"]
    columns = ["run_id", "arm", "stage", "seed", "state", *MEASURED]
    first = {name: bases[name] for name in ("small", "wide")}
    run_experiment(prepare("both", make_study(places, first)), tmp_path)
    both = run_experiment(prepare("both", make_study(places, bases)), tmp_path)  # a method on other data is added
    for name, base in bases.items():
        alone = read_runs(run_experiment(prepare(name, make_study(places, {name: base})), tmp_path))
        own = read_runs(both).filter(pl.col("arm").is_in([name, f"{name} default"]))
        assert own.sort(order).select(columns).equals(alone.sort(order).select(columns))
        assert set(own["stage"]) == {"search", "replication"}
    reports = read_reports([both])
    tiny = Path(places["tiny"]).name
    topics = Path(places["topics"]).name
    assert [data.panel for data in reports] == [f"{tiny}/{topics}", f"wide/{topics}", f"{tiny}/table.csv"]
    for data, name in zip(reports, bases, strict=True):
        assert data.study is not None and data.study.methods["method"].to_list() == [name]
        assert set(data.study.budget["method"]) == {name} and name in data.results.arms
    said = run_here("report", "both", "--storage", str(tmp_path))
    assert f"both/wide/{topics}: " in said
    assert "backbone: " in run_here("best", "both", "--panel", f"wide/{topics}", "--storage", str(tmp_path))


def test_a_study_on_several_goes_on_where_its_data_have_moved(
    places: dict[str, str], cache_folder: Path, local_ray: None, tmp_path: Path
) -> None:
    bases = {"small": {}, "table": {"dataset": places["table"]}}
    folder = run_experiment(prepare("mine", make_study(places, bases)), tmp_path)
    elsewhere = str(tmp_path / "elsewhere.csv")
    shutil.copy(places["table"], elsewhere)
    moved = keep_names(make_study(places, {**bases, "table": {"dataset": elsewhere}}), folder)
    assert moved.places == {places["table"]: elsewhere}
    before = len(read_ledger(folder))
    folder = run_experiment(replace(prepare("mine", moved.sweep), places=moved.places), tmp_path)
    assert len(read_ledger(folder)) == before
    use_locations({})


def test_the_plan_and_the_report_go_panel_by_panel(crossed: Folder, run_here: Run, tmp_path: Path) -> None:
    storage = str(crossed.parent)
    said = run_here("report", "crossed", "--storage", storage)
    names = [panel.name for panel in split_panels(make_sweep(**_asked(crossed)))]
    places_of_names = [said.index(f"crossed/{name}: backbone") for name in names]
    assert places_of_names == sorted(places_of_names)
    run_here("report", "crossed", "--storage", storage, "--format", "csv", "--to", str(tmp_path / "csv"))
    files = {file.name for file in (tmp_path / "csv").iterdir()}
    assert {f"{name.replace('/', '-')}-main.csv" for name in names} <= files
    run_here("report", "crossed", "--storage", storage, "--to", str(tmp_path / "page.html"))
    pages = sorted(file.name for file in tmp_path.glob("page*.html"))
    assert len(pages) == 4 and all(page in (tmp_path / "page.html").read_text() for page in pages)
    main = pl.read_csv(tmp_path / "csv" / "wide-table.csv-main.csv")
    assert set(main["arm"]) == {"spt wide table", "xpe wide table"}


def _asked(folder: Folder) -> dict[str, Any]:
    import yaml

    content = folder.read("experiment.yaml")
    assert content is not None
    values = yaml.safe_load(content)
    return {key: value for key, value in values.items() if key not in ("fingerprints", "places")}


def test_configurations_are_compared_within_a_panel_only(crossed: Folder, run_here: Run, refuse: Refuse) -> None:
    where = ("--storage", str(crossed.parent))
    assert "xpe wide table - spt wide table" in run_here("compare", "xpe wide table", "spt wide table", *where)
    said = refuse("compare", "xpe wide table", "xpe tiny table", *where)
    assert "cannot be compared" in said and "the backbone of" in said


def test_each_panel_has_a_best_of_its_own(crossed: Folder, run_here: Run, refuse: Refuse, tmp_path: Path) -> None:
    where = ("--storage", str(crossed.parent))
    said = refuse("best", "crossed", *where)  # no terminal: a file
    assert "say --panel, one of" in said and "wide/table.csv" in said
    assert "backbone: " in run_here("best", "crossed", "--panel", "wide/table.csv", *where)
    said = refuse("export", "crossed", "--to", str(tmp_path / "out"), *where)
    assert "no single best configuration" in said
    run_here("export", "crossed", "--arm", "xpe wide table", "--to", str(tmp_path / "out"), *where)
    assert run_here("status", "crossed", *where).count(" *") >= 4
    assert "crossed" in run_here("list", *where)


def test_data_and_backbones_that_have_moved_are_found_by_what_they_are(
    places: dict[str, str], crossed: Folder, tmp_path: Path
) -> None:
    copy_experiment(crossed, tmp_path)
    elsewhere = {"table": str(tmp_path / "elsewhere.csv"), "wide": str(tmp_path / "broad")}
    shutil.copy(places["table"], elsewhere["table"])
    shutil.copytree(places["wide"], elsewhere["wide"])
    sweep = make_sweep(**make_grid({**places, **elsewhere}, ALL))
    moved = keep_names(sweep, Folder(tmp_path / "crossed"))
    assert moved.places == {places["table"]: elsewhere["table"], places["wide"]: elsewhere["wide"]}
    assert [corner.run_id for corner in moved.sweep.corners] == [
        corner.run_id for corner in make_sweep(**make_grid(places, ALL)).corners
    ]
    folder = run_experiment(replace(prepare("crossed", moved.sweep), places=moved.places), tmp_path)
    assert len(read_ledger(folder)) == 8  # nothing is run again
    use_locations({})


def test_a_replication_runs_the_best_of_each_panel_beside_its_baselines(crossed: Folder) -> None:
    replication = Replication(kind="replicate", of="crossed", seeds=(3, 4))
    sweep = resolve_replication(replication, crossed.parent)
    panels = split_panels(sweep)
    assert [panel.name for panel in panels] == [panel.name for panel in split_panels(make_sweep(**_asked(crossed)))]
    for panel in panels:
        assert sorted({corner.method for corner in panel.sweep.corners}) == ["spt", "xpe"]
        assert any(arm == f"{panel.name} best" for arm, _ in panel.sweep.cells)


def test_with_keep_best_the_best_of_each_panel_is_kept(places: dict[str, str], crossed: Folder) -> None:
    sweep = make_sweep(**make_grid(places, ALL, keep="best"))
    records = read_ledger(crossed)
    beaten = find_beaten_runs(sweep, records)
    left = [record for record in records.values() if not set(record.run_ids) & beaten]
    assert sorted(record.run_config.panel for record in left) == sorted(panel.key for panel in split_panels(sweep))


def test_a_transfer_may_gain_arms_on_another_data_set(places: dict[str, str], tmp_path: Path) -> None:
    def open_folder(panels: list[tuple[str, str]], **prints: str) -> None:
        values = make_grid(places, panels, kind="transfer", targets={"languages": ["deu_Latn"]})
        plan = prepare("mine", make_sweep(**values))
        assert all(what in plan.fingerprints for what in prints)
        ExperimentFolder(tmp_path / "mine", plan.sweep, {**plan.fingerprints, **prints}).close()

    open_folder([("tiny", "topics")])
    with pytest.raises(InputError, match="the data differ"):
        open_folder([("tiny", "topics")], data="another")
    open_folder([("tiny", "topics"), ("tiny", "table")])
    open_folder([("tiny", "table"), ("tiny", "topics")])
    with pytest.raises(InputError, match="arms.spt tiny topics"):
        open_folder([("tiny", "table")])


def test_an_experiment_on_one_of_the_panels_stands_in_its_report(
    places: dict[str, str], crossed: Folder, tmp_path: Path
) -> None:
    copy_experiment(crossed, tmp_path)
    alone = run_experiment(prepare("alone", make_sweep(**make_grid(places, ALL[-1:], seeds=[3]))), tmp_path)
    reports = read_reports([Folder(tmp_path / "crossed"), alone], baseline="spt wide table")
    names = [[one.name for one in data.results.experiments] for data in reports]
    assert names[-1] == ["crossed/wide/table.csv", "alone"] and [len(one) for one in names] == [1, 1, 1, 2]
    assert {cell.seeds for cell in reports[-1].results.cells} == {(1, 2, 3)}
    assert reports[-1].baseline == "spt wide table" != reports[0].baseline
    with pytest.raises(InputError, match="--baseline nobody: must be one of the arms spt tiny topics"):
        read_reports([Folder(tmp_path / "crossed")], baseline="nobody")


def test_a_transfer_goes_on_within_each_data_set(
    places: dict[str, str], cache_folder: Path, local_ray: None, tmp_path: Path
) -> None:
    two = [("tiny", "topics"), ("tiny", "table")]
    targets = {"languages": ["deu_Latn"], "base": {"max_steps": 10, "warmup_ratio": 0.0}}

    def make_transfer(panels: list[tuple[str, str]]) -> SweepConfig:
        values = make_grid(places, panels, kind="transfer", targets=targets, seeds=[1])
        return make_sweep(**{**values, "base": {**values["base"], "source_set": "eng_Latn"}})

    runs = read_runs(run_experiment(prepare("both", make_transfer(two)), tmp_path))
    order = ["arm", "adapted_to", "seed"]
    columns = ["run_id", "parent_run_id", *order, "state", *MEASURED]
    assert len(runs) == 8 and set(runs["state"]) == {"complete"}
    for backbone, dataset in two:
        alone = read_runs(run_experiment(prepare("one", make_transfer([(backbone, dataset)])), tmp_path / dataset))
        own = runs.filter(pl.col("dataset") == places[dataset])
        assert own.sort(order).select(columns).equals(alone.sort(order).select(columns))
    reports = read_reports([Folder(tmp_path / "both")])
    assert [data.panel for data in reports] == [Path(places[dataset]).name for _, dataset in two]
    assert all(not data.transfers.is_empty() for data in reports)
