"""Supervised transfer: source-trained runs, trained further on targets; a real local Ray and a tiny real model."""

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
import yaml

from sweep.analysis import read_evaluations, read_runs
from sweep.driver.entries import add_configurations, identify
from sweep.driver.messages import TrialOrder, TrialReport
from sweep.driver.searcher import LedgerSearcher
from sweep.driver.stopping import Stopped
from sweep.driver.tuner import run_experiment
from sweep.experiment.config import SweepConfig, make_sweep
from sweep.experiment.transfer import Transfer
from sweep.planning.plan import prepare
from sweep.records.adapters import kept_run_ids, read_kept
from sweep.records.experiment_folder import ExperimentFolder, request_stop
from sweep.records.further import FurtherCell, TargetSizes, find_pack_size, list_cells, make_packs
from sweep.records.ledger import TrialRecord, read_events, read_ledger
from sweep.records.rows import RunRow
from sweep.records.states import State
from sweep.storage import Folder
from tests.conftest import ONE_THREAD, Refuse, Run, copy_experiment, make_search
from tests.making.pairs import make_encoder
from tests.making.questions import write_questions
from tests.sweep.test_end_to_end import MEASURED
from xpe_core.adapters import read_adapter
from xpe_core.backbones.backbone import load_backbone
from xpe_core.config import RunConfig
from xpe_core.data.tokens import load_tokens
from xpe_core.errors import InputError
from xpe_core.pack import Pack
from xpe_core.training.evaluation import evaluate
from xpe_core.training.further import Further
from xpe_core.training.training import Training

SEEDS, CAPS, TARGETS = [1, 2], [6, None], ("kat_Geor", "yor_Latn")


def make_transfer(dataset: str, backbone: str) -> dict[str, Any]:
    """Return a transfer of two arms to two targets, with few examples and with all, and from new weights."""
    values = make_search(dataset, backbone)
    base = {**values["base"], "max_steps": 20, "eval_steps": 10, "learning_rate": 5e-3}
    further = {"max_steps": 10, "eval_steps": 5}
    return {
        "kind": "transfer",
        "base": base,
        "arms": {"spt": {"encoder_ratio": 0.0}, "xpe": {"encoder_ratio": 1.0}},
        "seeds": SEEDS,
        "targets": {"languages": list(TARGETS), "max_train_examples": CAPS, "from_scratch": True, "base": further},
        "evaluation": {"languages": ["kat_Geor", "yor_Latn", "eng_Latn", "deu_Latn"], "max_examples": 10},
        "resources": ONE_THREAD,
    }


@pytest.fixture
def transfer(dataset: str, backbone: str) -> dict[str, Any]:
    return make_transfer(dataset, backbone)


@pytest.fixture(scope="module")
def transferred(
    dataset: str, backbone: str, cache_folder: Path, local_ray: None, tmp_path_factory: pytest.TempPathFactory
) -> Folder:
    """Run the transfer; change a copy of its folder only."""
    plan = prepare("transfer", make_sweep(**make_transfer(dataset, backbone)))
    return run_experiment(plan, tmp_path_factory.mktemp("transfer"))


def test_every_arm_is_trained_on_its_sources_and_further_on_every_target(transferred: Folder) -> None:
    runs = read_runs(transferred)
    assert set(runs["state"]) == {"complete"} and len(runs) == runs["run_id"].n_unique()
    first = runs.filter(pl.col("adapted_to").is_null())
    assert sorted(first.select("arm", "seed").iter_rows()) == [(arm, s) for arm in ("spt", "xpe") for s in SEEDS]
    further = runs.filter(pl.col("parent_run_id").is_not_null())
    keys = {*further.select("arm", "seed", "adapted_to", "max_train_examples").iter_rows()}
    assert keys == {(arm, s, t, cap) for arm in ("spt", "xpe") for s in SEEDS for t in TARGETS for cap in CAPS}
    parents = dict(first.select("run_id", "arm").iter_rows())
    assert all(parents[parent] == arm for parent, arm in further.select("parent_run_id", "arm").iter_rows())
    anew = runs.filter(pl.col("adapted_to").is_not_null() & pl.col("parent_run_id").is_null())
    assert len(anew) == len(further) and anew["adapted_to"].equals(anew["source_set"].alias("adapted_to"))
    assert {*runs.filter(pl.col("adapted_to").is_not_null()).select("max_steps", "patience").iter_rows()} == {(10, 30)}


