"""The report as people get it: at 100 columns, and as files."""

import io
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from sweep.analysis import main_table, read_results
from sweep.report import commands
from sweep.report.latex import LETTERS, escape, to_latex
from sweep.report.sheet import Sheet
from sweep.run import app
from sweep.storage import Folder
from tests.making.experiments import load_search, make_rows, put, write_grid, write_replication, write_search
from tests.sweep.analysis.test_per_language import SEARCH, TRIALS, flat
from tests.sweep.analysis.test_tables import ARMS, SETS, accuracy
from xpe_core.config import RunConfig
from xpe_core.errors import InputError

NASTY = "<b>_|[red]&%"


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    arms = {**ARMS, NASTY: {"encoder_ratio": 0.7}}
    write_grid(tmp_path / "made", arms, accuracy, unfinished=["dual"], **SETS)
    return tmp_path


def report(storage: Path, *names: str, form: str = "terminal", to: Path | None = None, **options: object) -> str:
    console = Console(file=io.StringIO(), width=100)
    values: dict[str, object] = {"baseline": None, "exclude": "joshi5", "every_language": False, "watched": False}
    values |= {"everything": form == "terminal", **options}
    commands.report(console, str(storage), names, form=form, to=None if to is None else str(to), **values)  # type: ignore[arg-type]
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_terminal_shows_the_numbers_of_the_tables_within_100_columns(storage: Path) -> None:
    text = report(storage, "made")
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    row = (
        main_table(read_results([Folder(storage / "made")]))
        .filter(arm="xpe", group="low_performing")
        .row(0, named=True)
    )
    assert f"{100 * row['score']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]" in text
    assert "6 x 2" in text and "0 x 2, 6 unfinished" in text
    assert "made dual on joshi5, enarzho: 6 of 6 runs unfinished: in no mean" in text
    assert "none of 16 differences survives Holm's correction. It takes 10 seeds" in " ".join(text.split())
    assert NASTY in text
    assert "Not comparable" not in text


def test_with_fewer_than_six_seeds_it_says_that_nothing_can_be_claimed(tmp_path: Path) -> None:
    write_grid(tmp_path / "few", ARMS, accuracy, seeds=range(1, 6))
    text = " ".join(report(tmp_path, "few").split())
    assert "With 5 seeds no claim at 5 % is possible: p is at least 0.062; it takes 6 seeds." in text


def test_every_form_has_every_table(storage: Path, tmp_path: Path) -> None:
    names = {}
    for form, suffix in (("markdown", "md"), ("csv", "csv"), ("latex", "tex")):
        report(storage, "made", form=form, to=tmp_path / form)
        names[form] = {file.stem for file in (tmp_path / form).iterdir()}
        assert {file.suffix for file in (tmp_path / form).iterdir()} == {f".{suffix}"}
    assert (
        names["markdown"] == names["csv"] == names["latex"] >= {"main", "differences", "languages", "families", "cost"}
    )


def test_csv_holds_the_data_frame_and_goes_into_the_experiments_folder(storage: Path) -> None:
    report(storage, "made", form="csv")
    found = pl.read_csv(storage / "made" / "report" / "main.csv")
    expected = main_table(read_results([Folder(storage / "made")]))
    assert found["accuracy"].to_list() == expected["score"].to_list()
    assert found.columns == [*expected.rename({"score": "accuracy"}).columns, "experiment", "method", "seeds"]


