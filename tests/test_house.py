"""What stands where: tunings, readouts and tasks are known in their own folders alone; no rooms import in a circle."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from xpe_core.fields import Part
from xpe_core.readouts import READOUTS
from xpe_core.tasks import TASKS
from xpe_core.tunings import TUNINGS

ROOT = Path(__file__).parents[1]
FOLDERS = ("xpe_core/tunings", "xpe_core/readouts", "xpe_core/tasks")
COLUMNS_OF_PEOPLE = "xpe_core/data/columns.py"
"""Where a label's column may be called `topic`, too."""
WORDS_OF_THEIR_OWN = (
    *("prompt", "prefix", "head", "none", "full", "dual", "rank", "alpha", "span", "gradient_checkpointing"),
)
"""Names that are words of the language, of statistics, or of transformers' modules, too."""
PROJECT = re.compile(r"xpe[-_](sweep|core)|\bxpe-(?=$|\")|\bXPE_[A-Z]+", re.I)
"""The project's own name, in packages, folders and variables of the environment."""


def list_names() -> set[str]:
    """Return tunings, methods, readouts, tasks, and the fields of tunings and readouts."""
    configs: list[type[Part]] = [tuning.Config for tuning in TUNINGS.values()]
    configs += [readout.Config for readout in READOUTS.values()]
    names = {name for config in configs for name in config.model_fields} - {"tuning", "readout"}
    names |= {*TUNINGS, *READOUTS, *TASKS, *(method for tuning in TUNINGS.values() for method in tuning.methods)}
    return names - set(WORDS_OF_THEIR_OWN)


def find_names(code: str, names: set[str]) -> Iterator[str]:
    """Yield the names that stand in code: in identifiers and in strings that are no docstrings."""
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, sorted(names)))})\b", re.I)
    tree = ast.parse(code)
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    statements = [statement for body in bodies for statement in body if isinstance(statement, ast.Expr)]
    docstrings = {id(statement.value) for statement in statements}
    for node in ast.walk(tree):
        texts = [getattr(node, part, None) for part in ("id", "attr", "arg", "name")]
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            texts.append(node.value)
        for text in texts:
            if isinstance(text, str):
                yield from pattern.findall(PROJECT.sub("", text))


def test_no_tunings_readouts_or_tasks_name_stands_outside_its_folder() -> None:
    names, found = list_names(), []
    for path in sorted([*ROOT.glob("xpe_core/**/*.py"), *ROOT.glob("sweep/**/*.py")]):
        place = path.relative_to(ROOT).as_posix()
        if not place.startswith(FOLDERS):
            own = names - set(TASKS) if place == COLUMNS_OF_PEOPLE else names
            found += [f"{place}: {name}" for name in find_names(path.read_text(encoding="utf-8"), own)]
    assert not found


def test_the_search_for_names_finds_them() -> None:
    code = '"""LoRA in a docstring."""\nif config.method == "lora":\n    ratio = config.values["encoder_ratio"]\n'
    code += 'target_modules = f"{one} xpe"\nname = "xpe-sweep"\nimport xpe_core\n'
    assert sorted(find_names(code, list_names())) == ["encoder_ratio", "lora", "target_modules", "xpe"]


def read_arrows(room: Path) -> dict[str, str]:
    """Return the rooms of its package that a room's modules import, wherever in a module, each with a module that does.

    What only a type checker imports is not counted.
    """
    arrows: dict[str, str] = {}
    package = room.parent
    for path in sorted(room.rglob("*.py")):
        for node in walk_what_runs(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{package.name}."):
                arrows.setdefault(node.module.split(".")[1], path.relative_to(ROOT).as_posix())
    return {other: module for other, module in arrows.items() if other != room.name and (package / other).is_dir()}


def walk_what_runs(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of code, without those under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            yield node
            yield from walk_what_runs(node)


def find_circle(arrows: Mapping[str, Mapping[str, str]], way: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return rooms of which each imports the next and the last the first, None where no way from `way` comes back."""
    for other in arrows.get(way[-1], {}):
        if other in way:
            return way[way.index(other) :]
        if circle := find_circle(arrows, (*way, other)):
            return circle
    return None


@pytest.mark.parametrize("package", ["sweep", "xpe_core"])
def test_no_room_imports_one_that_leads_back_to_it(package: str) -> None:
    arrows = {room.name: read_arrows(room) for room in sorted((ROOT / package).iterdir()) if room.is_dir()}
    circles = [circle for room in arrows if (circle := find_circle(arrows, (room,)))]
    assert not circles, [arrows[room] for room in circles[0]]


def test_the_search_for_circles_finds_them() -> None:
    assert find_circle({"a": {"b": ""}, "b": {"c": ""}, "c": {"b": ""}}, ("a",)) == ("b", "c")
    assert find_circle({"a": {"b": "", "c": ""}, "b": {"c": ""}}, ("a",)) is None
