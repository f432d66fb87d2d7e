"""Texts, or pairs of texts, with labels in many languages, read into one list of examples."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from xpe_core.data.cells import name_split, take_cell
from xpe_core.data.columns import Reading, find_columns
from xpe_core.data.examples import SPLITS, Example
from xpe_core.data.files import DataFile, Files
from xpe_core.data.labels import Labels, find_near, merge_labels, read_label_lists
from xpe_core.data.locating import find_sources
from xpe_core.data.rows import open_rows
from xpe_core.data.source import DataSource, as_source
from xpe_core.data.spans import prepare_spans
from xpe_core.data.splitting import draw_splits
from xpe_core.data.table import EMPTY_LINE, Nested, Row
from xpe_core.errors import InputError, Setting

SHOWN_ROWS = 3
"""Bad rows that are named."""


@dataclass(frozen=True)
class Dataset:
    """All examples of a data set, ordered by language, split and row in the source."""

    name: str
    examples: Sequence[Example]
    label_names: tuple[str, ...]
    """Label names in the order of their ids."""
    notes: tuple[str, ...] = ()
    """How the data were read, where that was not certain: for the plan."""
    num_rows_skipped: int = 0
    """Bad rows that were left out, as `on_bad_rows: skip` says."""
    reads_anew: bool = False
    """Some text or label is another than older versions of this reader made of the same files."""


def load_dataset(source: DataSource | str) -> Dataset:
    """Read a data set whole.

    Raises InputError where it cannot be found or reached, lacks a column, or holds bad rows that are not to be skipped:
    without a text or label, of an unknown split, or with another number of fields than their header.
    """
    source = as_source(source)
    if source.name == "cldr":
        if find_spec("babel") is None:  # it comes with the extra `offline` only
            raise InputError("dataset cldr needs Babel: pip install 'babel>=2.18,<3'")
        from xpe_core.data import cldr

        if source.columns or source.config:
            raise InputError("dataset cldr has neither columns nor configs that could be said")
        return Dataset("cldr", cldr.build_cldr(), cldr.LABELS)
    reader = _Reader(source)
    files = find_sources(source)
    for file in files.files:
        reader.read(file)
    return reader.finish(files)


class _Reader:
    """Collects the examples of one data set."""

    def __init__(self, source: DataSource) -> None:
        self._source = source
        self._examples: dict[tuple[str, str], list[Example]] = defaultdict(list)
        self._labels = Labels()
        self._notes: Counter[str] = Counter()
        self._bad_rows: list[str] = []
        self._first_bad = ""
        self._num_bad = 0
        self._reads_anew = False
        self._draws: list[bool] = []
        self._has_ids = True
        self._renamed: dict[str, str] = {}

    def read(self, file: DataFile) -> None:
        """Add a file's rows."""
        table = open_rows(file.path)
        reading = find_columns(table, file, self._source)
        self._notes.update((*table.notes, *reading.notes))
        self._reads_anew |= table.reads_anew
        self._draws.append(reading.draws)
        self._has_ids &= "id" in reading.columns
        class_names = (dict(file.classes) | dict(table.class_names or {})).get(reading.columns.get("label", ""))
        if self._source.asks == "span":
            make = prepare_spans(reading, self._source.texts)
        else:
            make = self._prepare(reading, class_names, table.may_nest)
        examples, last = self._examples, ("", "")
        bucket: list[Example] = []
        for row in table:
            if row.problem is None:
                example, problem = make(row)
                if problem is None:
                    if (example.language, example.split) != last:
                        last = example.language, example.split
                        bucket = examples[last]
                    bucket.append(example)
                    continue
            elif row.problem == EMPTY_LINE:
                continue
            else:
                problem = row.problem
            self._num_bad += 1
            if len(self._bad_rows) < SHOWN_ROWS:
                self._bad_rows.append(f"{table.where(row)}: {problem}")
            if not self._first_bad:
                self._first_bad = f"{table.where(row)[len(str(table.path.parent)) + 1 :]}: {problem}"

    def finish(self, files: Files) -> Dataset:
        """Return the data set; InputError where it has bad rows, no two labels, or one that no list knows."""
        name = self._source.name
        if self._num_bad and self._source.on_bad_rows == "refuse":
            skipping = Setting("on_bad_rows", "skip")
            raise InputError(self._describe_bad_rows(), way="{} leaves such rows out", settings=(skipping,))
        self._rename_languages()
        if any(self._draws):
            self._draw(name)
        if numbers := self._labels.numbers():
            for examples in self._examples.values():
                examples[:] = [
                    example._replace(label=numbers.get(example.label, example.label)) for example in examples
                ]
        ordered = sorted(self._examples, key=lambda key: (key[0], SPLITS.index(key[1])))
        examples = [example for key in ordered for example in self._examples[key]]
        label_names = self._name_labels(files) if self._source.asks == "class" else ()
        if len(label_names) < 2 and self._source.asks == "class":
            found = ", ".join(label_names) or "none"
            raise InputError(f"dataset {name}: {len(examples)} rows with the labels {found}; needed are two or more")
        notes = [*files.notes, *self._count_notes(len(files.files)), *self._labels.notes()]
        notes += [f"the language {language!r} is called {own!r} here" for language, own in self._renamed.items()]
        for same in find_near({language for language, _ in ordered}):
            notes.append(f"languages that differ in case only are different ones: {', '.join(same)}")
        if self._num_bad:
            rows = "bad row is" if self._num_bad == 1 else "bad rows are"
            notes.append(f"{self._num_bad:,} {rows} left out, the first: {self._first_bad}")
        anew = self._reads_anew or self._labels.changed
        return Dataset(name, examples, label_names, tuple(notes), self._num_bad, anew)

    def _prepare(
        self, reading: Reading, class_names: Sequence[str] | None, may_nest: bool
    ) -> Callable[[Row], tuple[Example, str | None]]:
        """Return a function that makes an example of a row, and says what is wrong with it."""
        columns, constants, unify = reading.columns, reading.constants, self._labels.unify
        names = [field.name for field in self._source.texts]
        text_column, pair_column = (columns[name] if name else "" for name in (*names, "")[:2])
        label_column, id_column = columns.get("label", ""), columns.get("id", "")
        language_column, split_column = columns.get("language", ""), columns.get("split", "")
        one_label, one_language = constants.get("label", ""), constants.get("language", "")
        single = [column for column in (text_column, pair_column, label_column) if column]
        one_split = "train" if reading.draws else constants.get("split", "")

        def make(row: Row) -> tuple[Example, str | None]:
            values = row.values
            text, label = take_cell(values, text_column), one_label or take_cell(values, label_column)
            language = one_language or take_cell(values, language_column)
            split = one_split or take_cell(values, split_column)
            problem = None
            if class_names is not None:
                label, problem = _name_class(label, class_names)
            if split not in SPLITS and split:
                split, unknown = name_split(split)
                problem = problem or unknown
            pair = take_cell(values, pair_column) if pair_column else None
            example = Example(
                text, unify(label), language, split, take_cell(values, id_column) or str(row.number), pair
            )
            if not (text and example.label and language and split and pair != ""):
                problem = f"empty {_find_empty(example, names)}"
            elif may_nest and any(isinstance(values.get(column), Nested) for column in single):
                problem = f"{', '.join(names)} and label must be single values, and one is a list or an object"
            return example, problem

        return make

    def _describe_bad_rows(self) -> str:
        if self._num_bad == 1:
            return self._bad_rows[0]
        more = f" and {self._num_bad - len(self._bad_rows):,} more" if self._num_bad > len(self._bad_rows) else ""
        first = "; ".join(self._bad_rows)
        return f"dataset {self._source.name}: {self._num_bad:,} bad rows: {first}{more}"

    def _draw(self, name: str) -> None:
        shares = self._source.said["split"].value
        every = [example for examples in self._examples.values() for example in examples]
        self._examples.clear()
        for example in draw_splits(every, shares, self._has_ids, f"dataset {name}"):
            self._examples[example.language, example.split].append(example)
        self._notes[f"splits are drawn by the texts, {shares} percent"] = len(self._draws)

    def _rename_languages(self) -> None:
        """Take commas out of languages' names (`Chinese, Traditional`): they separate the names that are asked for."""
        for language, split in [key for key in self._examples if "," in key[0]]:
            renamed = " ".join(language.replace(",", " ").split()) or "no name"
            examples = self._examples.pop((language, split))
            self._examples[renamed, split] += [example._replace(language=renamed) for example in examples]
            self._renamed[language] = renamed

    def _name_labels(self, files: Files) -> tuple[str, ...]:
        """Return all labels in one order: sorted, or as the files labels.txt list them."""
        found: dict[str, set[str]] = defaultdict(set)
        for (language, _), examples in self._examples.items():
            found[language] |= {example.label for example in examples}
        lists, paths = read_label_lists(files.label_lists), dict(files.label_lists)
        if not lists:
            return tuple(sorted(set().union(*found.values()))) if found else ()
        listed = merge_labels(lists)
        for language, labels in sorted(found.items()):
            own = language if language in lists else ""
            if missing := labels - set(lists.get(own, listed)):
                listing = paths.get(own) or f"{next(iter(paths.values()))} and its like"
                raise InputError(f"dataset {self._source.name}: label {min(missing)!r} is not in {listing}")
        return listed

    def _count_notes(self, num_files: int) -> Iterable[str]:
        for note, count in self._notes.items():
            yield note if count == num_files else f"{note} (in {count:,} of {num_files:,} files)"


def _name_class(label: str, class_names: Sequence[str]) -> tuple[str, str | None]:
    """Return the name of a class that may be given by its number, and what is wrong where there is none."""
    if label.isdecimal() and int(label) < len(class_names):
        return class_names[int(label)], None
    return (
        label,
        None if label in class_names or not label else f"label {label!r} is none of the {len(class_names)} classes",
    )


def _find_empty(example: Example, names: Sequence[str]) -> str:
    """Return the name of the first thing that an example lacks."""
    values = (example.text, *([] if example.text_pair is None else [example.text_pair]))
    needed = dict(zip(names, values, strict=True))
    needed |= {"label": example.label, "language": example.language, "split": example.split}
    return next(name for name, value in needed.items() if not value)
