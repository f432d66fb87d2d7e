"""README and manual: their links lead somewhere, and what they say to type is understood."""

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from sweep.experiment.files import load_experiment
from sweep.run import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GROUP: Any = typer.main.get_command(app)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
REDIRECTS = (">", "|")
OTHER_TOOLS = {
    *("--logdir", "--backend-store-uri"),  # tensorboard's, mlflow's
    *("--quick", "--toy", "--other", "--help"),  # the benchmarks', of every command
}
"""Options in the pages that are no command's of ours."""


@pytest.fixture(params=PAGES, ids=lambda page: page.stem)
def page(request: pytest.FixtureRequest) -> Path:
    """Give README.md and each page of the manual."""
    return Path(request.param)


def find_blocks(page: Path, language: str) -> list[str]:
    """Return what stands in a page's fences of a language."""
    return [text for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def find_commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of every command in a page's shell blocks, without comments and redirections."""
    for block in find_blocks(page, "bash"):
        for line in block.splitlines():
            for part in line.split("&&"):
                words = shlex.split(part, comments=True)
                ends = [place for place, word in enumerate(words) if word in REDIRECTS]
                if words := words[: min(ends, default=len(words))]:
                    yield words


def after(words: list[str], *command: str) -> list[str] | None:
    """Return what follows a command, whichever Python runs it; None where it is another one."""
    if words[0].rsplit("/", 1)[-1] != "python" or tuple(words[1 : 1 + len(command)]) != command:
        return None
    return words[1 + len(command) :]


def test_links_lead_to_files(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    targets = [target for target in LINK.findall(text) if not target.startswith("http")]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_command_lines_parse(page: Path) -> None:
    for words in find_commands(page):
        arguments = after(words, "sweep/run.py")
        if not arguments:
            continue
        if arguments[0] == "--cluster":
            assert (ROOT / arguments[1]).exists()
            arguments = arguments[2:]
        name, *rest = arguments
        assert name in GROUP.commands, words
        GROUP.commands[name].make_context(name, rest)  # an unknown option, or an argument too many, raises


def test_options_are_those_of_a_command(page: Path) -> None:
    known = {option for command in GROUP.commands.values() for one in command.params for option in one.opts}
    text = re.sub(r"^ray .*$|^mlflow .*$", "", page.read_text(encoding="utf-8"), flags=re.M)
    assert set(OPTION.findall(text)) - known - OTHER_TOOLS - {"--cluster"} == set()


def test_every_option_is_in_the_manual() -> None:
    manual = " ".join(page.read_text(encoding="utf-8") for page in PAGES)
    options = {option for command in GROUP.commands.values() for one in command.params for option in one.opts}
    assert {option for option in options if option.startswith("--")} - set(OPTION.findall(manual)) == set()


def test_modules_that_are_run_are_there(page: Path) -> None:
    modules = [rest[0] for words in find_commands(page) if (rest := after(words, "-m"))]
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []


def test_what_python_imports_is_there(page: Path) -> None:
    for block in find_blocks(page, "python"):
        exec("\n".join(line for line in block.splitlines() if line.startswith(("import ", "from "))), {})


def test_files_of_experiments_are_read(page: Path, tmp_path: Path) -> None:
    for block in find_blocks(page, "yaml"):
        values = yaml.safe_load(block)
        if "kind" in values:
            (tmp_path / "my.yaml").write_text(block, encoding="utf-8")
            assert load_experiment(str(tmp_path / "my.yaml"))[1].kind == values["kind"]


def test_the_commands_are_all_in_the_manual() -> None:
    listed = re.findall(r"^\| (`.*?) \|", (ROOT / "docs" / "index.md").read_text(encoding="utf-8"), re.M)
    assert set(re.findall(r"`([\w-]+)`", " ".join(listed))) == set(GROUP.commands)


def test_every_page_is_in_the_readme_and_in_the_navigation() -> None:
    names = {page.name for page in PAGES[1:]}
    readme = PAGES[0].read_text(encoding="utf-8")
    assert {name for name in names if f"(docs/{name})" not in readme} == {"index.md"}
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"- (\w+\.md)$", navigation, re.M)) == names


def test_the_readme_is_short_and_has_the_line_that_runs_the_tests() -> None:
    text = PAGES[0].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert len(re.findall("^python3 -m venv .*pytest$", text, re.M)) == 1  # .ci/run evaluates it