def test_names_are_text_in_every_form(storage: Path, tmp_path: Path) -> None:
    for form in ("markdown", "latex"):
        report(storage, "made", form=form, to=tmp_path / form)
    markdown = (tmp_path / "markdown" / "main.md").read_text()
    header = markdown.splitlines()[2]
    assert r"\<b\>\_\|\[red\]&%" in header
    assert len(re.findall(r"(?<!\\)\|", header)) == 6  # five columns
    latex = (tmp_path / "latex" / "main.tex").read_text()
    assert r"\textless{}b\textgreater{}\_\allowbreak{}|[red]\&\%" in latex
    rows = [line for line in latex.splitlines() if re.search(r" \\\\(\*?\[.*\])?$", line)]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {4}
    assert latex.count(r"\toprule") == latex.count(r"\bottomrule") == 1


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex here")
def test_pdflatex_sets_every_table_within_the_text_and_over_as_many_pages_as_it_takes(tmp_path: Path) -> None:
    arms = {**ARMS, NASTY: {"encoder_ratio": 0.7}, "*": {"encoder_ratio": 0.2}, "[x] 多 ǆ ŋ": {"encoder_ratio": 0.3}}
    write_grid(tmp_path / "made", arms, accuracy, unfinished=["dual"], **SETS)
    paper = tmp_path / "paper"
    report(tmp_path, "made", form="latex", to=paper)
    rows = (("xpe",), *[("kbp_Latn Kabiyè, spoken by many ʼ", "Atlantic-Congo", "51.0 [46.2, 56.7]")] * 200)
    long = Sheet("long", "By language", ("language", "family", "accuracy [95 %]"), rows, pl.DataFrame(), left=2)
    (paper / "long.tex").write_text(to_latex(long))
    names = sorted(file.stem for file in paper.glob("*.tex"))
    texts = {name: (paper / f"{name}.tex").read_text() for name in names}
    assert r"\begin{longtable}" in texts["long"] and r"\begin{table}" in texts["cost"]
    labels = re.findall(r"\\label\{(.*?)\}", "".join(texts.values()))
    assert len(set(labels)) == len(labels) >= len(names)
    assert {"tab:differences", "tab:differences-2", "tab:families-1", "tab:families-2"} <= set(labels)
    packages = {line.removeprefix("% ") for text in texts.values() for line in text.splitlines() if line[:2] == "% "}
    letters = escape(" ".join(sorted(LETTERS)) + " N’ko – ʼ × − “a” --for `x` \u0301")
    inputs = "\n".join(rf"\input{{{name}}}" for name in names)
    document = "\n".join([r"\documentclass[a4paper]{article}", *packages, r"\begin{document}", letters, "", inputs])
    (paper / "all.tex").write_text(document + "\n" + r"\end{document}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all"]
    for _ in range(2):  # a long table's columns are as wide as the run before found them
        ran = subprocess.run(command, cwd=paper, capture_output=True, text=True, errors="replace")
        assert ran.returncode == 0, ran.stdout[-2000:]
    for wrong in ("Overfull", "Float too large", "multiply defined", "undefined"):
        assert wrong not in (paper / "all.log").read_text(errors="replace"), ran.stdout[-4000:]


def test_a_search_has_rungs_importance_and_its_replications_beside_it(tmp_path: Path) -> None:
    write_search(tmp_path / "found", SEARCH, TRIALS, flat)
    write_replication(tmp_path / "fresh", SEARCH.config(TRIALS[-1][0]), flat, range(3, 9), "found")
    for name in ("found", "fresh"):
        text = report(tmp_path, name)
        assert "The winner's curse: promised and held" in text
        assert "90.0 (2)" in text and "50.0 [50.0, 50.0] (6)" in text
    text = report(tmp_path, "found")
    assert "What mattered" in text and "Learning curves at ASHA's rungs" in text and "Pareto front" in text


def test_what_a_search_chose_is_not_the_answer_until_fresh_seeds_say_so(tmp_path: Path) -> None:
    trials = [({"encoder_ratio": 0.0, "batch_size": 8}, "complete", 0.5, 90), *TRIALS]
    write_search(tmp_path / "found", SEARCH, trials, flat)
    alone = " ".join(report(tmp_path, "found").split())
    assert "not run on fresh seeds: it was chosen by these very seeds" in alone
    assert "dual is the best of 6, chosen by these seeds" in alone
    assert alone.index("spt dual") > 0  # SPT's column first, though DUAL was ranked before it
    write_replication(tmp_path / "fresh", SEARCH.config(TRIALS[-1][0]), flat, range(3, 9), "found")
    both = " ".join(report(tmp_path, "found", "fresh").split())
    assert "low_performing best " in both and "not run on fresh seeds" not in both


