"""Adapters tested as the runs of an experiment: the same counts as where they were trained, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from sweep.analysis import find_best, main_table, read_evaluations, read_results, read_runs
from sweep.experiment.evaluated import name_evaluation, read_evaluation_values
from sweep.planning.evaluation import build_evaluation, find_adapters, order_classes
from sweep.records.experiment_folder import ExperimentFolder
from sweep.run import app
from sweep.storage import Folder
from tests.making.runs import compute_outputs
from tests.xpe_core.adapters.test_adapters import make_adapter
from xpe_core.adapters import Adapter, build_classifier, read_adapter, write_adapter
from xpe_core.backbones.backbone import load_backbone
from xpe_core.config import RunConfig
from xpe_core.data.tokens import load_tokens
from xpe_core.errors import InputError

KNOWN = ("backbone", "dataset", "num_virtual_tokens", "encoder_ratio", "encoder_hidden_size", "precision", "pooling")


def evaluate(storage: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, ["evaluate", *arguments, "--storage", str(storage)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def evaluated(undisturbed: Folder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Evaluate two arms: all seeds of a search's best, and one adapter that says little of itself."""
    storage = tmp_path_factory.mktemp("evaluated")
    best = find_best(read_runs(undisturbed))
    assert best is not None
    arguments = ["--all-seeds", "--format", "own", "--to", str(storage / "mine"), "--storage", str(undisturbed.parent)]
    assert CliRunner().invoke(app, ["export", "mine", *arguments]).exit_code == 0
    own = read_adapter(storage / "mine" / "seed-01")
    known = RunConfig(**{name: value for name, value in own.config.known.items() if name in KNOWN}, imported="0" * 16)
    labels = dict(zip(sorted(own.label_names), sorted(own.label_names, reverse=True), strict=True))
    foreign = replace(own, config=known, label_names=tuple(labels[name] for name in own.label_names), facts={})
    (storage / "theirs").mkdir()
    write_adapter(foreign, storage / "theirs" / "seed-07.safetensors")
    sources = [str(storage / "mine"), str(storage / "theirs" / "seed-07.safetensors")]
    options = ["--languages", "kat_Geor,yor_Latn,eng_Latn", "--max-examples", "10", "--set", "max_length=16"]
    output = evaluate(storage, *sources, *options, "--name", "both")
    assert "3 adapters to be tested, nothing is trained" in output and "mine: " in output
    return storage


def test_evaluated_adapters_have_the_counts_of_the_runs_that_trained_them(evaluated: Path, undisturbed: Folder) -> None:
    runs = read_runs(evaluated / "both")
    assert runs["state"].to_list() == ["complete"] * 3
    counts = read_evaluations(evaluated / "both").join(runs.select("run_id", "arm", "seed"), on="run_id")
    best = find_best(read_runs(undisturbed))
    assert best is not None
    trained = read_runs(undisturbed).filter(pl.col("config_id") == best.config_id)
    expected = read_evaluations(undisturbed).join(trained.select("run_id", "seed"), on="run_id")
    columns = ["seed", "language", "num_examples", "score_sum"]
    order = ["seed", "language"]
    found = counts.filter(pl.col("arm") == "mine").select(columns).sort(order)
    assert found.equals(expected.filter(pl.col("split") == "test").select(columns).sort(order))


def test_an_evaluated_run_says_where_its_adapter_lies_and_only_what_is_known_of_it(
    evaluated: Path, undisturbed: Folder
) -> None:
    runs = read_runs(evaluated / "both")
    foreign, own = (runs.filter(pl.col("arm") == arm).row(0, named=True) for arm in ("theirs", "mine"))
    assert foreign["seed"] == 7 and foreign["adapter"].endswith("theirs/seed-07.safetensors")
    assert foreign["adapter_fingerprint"] == read_adapter(evaluated / "theirs").fingerprint
    assert foreign["source_set"] == "unknown" and foreign["learning_rate"] is None and foreign["max_steps"] is None
    assert (own["seed"], own["learning_rate"], own["source_set"]) == (1, 5e-3, "eng_Latn,deu_Latn")
    best = find_best(read_runs(undisturbed))
    assert best is not None
    trained = read_runs(undisturbed).filter((pl.col("config_id") == best.config_id) & (pl.col("seed") == 1))
    assert own["validation_accuracy"] == trained["validation_accuracy"][0] and own["run_id"] != trained["run_id"][0]


SOURCES = ("mine", "theirs/seed-07.safetensors")
OPTIONS = ("--languages", "kat_Geor,yor_Latn,eng_Latn", "--max-examples", "10", "--set", "max_length=16")