def test_a_run_of_a_target_is_tested_and_chosen_there_alone(transferred: Folder) -> None:
    rows = read_evaluations(transferred).join(read_runs(transferred).select("run_id", "adapted_to"), on="run_id")
    further = rows.filter(pl.col("adapted_to").is_not_null())
    assert further["language"].equals(further["adapted_to"].alias("language"))
    assert set(further["split"]) == {"validation", "test"}
    tested = rows.filter(pl.col("adapted_to").is_null() & (pl.col("split") == "test"))
    assert tested.group_by("run_id").len()["len"].unique().to_list() == [4]


def test_a_further_run_is_what_going_on_alone_from_its_parent_gives(transferred: Folder) -> None:
    chosen = (pl.col("arm") == "xpe") & (pl.col("seed") == 2) & (pl.col("adapted_to") == "yor_Latn")
    runs = read_runs(transferred).filter(chosen & (pl.col("max_train_examples") == 6))
    row = runs.filter(pl.col("parent_run_id").is_not_null()).row(0, named=True)
    config = RunConfig.from_row(row)
    data = load_tokens(config.data.dataset, config.backbone, config.data.max_length)
    model = Pack(load_backbone(config.backbone), [config], len(data.label_names))
    start = read_kept(transferred, row["parent_run_id"])
    training = Training(model, data, further=[Further(row["run_id"], "yor_Latn", start.parameters)])
    while not training.ended:
        training.advance()
    training.keep_best()
    kept = read_kept(transferred, row["run_id"])
    for name, value in kept.parameters.items():
        torch.testing.assert_close(model.run_parameters(0)[name], value, atol=1e-5, rtol=0)
    score = evaluate(model, data, "test", ["yor_Latn"], 10)[0][0]
    table = read_evaluations(transferred).filter((pl.col("run_id") == row["run_id"]) & (pl.col("split") == "test"))
    assert table["score_sum"].to_list() == [score.score_sums["accuracy"]]
    assert (kept.facts["adapted_to"], kept.facts["parent_run_id"]) == ("yor_Latn", row["parent_run_id"])


def test_runs_of_a_trial_differ_in_target_and_parent(transferred: Folder) -> None:
    records = read_ledger(transferred).values()
    packs = [record.runs for record in records if record.runs[0].parent_run_id is not None]
    assert [len(runs) for runs in packs] == [4] * 4  # two seeds and two targets, of two arms with two caps
    assert all(
        {(run.seed, run.adapted_to) for run in runs} == {(s, t) for s in SEEDS for t in TARGETS} for runs in packs
    )
    assert all(len({run.parent_run_id for run in runs}) == 2 for runs in packs)


def compare_tables(one: Folder, other: Folder, only: pl.Expr) -> None:
    """Compare the rows of both tables, of the runs that `only` holds of, whatever order they ended in."""
    columns = [*MEASURED, "trial_id", "trial_number", "num_runs_in_pack", "padding_share"]
    first, second = (read_runs(folder).filter(only).drop(columns).sort("run_id") for folder in (one, other))
    for name in first.columns:
        assert first[name].equals(second[name]), name
    order = ["run_id", "split", "language"]
    rows = [read_evaluations(folder).sort(order) for folder in (one, other)]
    kept = [frame.filter(pl.col("run_id").is_in(first["run_id"].to_list())).drop("loss") for frame in rows]
    assert kept[0].equals(kept[1]) and len(kept[0])


