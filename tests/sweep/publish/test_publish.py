"""What is published: the card says what the tables say, and the files say nothing of the machine."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from huggingface_hub import ModelCard
from rich.console import Console

from sweep.analysis import compare, language_table, main_table, read_results
from sweep.publish import HubOptions, publish
from sweep.publish.naming import check_public, on_hub, public_name, without_paths
from sweep.report.sheet import interval, p_value, percent, points
from sweep.report.wording import name_group
from sweep.storage import Folder
from tests.making.adapters import HOST, LABELS, fail_run, make_accuracy, write_experiment
from tests.making.questions import write_questions
from xpe_core.adapters import read_adapter, take_adapter, write_adapter
from xpe_core.backbones.backbone import load_backbone
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.pack import Pack

REPO = "someone/dual-prompts"


def name_settings(backbone: str, dataset: str) -> dict[str, Any]:
    values = {"backbone": backbone, "dataset": dataset, "source_set": "eng_Latn", "num_virtual_tokens": 6}
    return {**values, "encoder_hidden_size": 16, "max_length": 16, "precision": "float32"}


@pytest.fixture(scope="module")
def experiment(backbone: str, dataset: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Folder, RunConfig]:
    """Write a ten-seed grid and return it with the configuration of its DUAL arm."""
    folder = tmp_path_factory.mktemp("storage") / "table|1"
    sweep = write_experiment(folder, name_settings(backbone, dataset))
    return Folder(folder), sweep.corners[2]


def dry_run(folder: Folder, config: RunConfig, into: Path, seeds: Sequence[int] | None = None, **options: Any) -> str:
    console = Console(record=True, width=100)
    publish(
        console, folder, f"hub:{REPO}", config.config_id, seeds, HubOptions(dry_run=True, into=str(into), **options)
    )
    return console.export_text()


@pytest.fixture(scope="module")
def published(experiment: tuple[Folder, RunConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("published")
    dry_run(*experiment, into, base_model="org/encoder", datasets=("org/data",))
    return into


@pytest.fixture(scope="module")
def card(published: Path) -> str:
    return (published / "main" / "README.md").read_text(encoding="utf-8")


def table_under(card: str, heading: str) -> list[list[str]]:
    """Return the rows of the first table under a heading, unescaped."""
    lines = card.split(f"{heading}\n", 1)[1].splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("| "))
    end = next((place for place, line in enumerate(lines[start:], start) if not line.startswith("|")), len(lines))
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines[start + 2 : end]]
    return [[re.sub(r"\\(.)", r"\1", cell).strip() for cell in row] for row in rows]


def test_every_seed_has_a_revision_with_its_own_adapter_and_main_is_the_first(
    experiment: tuple[Folder, RunConfig], published: Path
) -> None:
    folder, config = experiment
    names = sorted(path.name for path in published.iterdir())
    assert names == ["main", *(f"seed-{seed:02}" for seed in range(1, 11))]
    for seed in (1, 10):
        kept = read_adapter(f"{folder}/adapters/{config.with_seed(seed).run_id}.safetensors")
        found = read_adapter(published / f"seed-{seed:02}")
        assert found.virtual_tokens().equal(kept.virtual_tokens()) and found.label_names == LABELS
        assert found.parameters["head.out.weight"].equal(kept.parameters["head.out.weight"])
    for file in (published / "seed-01").iterdir():
        assert file.read_bytes() == (published / "main" / file.name).read_bytes()
    assert len({(published / name / "README.md").read_bytes() for name in names}) == 1


def test_the_groups_figures_are_those_of_the_main_table(experiment: tuple[Folder, RunConfig], card: str) -> None:
    main = main_table(read_results([experiment[0]])).filter(arm="dual_30")
    rows = table_under(card, "## Results")
    assert [row[0] for row in rows] == list(map(name_group, main["group"]))
    for row, expected in zip(rows, main.iter_rows(named=True), strict=True):
        value = interval(expected["score"], expected["low"], expected["high"])
        assert row[1:] == [str(expected["num_languages"]), "10", value, percent(expected["spread"])]


def test_the_header_is_valid_and_holds_the_same_figures_in_the_hubs_model_index(
    experiment: tuple[Folder, RunConfig], card: str
) -> None:
    data = ModelCard(card).data
    assert (data.license, data.library_name, data.pipeline_tag) == ("apache-2.0", "peft", "text-classification")
    assert (data.base_model, data.datasets, data.language) == ("org/encoder", ["org/data"], ["eng", "multilingual"])
    assert {"dual", "xpe-sweep", "arxiv:2508.10352"} <= set(data.tags)
    assert data.metrics == ["accuracy"]
    assert {result.metric_type for result in data.eval_results} == {"accuracy"}
    main = main_table(read_results([experiment[0]])).filter(arm="dual_30")
    found = {result.dataset_config: result.metric_value for result in data.eval_results}
    assert found == {row["group"]: round(row["score"], 4) for row in main.iter_rows(named=True)}


def test_the_languages_figures_are_those_of_the_language_table(experiment: tuple[Folder, RunConfig], card: str) -> None:
    table = language_table(read_results([experiment[0]])).filter(arm="dual_30")
    rows = table_under(card, "### Languages")
    assert [row[2] for row in rows] == ["yes" if code == "eng_Latn" else "no" for code in table["language"]]
    for row, expected in zip(rows, table.iter_rows(named=True), strict=True):
        values = [make_accuracy(experiment[1].with_seed(seed), expected["language"]) for seed in range(1, 11)]
        assert row[0] == f"{expected['name']} ({expected['language']})"
        assert row[4] == interval(expected["score"], expected["low"], expected["high"])
        assert row[5] == percent(pl.Series(values).round(3).std())  # type: ignore[arg-type]
        assert row[6] == f"{percent(min(values))} to {percent(max(values))}"


def test_the_comparison_is_that_of_compare_for_each_other_method(
    experiment: tuple[Folder, RunConfig], card: str
) -> None:
    results = read_results([experiment[0]])
    rows = table_under(card, "### Compared on the same seeds")
    assert [row[0] for row in rows] == ["spt"] * len(results.groups) + ["xpe"] * len(results.groups)
    expected = pl.concat([compare(results, "dual_30", other) for other in ("spt", "xpe")])
    for row, one in zip(rows, expected.iter_rows(named=True), strict=True):
        assert row[1:4] == [
            name_group(one["group"]),
            f"10 x {one['num_languages']}",
            interval(one["difference"], one["low"], one["high"], points),
        ]
        assert row[5] == p_value(one["p"])
    assert f"corrected for all {len(rows)} rows" in card  # of one family, not of each comparison alone


def test_every_setting_is_in_the_card_and_those_that_differ_from_the_recipe_are_bold(card: str) -> None:
    rows = table_under(card, "## How it was trained")
    assert [row[0].strip("*") for row in rows] == [n for n in RunConfig().values if n not in ("seed", "imported")]
    bold = [row[0].strip("*") for row in rows if row[0].startswith("**")]
    given = ["backbone", "dataset", "max_length", "num_virtual_tokens", "encoder_hidden_size", "precision"]
    assert bold == [*given[:2], "source_set", *given[2:5], "backbone_dropout", given[5]]  # the authors had it on
    assert f"{len(bold)} settings differ" in card


def test_what_users_named_cannot_break_the_cards_tables(card: str) -> None:
    assert "experiment | table\\|1 (grid)" in card and "travel\\|\\<b\\>" in card
    assert table_under(card, "## Where it comes from")[0] == ["experiment", "table|1 (grid)"]


def test_nothing_of_the_machine_is_published(
    experiment: tuple[Folder, RunConfig], backbone: str, dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_never_to_be_seen")
    said = dry_run(*experiment, tmp_path)
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        content = file.read_bytes()
        for secret in (backbone, dataset, str(experiment[0]), HOST, "/home/someone", "hf_never_to_be_seen"):
            assert secret.encode() not in content, (file, secret)
    config = json.loads((tmp_path / "main" / "xpe_sweep.json").read_text())["config"]
    assert config["backbone"] == Path(backbone).name and config["dataset"] == Path(dataset).name
    named = " ".join(said.split())
    assert f"The backbone is a folder or file of this machine and is published as '{Path(backbone).name}'" in named


def test_a_dry_run_says_what_would_be_uploaded_and_writes_the_same_bytes_again(
    experiment: tuple[Folder, RunConfig], tmp_path: Path
) -> None:
    outputs, contents = [], []
    for _ in range(2):
        outputs.append(dry_run(*experiment, tmp_path / "out", seeds=[2, 3]))
        files = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
        contents.append({str(file.relative_to(tmp_path)): file.read_bytes() for file in files})
    assert contents[0] == contents[1]
    for name, content in contents[0].items():
        assert f"{Path(name).name}  {len(content):,} bytes" in outputs[0]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["main", "seed-02", "seed-03"]
    assert "Seed 1 is not published: not chosen." in contents[0]["out/main/README.md"].decode()


def test_a_seed_that_failed_or_was_not_kept_is_said_to_be_missing(backbone: str, dataset: str, tmp_path: Path) -> None:
    folder = tmp_path / "exp"
    sweep = write_experiment(folder, name_settings(backbone, dataset), range(1, 5), kept=lambda seed: seed > 1)
    config = sweep.corners[2]
    fail_run(folder, config, 3, 2, "Traceback\nthe loss is not finite at step 7 of /home/someone/run.py")
    dry_run(Folder(folder), config, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["main", "seed-02", "seed-04"]
    text = (tmp_path / "out" / "main" / "README.md").read_text()
    assert "Seed 1 is not published: its adapter was not kept." in text
    assert "Seed 3 is not published: failed (the loss is not finite at step 7 of run.py)." in text
    assert "> 1 of 4 runs did not come to a result" in text
    assert "`main` is seed 2" in text
    assert "With 3 seeds no difference to another method can be shown at 5 %." in text


def test_an_experiment_that_kept_nothing_is_refused(backbone: str, dataset: str, tmp_path: Path) -> None:
    sweep = write_experiment(tmp_path / "exp", name_settings(backbone, dataset), [1], kept=lambda seed: False)
    with pytest.raises(InputError, match="holds no adapter of run .* it was not kept"):
        dry_run(Folder(tmp_path / "exp"), sweep.corners[2], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("hub:someone", {}, "must be hub:USER/NAME"),
        ("hub:some one/x", {}, "Repo id must use alphanumeric"),
        ("hub:a/b/c", {}, "--to hub:a/b/c: Repo id must be"),
        ("hub:a/b", {"license": "Apache 2"}, "--license 'Apache 2': must be the hub's id"),
        ("hub:a/b", {"datasets": ("sib200",)}, "--dataset 'sib200': must be a name on the hub"),
        ("hub:a/b", {"base_model": "/models/x"}, "--base-model '/models/x': must be a name on the hub"),
        ("hub:a/b", {"dry_run": False}, "--folder .* say --dry-run, too"),
    ],
)
def test_an_option_that_means_nothing_is_refused(
    experiment: tuple[Folder, RunConfig], tmp_path: Path, target: str, options: dict[str, Any], message: str
) -> None:
    folder, config = experiment
    values: dict[str, Any] = {"dry_run": True, "into": str(tmp_path / "out"), **options}
    with pytest.raises(InputError, match=message):
        publish(Console(), folder, target, config.config_id, options=HubOptions(**values))
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_else_in_it_is_left_alone(experiment: tuple[Folder, RunConfig], tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match=r"holds something else \(thesis.tex\)"):
        dry_run(*experiment, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("name", "public", "hub"),
    [
        ("FacebookAI/xlm-roberta-large", "FacebookAI/xlm-roberta-large", "FacebookAI/xlm-roberta-large"),
        ("/home/me/models/xlmr", "xlmr", None),
        ("./mine/encoder", "encoder", None),
        ("e5-small", "e5-small", "intfloat/multilingual-e5-small"),
        ("cldr", "cldr", None),
        ("C:\\data\\mine", "mine", None),
    ],
)
def test_a_path_is_published_as_its_last_part(name: str, public: str, hub: str | None) -> None:
    assert (public_name(name), on_hub(name)) == (public, hub)


def test_paths_are_found_in_text_and_urls_are_none() -> None:
    text = "cannot read /mnt/data/mine.tsv, see https://example.org/a/b or SPT/XPE/DUAL"
    assert without_paths(text) == "cannot read mine.tsv, see https://example.org/a/b or SPT/XPE/DUAL"
    check_public(b"https://example.org/a/b and/or hub:a/b", "file", ["gpu-node-17"])
    with pytest.raises(InputError, match="holds a path of this machine"):
        check_public(b"in /home/me/data", "file", [])
    with pytest.raises(InputError, match="names this machine") as refused:
        check_public(b"host gpu-node-17.", "file", ["gpu-node-17"])
    assert "gpu-node-17" not in str(refused.value)


def test_a_fully_fine_tuned_run_is_published_as_a_model_of_transformers(
    backbone: str, dataset: str, tmp_path: Path
) -> None:
    values = {"backbone": backbone, "dataset": dataset, "source_set": "eng_Latn", "max_length": 16}
    arms = {"full": {"tuning": "full"}}
    folder = tmp_path / "some"
    sweep = write_experiment(folder, values, [1], lambda config, code: 0.5, kept=lambda seed: False, arms=arms)
    run = sweep.corners[0].with_seed(1)
    adapter = take_adapter(Pack(load_backbone(backbone), [run], len(LABELS)), 0, LABELS, {"run_id": run.run_id})
    write_adapter(adapter, folder / "adapters" / f"{run.run_id}.safetensors")
    dry_run(Folder(folder), run, tmp_path / "out", base_model="org/encoder")
    card = (tmp_path / "out/main/README.md").read_text(encoding="utf-8")
    assert ModelCard(card).data.library_name == "transformers"
    assert "AutoModelForSequenceClassification.from_pretrained(folder)" in card and "peft" not in card.lower()
    assert backbone not in (tmp_path / "out/main/config.json").read_text(encoding="utf-8")
    assert read_adapter(tmp_path / "out/main").parameters.keys() == adapter.parameters.keys()


def test_an_adapter_that_answers_questions_is_published_with_lines_that_do_so(backbone: str, tmp_path: Path) -> None:
    values: dict[str, Any] = {"task": "qa", "readout": "span", "backbone": backbone}
    values["dataset"] = write_questions(tmp_path / "data")
    values |= {"source_set": "eng_Latn", "max_length": 16, "doc_stride": 4, "columns": "split=50/17/33"}
    folder = tmp_path / "some"
    arms = {"lora": {"tuning": "lora", "rank": 2}}
    sweep = write_experiment(folder, values, [1], lambda config, code: 0.4, kept=lambda seed: False, arms=arms)
    run = sweep.corners[0].with_seed(1)
    adapter = take_adapter(Pack(load_backbone(backbone), [run], 0), 0, (), {"run_id": run.run_id})
    write_adapter(adapter, folder / "adapters" / f"{run.run_id}.safetensors")
    dry_run(Folder(folder), run, tmp_path / "out", base_model="org/encoder")
    card = (tmp_path / "out/main/README.md").read_text(encoding="utf-8")
    assert ModelCard(card).data.pipeline_tag == "question-answering"
    assert "AutoModelForQuestionAnswering.from_pretrained(base)" in card and "load_answerer(" in card
    assert "classif" not in card.lower() and "classes" not in card
    assert "windows of 16 tokens with its question, which share 4" in card and "is below 50.0 %" in card
    assert read_adapter(tmp_path / "out/main").parameters.keys() == adapter.parameters.keys()
