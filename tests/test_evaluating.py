"""Adapters tested as the runs of an experiment: the same counts as where they were trained, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from sweep.analysis import find_best, main_table, read_evaluations, read_results, read_runs
from sweep.evaluating import build_evaluation, find_adapters, order_classes
from sweep.experiments import name_evaluation, read_evaluation_values
from sweep.run import app
from sweep.storage import Folder
from tests.test_adapters import make_adapter
from xpe_core.adapters import Adapter, build_classifier, read_adapter, write_adapter
from xpe_core.backbones import load_backbone
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.tokens import load_tokens

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
    assert "3 adapters are tested, nothing is trained" in output and "mine: " in output
    return storage


def test_evaluated_adapters_have_the_counts_of_the_runs_that_trained_them(evaluated: Path, undisturbed: Folder) -> None:
    runs = read_runs(evaluated / "both")
    assert runs["state"].to_list() == ["complete"] * 3
    counts = read_evaluations(evaluated / "both").join(runs.select("run_id", "arm", "seed"), on="run_id")
    best = find_best(read_runs(undisturbed))
    assert best is not None
    trained = read_runs(undisturbed).filter(pl.col("config_id") == best.config_id)
    expected = read_evaluations(undisturbed).join(trained.select("run_id", "seed"), on="run_id")
    columns = ["seed", "language", "num_examples", "num_correct"]
    order = ["seed", "language"]
    found = counts.filter(pl.col("arm") == "mine").select(columns).sort(order)
    assert found.equals(expected.filter(pl.col("split") == "test").select(columns).sort(order))


def test_an_evaluated_run_says_where_its_adapter_lies_and_only_what_is_known_of_it(
    evaluated: Path, undisturbed: Folder
) -> None:
    runs = read_runs(evaluated / "both")
    foreign, own = (runs.filter(pl.col("arm") == arm).row(0, named=True) for arm in ("theirs", "mine"))
    assert foreign["seed"] == 7 and foreign["adapter"].endswith("theirs/seed-07.safetensors")
    assert foreign["adapter_fingerprint"] == read_adapter(evaluated / "theirs").fingerprint == foreign["imported"]
    assert foreign["source_set"] == "unknown" and foreign["learning_rate"] is None and foreign["max_steps"] is None
    assert (own["seed"], own["learning_rate"], own["source_set"]) == (1, 5e-3, "eng_Latn,deu_Latn")
    best = find_best(read_runs(undisturbed))
    assert best is not None
    trained = read_runs(undisturbed).filter((pl.col("config_id") == best.config_id) & (pl.col("seed") == 1))
    assert own["validation_accuracy"] == trained["validation_accuracy"][0] and own["run_id"] != trained["run_id"][0]


def test_the_same_command_again_tests_nothing_twice_and_another_adapter_is_refused(evaluated: Path) -> None:
    ledger = (evaluated / "both" / "ledger.jsonl").read_bytes()
    sources = [str(evaluated / "mine"), str(evaluated / "theirs" / "seed-07.safetensors")]
    options = ["--languages", "kat_Geor,yor_Latn,eng_Latn", "--max-examples", "10", "--set", "max_length=16"]
    evaluate(evaluated, *sources, *options, "--name", "both")
    assert (evaluated / "both" / "ledger.jsonl").read_bytes() == ledger
    with pytest.raises(InputError, match="holds another experiment"):
        evaluate(evaluated, sources[0], *options, "--name", "both")


def test_evaluated_adapters_stand_in_a_report(evaluated: Path) -> None:
    results = read_results([Folder(evaluated / "both")])
    table = main_table(results)
    assert set(table["arm"]) == {"mine", "theirs"}
    assert dict(table.select("arm", "num_seeds").unique().iter_rows()) == {"mine": 2, "theirs": 1}
    shown = CliRunner().invoke(app, ["report", "both", "--storage", str(evaluated)], env={"COLUMNS": "160"})
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
        return model.classify(model.parameters, model.embed_prompts(model.parameters), token_ids, lengths)[0]

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


def test_adapters_that_differ_only_in_their_seed_are_one_arm(base: dict[str, Any], tmp_path: Path) -> None:
    first, second = (make_adapter(base, seed=seed) for seed in (1, 2))
    other = make_adapter(base, encoder_ratio=1.0)
    sources = [write(tmp_path / "a" / f"{one.fingerprint}.safetensors", one) for one in (first, second, other)]
    write(tmp_path / "b" / "seed-01.safetensors", replace(first, facts={"run_id": "seed-01"}))
    found = find_adapters([str(tmp_path / "a")], None)
    assert len({one.arm for one in found}) == 3 and len(found) == len(sources) == 3
    for place, one in enumerate((first, second, other)):
        write(tmp_path / "c" / f"r{place}.safetensors", replace(one, facts={"run_id": f"r{place}"}))
    found = find_adapters([str(tmp_path / "c")], None)
    assert sorted((one.arm, one.seed) for one in found) == [("dual", 1), ("dual", 2), ("xpe", 1)]
    sweep = build_evaluation(found, "all", None, {})
    assert sweep.adapters == {"dual": {1: first.fingerprint, 2: second.fingerprint}, "xpe": {1: other.fingerprint}}
    assert sweep.num_runs == 3 and sweep.seeds_of("xpe") == (1,)
    with pytest.raises(InputError, match="are both seed 1 of dual: give one of them"):
        find_adapters([str(tmp_path / "c"), str(tmp_path / "c" / "r0.safetensors")], None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["NOWHERE"], "there is no such file or folder"),
        (["MINE", "--set", "learning_rate=1"], "nothing is trained, so allowed are max_length, precision, pooling"),
        (["MINE", "--languages", "nowhere"], "nowhere"),
        (["MINE", "--dataset", "cldr"], "the adapter has no class"),
        (["MINE", "--backbone", "BERT"], "backbone"),
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
