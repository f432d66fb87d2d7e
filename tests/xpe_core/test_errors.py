"""The one exception for the user: its sentence, and settings that each caller writes in its own way."""

import pickle
import re
from pathlib import Path

import xpe_core
from xpe_core.errors import InputError, Setting


def test_a_sentence_says_what_what_is_allowed_and_the_way_on() -> None:
    error = InputError("no column 'a{b}'", "its columns are x", "say where with {}", (Setting("columns", "text=x"),))
    assert str(error) == "no column 'a{b}'; its columns are x; say where with columns='text=x'"
    assert error.say(lambda setting: f"--{setting.field} {setting.value}").endswith("; say where with --columns text=x")
    assert str(InputError("what", way="use {it}")) == "what; use {it}"
    assert str(InputError("what")) == "what"


def test_an_error_is_the_same_on_the_other_side_of_a_process() -> None:
    error = InputError("what", way="use {} or {}", settings=(Setting("dataset", "cldr"), Setting("dataset", "FOLDER")))
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "what; use dataset=cldr or dataset=FOLDER"


def test_the_core_names_no_option_of_a_command_line() -> None:
    root = Path(xpe_core.__file__).parent
    option = re.compile(r"(?<![\w-])--[a-z]")
    assert [path.name for path in root.rglob("*.py") if option.search(path.read_text(encoding="utf-8"))] == []