def test_the_same_command_again_tests_nothing_twice_and_another_adapter_in_its_place_is_refused(
    evaluated: Path, tmp_path: Path
) -> None:
    sources = [str(evaluated / source) for source in SOURCES]
    ledger = (evaluated / "both" / "ledger.jsonl").read_bytes()
    evaluate(evaluated, *sources, *OPTIONS, "--name", "both")
    assert (evaluated / "both" / "ledger.jsonl").read_bytes() == ledger
    file = evaluated / "theirs" / "seed-07.safetensors"
    content, other = file.read_bytes(), read_adapter(evaluated / "mine" / "seed-02")
    write_adapter(replace(read_adapter(file), parameters=other.parameters, facts={}), file)
    try:
        with pytest.raises(InputError, match="holds another experiment: adapters.theirs.7 was"):
            evaluate(evaluated, *sources, *OPTIONS, "--name", "both")
    finally:
        file.write_bytes(content)


def test_an_evaluation_grows_by_arms_and_seeds(base: dict[str, Any], tmp_path: Path) -> None:
    for seed in (1, 2):
        write(tmp_path / "a" / f"seed-0{seed}.safetensors", make_adapter(base, seed=seed))
    write(tmp_path / "b.safetensors", make_adapter(base, encoder_ratio=1.0))
    grown = [["a/seed-02"], ["a/seed-01", "a/seed-02"], ["a/seed-01", "a/seed-02", "b"]]
    for sources in grown:
        files = [str(tmp_path / f"{source}.safetensors") for source in sources]
        sweep = build_evaluation(find_adapters(files, None), "all", None, {})
        ExperimentFolder(tmp_path / "grown", sweep, {}).close()
    with pytest.raises(InputError, match="holds another experiment: adapters.b.1 was"):
        ExperimentFolder(tmp_path / "grown", build_evaluation(find_adapters(files[:2], None), "all", None, {}), {})


def test_evaluated_adapters_stand_in_a_report(evaluated: Path) -> None:
    results = read_results([Folder(evaluated / "both")])
    table = main_table(results)
    assert set(table["arm"]) == {"mine", "theirs"}
    assert dict(table.select("arm", "num_seeds").unique().iter_rows()) == {"mine": 2, "theirs": 1}
    shown = CliRunner().invoke(app, ["report", "both", "--all", "--storage", str(evaluated)], env={"COLUMNS": "160"})
    if shown.exception:
        raise shown.exception
    output = shown.output
    assert "theirs" in output and "unknown" in output and "not known" in output


def test_classes_are_brought_into_the_data_sets_order(base: dict[str, Any]) -> None:
    data = load_tokens(base["dataset"], base["backbone"], base["max_length"])
    adapter = replace(make_adapter(base), label_names=("travel", "health", "sports"))
    ordered = order_classes(adapter, data)
    assert ordered.label_names == data.label_names != adapter.label_names
    backbone = load_backbone(base["backbone"])
    token_ids = data.pad(data.select(["eng_Latn"], "test"))[None]
    lengths = data.lengths[data.select(["eng_Latn"], "test")]

    def classify(one: Adapter) -> Any:
        model = build_classifier(backbone, [one])
        return compute_outputs(model, token_ids, lengths)[0]

    places = [adapter.label_names.index(name) for name in ordered.label_names]
    assert (classify(adapter)[:, places] - classify(ordered)).abs().max() < 1e-6


def test_an_adapter_without_one_of_the_classes_is_refused_with_the_way_out(base: dict[str, Any]) -> None:
    data = load_tokens(base["dataset"], base["backbone"], base["max_length"])
    unnamed = replace(make_adapter(base), label_names=("LABEL_0", "LABEL_1", "LABEL_2"))
    with pytest.raises(InputError, match="has no class .* say --classes sports,travel,health .* or --classes dataset"):
        order_classes(unnamed, data)


def write(folder: Path, adapter: Adapter) -> str:
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_adapter(adapter, folder)
    return str(folder)


def arms_of(*sources: Path) -> list[tuple[str, int]]:
    return sorted((one.arm, one.seed) for one in find_adapters([str(source) for source in sources], None))