@pytest.mark.parametrize("number", [1, 4, 9])
def test_a_transfer_that_is_stopped_anywhere_goes_on_with_the_same_numbers(
    transfer: dict[str, Any], transferred: Folder, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.driver.recorder.POLL_SECONDS", 0.0)  # the last trials end within two seconds
    transfer["resources"] = {**ONE_THREAD, "checkpoint_seconds": 0}
    plan = prepare("transfer", make_sweep(**transfer))

    def stop(record: TrialRecord, report: TrialReport | None) -> None:
        if record.number == number and report is not None:
            request_stop(Folder(tmp_path) / "transfer")

    with pytest.raises(Stopped, match="on request"):
        run_experiment(plan, tmp_path, stop)
    before = {event["trial_id"] for event in read_events(Folder(tmp_path) / "transfer") if event["event"] == "end"}
    folder = run_experiment(plan, tmp_path)
    compare_tables(transferred, folder, pl.lit(True))
    ends = [event["trial_id"] for event in read_events(folder) if event["event"] == "end"]
    assert len(ends) == len(set(ends)) == len(read_ledger(folder)) and before < set(ends)


def test_a_target_a_seed_and_an_arm_more_extend_it_without_running_anything_twice(
    transfer: dict[str, Any], transferred: Folder, tmp_path: Path
) -> None:
    copy_experiment(transferred, tmp_path)
    transfer["seeds"] = [1, 2, 3]
    transfer["arms"]["dual"] = {"encoder_ratio": 0.5}
    transfer["targets"]["languages"] = [*TARGETS, "deu_Latn"]
    folder = run_experiment(prepare("transfer", make_sweep(**transfer)), tmp_path)
    runs = read_runs(folder)
    assert len(runs) == runs["run_id"].n_unique() == 3 * 3 + 3 * 3 * 3 * 2 * 2 and set(runs["state"]) == {"complete"}
    suggested = [event["trial_id"] for event in read_events(folder) if event["event"] == "suggested"]
    assert len(suggested) == len(set(suggested))
    old = read_runs(transferred)["run_id"].to_list()
    compare_tables(transferred, folder, pl.col("run_id").is_in(old))
    numbers = runs.filter(pl.col("run_id").is_in(old))["trial_number"].to_list()
    assert max(numbers) < len(read_ledger(transferred))
    again = run_experiment(prepare("transfer", make_sweep(**transfer)), tmp_path)
    assert len(read_ledger(again)) == len(suggested)


def test_less_of_a_transfer_or_another_second_stage_is_another_experiment(
    transfer: dict[str, Any], transferred: Folder, tmp_path: Path
) -> None:
    copy_experiment(transferred, tmp_path)
    for key, value in (
        ("languages", ["kat_Geor"]),
        ("base", {"max_steps": 12, "eval_steps": 5}),
        ("from_scratch", False),
    ):
        other = {**transfer, "targets": {**transfer["targets"], key: value}}
        with pytest.raises(InputError, match=f"another experiment: targets.{key}"):
            run_experiment(prepare("transfer", make_sweep(**other)), tmp_path)
    arms = {**transfer["arms"], "xpe": {"encoder_ratio": 1.0, "learning_rate": 1e-4}}
    base = {name: value for name, value in transfer["base"].items() if name != "learning_rate"}
    with pytest.raises(InputError, match="another experiment"):
        run_experiment(prepare("transfer", make_sweep(**{**transfer, "arms": arms, "base": base})), tmp_path)


@pytest.mark.usefixtures("local_ray")
def test_what_starts_from_a_run_that_failed_is_not_tried_and_says_so(transfer: dict[str, Any], tmp_path: Path) -> None:
    del transfer["base"]["learning_rate"]
    transfer["arms"] = {"good": {"learning_rate": 5e-3}, "hot": {"learning_rate": 1e30}}
    transfer["targets"] |= {"from_scratch": False, "max_train_examples": 6}
    transfer["targets"]["base"] = {**transfer["targets"]["base"], "learning_rate": 5e-3}
    folder = run_experiment(prepare("transfer", make_sweep(**transfer)), tmp_path)
    runs = read_runs(folder)
    assert set(runs.filter(pl.col("arm") == "good")["state"]) == {"complete"}
    further = runs.filter((pl.col("arm") == "hot") & pl.col("adapted_to").is_not_null())
    assert len(further) == 4 and set(further["state"]) == {"failed"}
    assert all(error.startswith("run ") and ", has failed: step " in error for error in further["error"])
    states = [record.state for record in read_ledger(folder).values() if record.error and "starts from" in record.error]
    assert states == ["infeasible"] * 2  # one a parent
    assert run_experiment(prepare("transfer", make_sweep(**transfer)), tmp_path).name == "transfer"
    assert len(read_runs(folder)) == len(runs)


@pytest.mark.usefixtures("local_ray")
def test_without_kept_adapters_they_go_when_all_that_starts_from_them_has_ended(
    transfer: dict[str, Any], tmp_path: Path
) -> None:
    transfer |= {"keep": "none", "seeds": [1], "arms": {"xpe": {"encoder_ratio": 1.0}}}
    transfer["targets"] |= {"from_scratch": False, "max_train_examples": 6}
    there: list[set[str]] = []

    def look(record: TrialRecord, report: TrialReport | None) -> None:
        if record.number and report is not None:
            there.append(kept_run_ids(Folder(tmp_path) / "transfer"))

    folder = run_experiment(prepare("transfer", make_sweep(**transfer)), tmp_path, look)
    runs = read_runs(folder)
    assert set(runs["state"]) == {"complete"} and len(runs) == 3
    assert there and all(kept == {runs.filter(pl.col("adapted_to").is_null())["run_id"][0]} for kept in there)
    assert not kept_run_ids(folder)
    transfer["targets"]["languages"] = [*TARGETS, "deu_Latn"]
    with pytest.raises(InputError, match="keep: none the source-trained adapters were removed.*another --name"):
        run_experiment(prepare("transfer", make_sweep(**transfer)), tmp_path)
    assert read_runs(folder).equals(runs)


def test_a_run_of_a_target_is_shown_exported_and_not_published(
    transferred: Folder, tmp_path: Path, run_here: Run, refuse: Refuse
) -> None:
    chosen = (pl.col("adapted_to") == "kat_Geor") & pl.col("parent_run_id").is_not_null() & (pl.col("seed") == 2)
    run_id, parent = read_runs(transferred).filter(chosen).select("run_id", "parent_run_id").row(0)
    there = ("--storage", str(transferred.parent))
    text = run_here("show", run_id, *there)
    assert f"further    on kat_Geor, from run {parent}" in text and "% on kat_Geor, at step" in text
    run_here("export", "transfer", "--run", run_id, "--to", str(tmp_path / "adapter"), *there)
    exported, kept = read_adapter(str(tmp_path / "adapter")), read_kept(transferred, run_id)
    assert exported.fingerprint == kept.fingerprint
    sentence = refuse("export", "transfer", "--run", run_id, "--to", "hub:me/mine", *there)
    assert "was trained further on kat_Geor" in sentence
    best = run_here("export", "transfer", "--to", str(tmp_path / "best"), *there)
    assert best.split()[1] in set(read_runs(transferred).filter(pl.col("adapted_to").is_null())["run_id"])


def test_a_dry_run_counts_both_stages(transfer: dict[str, Any], tmp_path: Path, run_here: Run) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(transfer), encoding="utf-8")
    options = ("--dry-run", "--tflops", "1", "--storage", str(tmp_path / "results"))
    text = " ".join(run_here("transfer", str(tmp_path / "mine.yaml"), *options).split())
    assert "2 languages, each by itself: kat_Geor, yor_Latn" in text
    assert "6, all train examples, from the source-trained parts and from new weights: 32 runs of 10 steps" in text
    assert "14 packs of up to 10 runs: 36 runs in all" in text and "spt: 18 runs" in text
    assert f"steps {4 * 20 + 32 * 10:,}, of" in text
    fewer = run_here("transfer", str(tmp_path / "mine.yaml"), *options, "--set", "targets.max_train_examples=[6]")
    assert "20 runs in all" in fewer
    longer = run_here("transfer", str(tmp_path / "mine.yaml"), *options, "--set", "targets.base.max_steps=15")
    assert "of 15 steps" in " ".join(longer.split())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"languages": ["kat_Geor", "xho"]}, "targets.languages: "),
        ({"languages": ["mars"]}, "targets.languages: "),
    ],
)
def test_a_target_that_the_data_lack_is_named(transfer: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepare("mine", make_sweep(**{**transfer, "targets": {**transfer["targets"], **changes}}))


def test_what_targets_lack_is_noted(dataset: str, transfer: dict[str, Any], tmp_path: Path) -> None:
    copy = shutil.copytree(dataset, tmp_path / "data")
    (copy / "yor_Latn" / "train.tsv").unlink()
    base = {**transfer["base"], "dataset": str(copy), "source_set": "eng_Latn,deu_Latn"}
    targets = {**transfer["targets"], "languages": "all", "max_train_examples": [6, 5_000]}
    plan = prepare("mine", make_sweep(**{**transfer, "base": base, "targets": targets}))
    notes = " ".join(plan.panels[0].notes)
    assert "not trained further on yor_Latn: there is no train or validation or test split" in notes
    assert "fewer than 5,000 train examples in deu_Latn, eng_Latn, kat_Geor: all of them stand for 5,000" in notes
    assert "not zero-shot before they are trained further on: deu_Latn, eng_Latn (in a source set)" in notes


def make_sizes(sweep: SweepConfig) -> dict[str, TargetSizes]:
    """Return 48 train examples for each target."""
    config = sweep.corners[0]
    return {config.panel: {config.reading: dict.fromkeys(TARGETS, 48)}}


def test_a_target_that_is_not_tested_before_is_refused(transfer: dict[str, Any]) -> None:
    transfer["evaluation"] = {"languages": ["kat_Geor"]}
    with pytest.raises(InputError, match="targets.languages: yor_Latn must be among evaluation.languages"):
        prepare("mine", make_sweep(**transfer))


def test_of_parents_that_failed_only_their_own_successors_are_not_tried(
    transfer: dict[str, Any], tmp_path: Path
) -> None:
    transfer["targets"]["from_scratch"] = False
    sweep = make_sweep(**{**transfer, "arms": {"xpe": {"encoder_ratio": 1.0}}})
    folder = ExperimentFolder(tmp_path / "mine", sweep, {})
    with closing(folder):
        searcher = LedgerSearcher(sweep, folder, {}, make_sizes(sweep))
        assert isinstance(searcher.suggest("first"), dict)
        assert searcher.suggest("none") is None  # all wait for what runs
        record = searcher.trials["first"]
        lost, kept = record.run_ids
        states = {lost: State.FAILED, kept: State.COMPLETE}
        rows: list[RunRow] = [
            {**identify(record, run, states[run_id]), "error": "step 3: loss nan"}
            for run, run_id in zip(record.runs, record.run_ids, strict=True)
        ]
        folder.write_file(f"adapters/{kept}.safetensors", b"made")
        folder.end(record, State.COMPLETE, None, add_configurations(record, rows), [])
        searcher.on_trial_complete("first")
        order = TrialOrder.from_wire(searcher.suggest("second"))  # type: ignore[arg-type]
        assert {(run.parent_run_id, run.adapted_to) for run in order.runs} == {(kept, target) for target in TARGETS}
        assert list(order.parents) == [kept]
        order = TrialOrder.from_wire(searcher.suggest("third"))  # type: ignore[arg-type]
        assert {run.parent_run_id for run in order.runs} == {kept} and not searcher.is_finished
        for name in ("second", "third"):
            folder.end(searcher.trials[name], State.COMPLETE, None, [], [])
            searcher.on_trial_complete(name)
        assert searcher.suggest("none") == "FINISHED"
        infeasible = [one for one in searcher.records.values() if one.state == State.INFEASIBLE]
        assert [len(one.runs) for one in infeasible] == [2, 2]
        assert all(run.parent_run_id == lost for one in infeasible for run in one.runs)
        assert {one.error for one in infeasible} == {f"run {lost}, which it starts from, has failed: step 3: loss nan"}
        assert searcher.is_finished


def test_what_crashed_is_waited_for_until_the_next_start(transfer: dict[str, Any], tmp_path: Path) -> None:
    transfer["targets"]["from_scratch"] = False
    sweep = make_sweep(**{**transfer, "arms": {"xpe": {"encoder_ratio": 1.0}}})
    with closing(ExperimentFolder(tmp_path / "mine", sweep, {})) as folder:
        searcher = LedgerSearcher(sweep, folder, {}, make_sizes(sweep))
        searcher.suggest("first")
        folder.end(searcher.trials.pop("first"), State.CRASHED, "OSError", [], [])
        assert searcher.suggest("none") == "FINISHED"
        assert searcher.has_work and not searcher.is_finished and len(searcher.records) == 1


def test_targets_of_different_sizes_are_packs_of_their_own(transfer: dict[str, Any]) -> None:
    sweep = make_sweep(**transfer)
    assert isinstance(sweep, Transfer)
    few, every = list_cells(sweep, ["kat_Geor", "yor_Latn", "deu_Latn"])[:2]
    sizes = {few.config.reading: {"kat_Geor": 48, "yor_Latn": 40, "deu_Latn": 48}}

    def targets_of(cell: FurtherCell, pack_size: int) -> list[list[str | None]]:
        return [[run.adapted_to for run in pack.runs] for pack in make_packs(cell, cell.keys, sizes, pack_size)]

    kat, yor, deu = (["kat_Geor"] * 2, ["yor_Latn"] * 2, ["deu_Latn"] * 2)
    assert targets_of(few, 10) == [[*kat, *yor, *deu]]
    assert targets_of(every, 10) == [[*kat, *deu], yor]
    assert targets_of(every, 2) == [kat, deu, yor]


def test_packs_of_questions_have_equally_many_windows_at_every_length(tmp_path: Path) -> None:
    data = Path(write_questions(tmp_path / "data", 12))
    german = data / "xquad.deu_Latn.json"
    content = json.loads(german.read_text(encoding="utf-8"))
    for article in content["data"]:
        for paragraph in article["paragraphs"]:
            paragraph["context"] += " a b c d e f"  # as long as the others in one window, but not in several
    german.write_text(json.dumps(content), encoding="utf-8")
    base = {"task": "qa", "readout": "span", "tuning": "lora", "rank": 2, "precision": "float32", "doc_stride": 2}
    base |= {"dataset": str(data), "columns": "split=50/25/25", "source_set": "eng_Latn", "batch_size": 4}
    base |= {"backbone": make_encoder("xlm-roberta", tmp_path / "encoder"), "max_steps": 4, "eval_steps": 4}
    arms = {"long": {"max_length": 32}, "short": {"max_length": 20}}
    targets = {"languages": "deu_Latn,zho_Hans", "base": {"max_steps": 4, "eval_steps": 4, "batch_size": 4}}
    sweep = make_sweep(kind="transfer", base=base, arms=arms, seeds=[1], targets=targets)
    assert isinstance(sweep, Transfer)
    (panel,) = prepare("some", sweep).panels
    packs = [
        pack
        for cell in panel.further_cells
        for pack in make_packs(cell, cell.keys, panel.further_sizes, find_pack_size(sweep))
    ]
    assert [(pack.arm, len(pack.runs)) for pack in packs] == [("long", 2), ("short", 1), ("short", 1)]
    for pack in packs:
        config = pack.config
        tokens = load_tokens(config.source, config.backbone, config.data.max_length, config.task)
        starts = [Further(run.parent_run_id or "", run.adapted_to or "") for run in pack.runs]
        Training(Pack(load_backbone(config.backbone), [config] * len(starts), 0), tokens, None, starts)


@pytest.mark.usefixtures("local_ray")
def test_the_shipped_transfer_runs_at_a_toy_size_and_is_reported(
    dataset: str, backbone: str, tmp_path: Path, run_here: Run
) -> None:
    few = {"max_steps": 2, "eval_steps": 2, "targets.base.max_steps": 2, "targets.base.eval_steps": 2, "max_length": 16}
    here = {"backbone": backbone, "dataset": dataset, "source_set": "eng_Latn", "encoder_hidden_size": 8}
    languages = {"targets.languages": "[kat_Geor, yor_Latn]", "evaluation.languages": "all"}
    one = {"resources.cpus_per_trial": 1, "targets.max_train_examples": "[3, null]"}
    values = {**few, **here, **languages, **one}
    settings = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    text = run_here("transfer", "table2-e5", *settings, "--seeds", "1", "--storage", str(tmp_path))
    assert "28/28" in text and "dual_70 on eng_Latn, then kat_Geor, yor_Latn (3 examples)" in text
    report = run_here("report", "table2-e5", "--storage", str(tmp_path))
    assert "Supervised on each target, beside zero-shot: test accuracy in %" in report and "mean of 2" in report
    for form in ("html", "latex", "csv", "markdown"):
        run_here("report", "table2-e5", "--format", form, "--storage", str(tmp_path))
    table = pl.read_csv(tmp_path / "table2-e5" / "report" / "transfer.csv")
    assert len(table) == 4 * 3 * 2 and table["num_seeds"].to_list() == [1] * len(table)
    assert "Supervised transfer: test accuracy" in (tmp_path / "table2-e5" / "report" / "transfer.tex").read_text()
    assert "no clear difference" in run_here("compare", "xpe", "spt", "--storage", str(tmp_path))