def test_long_names_are_folded_or_put_below_and_no_number_is_cut(tmp_path: Path) -> None:
    long = "a_name_that_no_one_should_give_to_an_arm_of_theirs"
    arms = {**ARMS, long: {"encoder_ratio": 0.7}}
    sources = ["eng_Latn,kat_Geor,tam_Taml,yor_Latn,nqo_Nkoo", "joshi5"]
    write_grid(tmp_path / "made", arms, accuracy, source_sets=sources)
    text = report(tmp_path, "made")
    assert max(map(len, text.splitlines())) <= 100
    results = read_results([Folder(tmp_path / "made")])
    for row in main_table(results).iter_rows(named=True):
        assert f"{100 * row['score']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]" in text
    assert long in "".join(text.split())


def test_what_was_run_is_said_at_the_top_and_what_distinguishes_the_arms_at_the_end(storage: Path) -> None:
    text = report(storage, "made")
    assert text.startswith("made: backbone FacebookAI/xlm-roberta-large, dataset Davlan/sib200; 6 seeds; 5 languages")
    setup = text[text.index("What was run") :]
    assert re.search(r"xpe +all +1 *\n", setup) and re.search(r"dual +all +0\.5 *\n", setup)
    assert "max_steps=24000" in setup
    assert "low_performing (2 languages): below 60 % when all of XLM-R large is trained." in text


def test_what_was_left_as_it_is_stands_as_default_in_what_was_run(tmp_path: Path) -> None:
    write_grid(tmp_path / "made", {**ARMS, "narrow": {"encoder_ratio": 1.0, "encoder_input_size": 64}}, flat)
    setup = report(tmp_path, "made").partition("What was run")[2]
    assert re.search(r"narrow +\S+ +1 +64 *\n", setup) and re.search(r"xpe +\S+ +1 +default *\n", setup)
    assert "None" not in setup


def test_a_search_whose_trials_were_all_stopped_so_far_has_a_report(tmp_path: Path) -> None:
    write_search(tmp_path / "found", SEARCH, TRIALS[1:2], flat)
    text = report(tmp_path, "found")
    assert "no configuration has come to its end yet" in text and "Learning curves at ASHA's rungs" in text
    report(tmp_path, "found", form="html")
    assert "How did it learn?" in (tmp_path / "found" / "report" / "report.html").read_text(encoding="utf-8")


def test_the_answers_file_has_the_verdicts(storage: Path) -> None:
    report(storage, "made", form="csv")
    found = pl.read_csv(storage / "made" / "report" / "answer.csv")
    row = found.filter(source_set="joshi5", group="low_performing").row(0, named=True)
    assert (row["arm"], row["verdict"]) == ("xpe", "not shown")  # six seeds, 16 comparisons
    assert row["difference"] == pytest.approx(0.135)


def test_what_is_really_higher_is_said_and_what_is_lower_on_the_common_seeds_is_not(tmp_path: Path) -> None:
    def made(run: RunConfig, code: str) -> float:
        # SPT collapses in the seeds in which XPE fails; in those that both have, it is five points better
        return (0.1 if run.seed > 10 else 0.55) if run.method == "spt" else 0.5

    arms = {name: ARMS[name] for name in ("spt", "xpe")}
    sweep = write_grid(tmp_path / "made", arms, made, seeds=range(1, 21))
    put(tmp_path / "made", *make_rows(sweep.corners[1], 1, range(11, 21), made, (), arm="xpe", state="failed"))
    report(tmp_path, "made", form="csv")
    answer = pl.read_csv(tmp_path / "made" / "report" / "answer.csv")
    differences = pl.read_csv(tmp_path / "made" / "report" / "differences.csv")
    assert (differences["p_holm"] < 0.05).all() and (differences["difference"] < 0).all()
    assert set(zip(answer["arm"], answer["verdict"], strict=True)) == {("xpe", "not shown")}

    write_grid(tmp_path / "better", arms, lambda run, code: 0.5 + 0.1 * (run.method == "xpe"), seeds=range(1, 11))
    report(tmp_path, "better", form="csv")
    answer = pl.read_csv(tmp_path / "better" / "report" / "answer.csv")
    assert set(zip(answer["arm"], answer["verdict"], strict=True)) == {("xpe", "yes")}