def test_seeds_beside_one_another_are_one_arm_and_so_are_an_experiments_runs(
    base: dict[str, Any], tmp_path: Path
) -> None:
    made = [make_adapter(base, seed=1), make_adapter(base, seed=2), make_adapter(base, encoder_ratio=1.0)]
    for place, one in enumerate(made):
        write(tmp_path / "runs" / f"r{place}.safetensors", replace(one, facts={"run_id": f"r{place}"}))
    assert arms_of(tmp_path / "runs") == [("dual", 1), ("dual", 2), ("xpe", 1)]
    for place, one in enumerate(made[:2], start=1):
        write(tmp_path / "dual-0.3" / f"seed-0{place}.safetensors", one)
    assert arms_of(tmp_path / "dual-0.3") == [("dual-0.3", 1), ("dual-0.3", 2)]
    sweep = build_evaluation(find_adapters([str(tmp_path / "runs")], None), "all", None, {})
    assert sweep.kind == "evaluate" and sweep.num_runs == 3 and sweep.seeds_of("xpe") == (1,)
    assert sweep.adapters["dual"] == {1: made[0].fingerprint, 2: made[1].fingerprint}


def test_adapters_that_have_only_their_name_in_common_are_arms_by_themselves(
    base: dict[str, Any], tmp_path: Path
) -> None:
    made = [make_adapter(base, seed=seed) for seed in (1, 2)]
    for place, one in zip("ab", made, strict=True):
        write(tmp_path / place / "model.safetensors", one)
    (first, _), (second, _) = arms_of(tmp_path / "a" / "model.safetensors", tmp_path / "b" / "model.safetensors")
    assert first != second and first.startswith("model-") and second.startswith("model-")


def test_an_adapter_given_twice_and_two_of_one_seed_are_refused(base: dict[str, Any], tmp_path: Path) -> None:
    one, other = make_adapter(base), replace(make_adapter(base, seed=2), config=make_adapter(base).config)
    write(tmp_path / "x" / "seed-01.safetensors", one)
    write(tmp_path / "y.safetensors", one)
    with pytest.raises(InputError, match="seed-01.safetensors and .*y.safetensors are the same adapter: give one"):
        arms_of(tmp_path / "x" / "seed-01.safetensors", tmp_path / "y.safetensors")
    write(tmp_path / "x" / "seed-02.safetensors", other)
    with pytest.raises(InputError, match="are both seed 1 of x: give one of them"):
        arms_of(tmp_path / "x")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["NOWHERE"], "there is no such file or folder"),
        (
            ["MINE", "--set", "learning_rate=1"],
            "nothing is trained, so allowed are backbone, dataset, source_set, max_length",
        ),
        (["MINE", "--languages", "nowhere"], "nowhere"),
        (["MINE", "--dataset", "cldr"], "the adapter has no class"),
        (["MINE", "--backbone", "BERT"], "backbone"),
        (["MINE", "--source-set", "kat_Geor"], "its source_set is eng_Latn,deu_Latn, and cannot be made kat_Geor"),
        (["MINE", "--set", "pooling=first"], "its pooling is mean, and cannot be made first"),
        (["MINE", "--classes", "a,,b"], "--classes a,,b: there is an empty name between two commas"),
        (["MINE", "--classes", "a,b,c"], "--classes cannot make them a, b, c"),
    ],
)
def test_what_cannot_be_tested_is_one_sentence(evaluated: Path, bert: str, arguments: list[str], message: str) -> None:
    places = {"MINE": str(evaluated / "mine"), "BERT": bert}
    with pytest.raises(InputError, match=message) as caught:
        evaluate(evaluated, *[places.get(argument, argument) for argument in arguments], "--name", "refused")
    assert "\n" not in str(caught.value)
    assert not (evaluated / "refused" / "experiment.yaml").exists()


def test_an_evaluation_is_named_after_its_first_adapter() -> None:
    assert name_evaluation("hub:someone/xpe-large@seed-03") == "xpe-large-evaluation"
    assert name_evaluation("/x/dual/seed-02") == "dual-evaluation"
    assert name_evaluation("results/table1/adapters") == "table1-evaluation"
    assert read_evaluation_values(["precision=float32"], dataset=None, backbone="e5-small") == {
        "backbone": "e5-small",
        "precision": "float32",
    }


def test_what_only_trained_runs_have_is_not_made_up_for_an_evaluation(evaluated: Path, tmp_path: Path) -> None:
    run_id = read_runs(evaluated / "both")["run_id"][0]
    for command in (["best", "both"], ["replicate", "both"], ["export", "both", "--to", str(tmp_path / "x")]):
        result = CliRunner().invoke(app, [*command, "--storage", str(evaluated)])
        assert isinstance(result.exception, InputError)
        assert "is an evaluation, which tests adapters and trains none" in str(result.exception)
    status = CliRunner().invoke(app, ["status", "both", "--storage", str(evaluated)]).output
    assert "0.0" not in status.split("2 complete")[0] and "2 complete" in status
    shown = CliRunner().invoke(app, ["show", f"both:{run_id}", "--storage", str(evaluated)]).output
    assert run_id in shown and "not known" not in shown
