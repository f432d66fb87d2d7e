"""Rows of a question, a passage and spans of it, as SQuAD has them, as examples.

Answers are `{"text": [...], "answer_start": [...]}`, as on the hub, or `[{"text": ..., "answer_start": ...}, ...]`.
"""

import json
from collections.abc import Callable, Sequence

from xpe_core.data.cells import name_split, take_cell
from xpe_core.data.columns import Reading
from xpe_core.data.examples import SPLITS, Answer, Example
from xpe_core.data.table import Nested, Row
from xpe_core.tasks.texts import TextField

NO_ANSWER = "every question must have one here, and on_bad_rows=skip leaves out those of SQuAD 2 that have none"
FORM = '{"text": [...], "answer_start": [...]}'


def prepare_spans(reading: Reading, fields: Sequence[TextField]) -> Callable[[Row], tuple[Example, str | None]]:
    """Return a function that makes an example of a row, and says what is wrong with it.

    The last text is the passage. Drawn splits keep together what has one title or, without titles, one passage.
    """
    columns, constants = reading.columns, reading.constants
    question_column, passage_column = (columns[field.name] for field in fields)
    one_language, one_split = constants.get("language"), "train" if reading.draws else constants.get("split")

    def make(row: Row) -> tuple[Example, str | None]:
        values = row.values
        question, whole = take_cell(values, question_column), values.get(passage_column) or ""
        passage = whole.strip()
        answers, problem = read_answers(values.get(columns["answers"]), whole)
        language = one_language or take_cell(values, columns.get("language", ""))
        split = one_split or take_cell(values, columns.get("split", ""))
        if split and split not in SPLITS:
            split, unknown = name_split(split)
            problem = problem or unknown
        needed = {fields[0].name: question, fields[1].name: passage, "language": language, "split": split}
        if lacking := [name for name, value in needed.items() if not value]:
            problem = f"empty {lacking[0]}"
        elif any(isinstance(values.get(column), Nested) for column in (question_column, passage_column)):
            problem = f"{fields[0].name} and {fields[1].name} must be single values, and one is a list or an object"
        example_id = take_cell(values, columns.get("id", "")) or str(row.number)
        group = take_cell(values, columns.get("title", "")) or passage
        return Example(question, "", language, split, example_id, passage, answers, group), problem

    return make


def read_answers(cell: str | None, whole: str) -> tuple[tuple[Answer, ...], str | None]:
    """Return the answers in a cell, and what is wrong with it.

    Blanks around the passage, and around an answer, are left out; places in the cell count with them.
    """
    try:
        value: object = json.loads(cell or "null")
    except ValueError:
        value = None
    if isinstance(value, dict):
        texts, starts = value.get("text"), value.get("answer_start")
        if isinstance(texts, list) and isinstance(starts, list) and len(texts) == len(starts):
            value = [dict(zip(("text", "answer_start"), pair, strict=True)) for pair in zip(texts, starts, strict=True)]
    if value == [] or value == {"text": [], "answer_start": []}:
        return (), f"the question has no answer: {NO_ANSWER}"
    if not isinstance(value, list) or not value:
        return (), f"answers must be as {FORM}, one or more, not {cell or ''!s:.40}"
    answers = []
    for one in value:
        text, start = (one.get("text"), one.get("answer_start")) if isinstance(one, dict) else (None, None)
        if not isinstance(text, str) or type(start) is not int or not text.strip():
            return (), f"answers must be as {FORM}, not {cell or ''!s:.40}"
        if start < 0 or whole[start : start + len(text)] != text:
            return (), f"the answer {text[:40]!r} does not stand at character {start} of the passage"
        answers.append(Answer(text.strip(), start + _count_blanks(text) - _count_blanks(whole)))
    return tuple(answers), None


def _count_blanks(text: str) -> int:
    """Return how many blanks a text begins with."""
    return len(text) - len(text.lstrip())