def test_one_arm_alone_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    write_grid(tmp_path / "one", {"spt": {"encoder_ratio": 0.0}}, accuracy)
    text = report(tmp_path, "one")
    assert "The answer" not in text and "No differences" not in text
    write_grid(tmp_path / "two", {name: ARMS[name] for name in ("xpe", "dual")}, accuracy)
    text = report(tmp_path, "two")
    assert "There is no arm spt to compare with; --baseline ARM names another." in text


def test_a_table_marks_the_highest_of_a_row_in_markdown_and_latex(storage: Path, tmp_path: Path) -> None:
    for form in ("markdown", "latex"):
        report(storage, "made", form=form, to=tmp_path / form)
    rows = [line for line in (tmp_path / "markdown" / "main.md").read_text().splitlines() if line[:5] == "| low"]
    assert all(re.search(r"\*\*42\.0\*\* ", row) for row in rows) and len(rows) == 2
    assert (tmp_path / "latex" / "main.tex").read_text().count(
        r"\textbf{42.0 }"
    ) == 4  # unseen are the same two languages


def test_the_best_is_an_experiment_file_with_the_command_that_replicates_it(tmp_path: Path) -> None:
    write_search(tmp_path / "found", SEARCH, TRIALS, flat)
    ran = CliRunner().invoke(app, ["best", "found", "--for", "low_performing", "--storage", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    assert f"python sweep/run.py best found --for low_performing --storage {tmp_path} > " in ran.output
    assert "python sweep/run.py replicate found-best-low_performing.yaml" in ran.output
    file = tmp_path / "mine.yaml"
    file.write_text(ran.output)
    _, sweep = load_search(str(file))
    assert sweep.config() == SEARCH.config(TRIALS[-1][0])
    assert yaml.safe_load(ran.output)["seeds"] == [1, 2]


def test_two_arms_are_compared_on_the_command_line(storage: Path) -> None:
    ran = CliRunner().invoke(app, ["compare", "xpe", "made:spt", "--storage", str(storage)])
    assert ran.exit_code == 0, ran.output
    assert "+13.5 [" in ran.output and "xpe - made:spt" in ran.output
    assert "corrected for all 8 rows" in " ".join(ran.output.split())
    planned = CliRunner().invoke(app, ["compare", "xpe", "spt", "--for", "unseen", "--storage", str(storage)])
    assert "corrected for all 2 rows" in " ".join(planned.output.split())


def test_mistakes_are_one_sentence(storage: Path) -> None:
    for arguments, message in (
        ({"form": "word"}, "--format word: must be one of terminal, html, markdown, csv, latex"),
        ({"baseline": "peft"}, "--baseline peft: must be one of the arms spt, xpe"),
    ):
        with pytest.raises(InputError, match=message):
            report(storage, "made", **arguments)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="holds no experiment 'mdae'"):
        report(storage, "mdae")


def test_a_damaged_experiment_that_nobody_asked_for_is_a_problem_and_no_end(tmp_path: Path) -> None:
    write_search(tmp_path / "found", SEARCH, TRIALS, flat)
    for name in ("fresh", "broken", "lost"):
        write_replication(tmp_path / name, SEARCH.config(TRIALS[-1][0]), flat, range(3, 9), "found")
    part = tmp_path / "broken" / "evaluations" / "part-0000.parquet"
    part.write_bytes(part.read_bytes()[:-20])
    (tmp_path / "lost" / "experiment.yaml").write_text("kind: replicate\nof: [")
    text = " ".join(report(tmp_path, "found").split())
    assert "The winner's curse: promised and held" in text  # that of the one that is whole
    assert text.count("found: without its half of the winner's curse, which cannot be read: ") == 2
    assert "broken/evaluations/part-0000.parquet" in text.replace(" ", "")
    assert "lost/experiment.yamlisdamaged" in text.replace(" ", "")


def run_command(*arguments: str) -> tuple[str, InputError | None]:
    """Return what a command printed, and how it was refused."""
    ran = CliRunner().invoke(app, list(arguments))
    assert ran.exception is None or isinstance(ran.exception, InputError), ran.exception
    return " ".join(ran.output.split()), ran.exception


def test_arms_are_compared_within_the_one_experiment_that_has_both(storage: Path) -> None:
    write_grid(storage / "elsewhere", {"spt": {"encoder_ratio": 0.0}}, accuracy, base={"dataset": "cldr"})
    (storage / "broken").mkdir()
    (storage / "broken" / "experiment.yaml").write_text("hello")
    (storage / "broken" / "runs").mkdir()
    (storage / "broken" / "runs" / "part-0000.parquet").write_bytes(b"half")
    text, error = run_command("compare", "xpe", "spt", "--for", "low_performing", "--storage", str(storage))
    assert error is None and "low_performing xpe 6 x 2 +13.5" in text
    assert "broken was left out: " in text
    for names, sentence in (
        (("made:spt", "elsewhere:spt"), "the dataset of elsewhere is cldr, that of made Davlan/sib200"),
        (("broken", "made"), "broken/experiment.yaml is damaged"),
        (("spt", "spt"), "spt is in elsewhere, made: say which, such as elsewhere:spt"),
        (("peft", "spt"), "there are elsewhere, made, spt, xpe, dual, <b>_|[red]&% (broken cannot be read)"),
        (("dual", "spt"), "nothing can be compared: dual - spt: no seed is complete in both"),
    ):
        assert sentence in str(run_command("compare", *names, "--storage", str(storage))[1])


def test_the_commands_that_are_printed_can_be_pasted(tmp_path: Path) -> None:
    storage = tmp_path / "my results"
    write_search(storage / "found", SEARCH, TRIALS, flat)
    ran = CliRunner().invoke(app, ["best", "found", "--exclude", "eng_Latn, kat_Geor", "--storage", str(storage)])
    assert ran.exit_code == 0, ran.output
    lines = [line for line in ran.output.splitlines() if line.startswith("#   python sweep/run.py ")]
    words = [shlex.split(line.removeprefix("#   ")) for line in lines]
    exclude = ["--exclude", "eng_Latn, kat_Geor"]
    assert words[0][2:] == ["best", "found", *exclude, "--storage", str(storage), ">", "found-best.yaml"]
    assert words[1][2:] == ["replicate", "found-best.yaml", "--storage", str(storage)]
    assert "The best of 4 finished configurations (6 tried) of found by validation accuracy" in ran.output


def test_the_best_is_never_chosen_by_what_is_not_there(tmp_path: Path) -> None:
    write_grid(tmp_path / "made", ARMS, accuracy, unfinished=list(ARMS)[1:])
    part = tmp_path / "made" / "runs" / "part-0000.parquet"
    whole = pl.read_parquet(part)
    whole.with_columns(selection_accuracy=pl.lit(None, pl.Float64)).write_parquet(part)
    error = run_command("best", "made", "--storage", str(tmp_path))[1]
    assert "made has no finished configuration with a validation accuracy" in str(error)
    whole.drop("selection_accuracy").write_parquet(part)
    for command in ("best", "report"):
        assert "lacks the column selection_accuracy" in str(run_command(command, "made", "--storage", str(tmp_path))[1])


def test_what_an_option_cannot_do_here_is_said(storage: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for options, sentence in (
        ({"to": tmp_path / "there"}, "--to .*there: nothing is written with --format terminal"),
        ({"every_language": True, "form": "csv"}, "--languages: is for the terminal"),
        ({"every_language": True, "watched": True}, "--languages: is for the terminal"),
        ({"to": tmp_path / "file", "form": "csv"}, "--to .*file: is a file; name a folder"),
    ):
        with pytest.raises(InputError, match=sentence):
            report(storage, "made", **options)
