"""The command `check-data`: one screen that says what a data set is, and what to look at before training on it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sweep.data_check.facts import DataFacts, find_facts
from sweep.data_check.findings import find_findings, say_number, shorten
from sweep.wording import explain
from xpe_core.config import DEFAULTS, RunConfig
from xpe_core.data import Dataset, load_dataset
from xpe_core.data.examples import SPLITS
from xpe_core.errors import InputError
from xpe_core.languages import find_language
from xpe_core.steps import long_step
from xpe_core.validation import build_config, nearest

DATA_SETTINGS = ("task", "columns", "dataset_config", "on_bad_rows")
SETTINGS = (*DATA_SETTINGS, "max_length")
"""Fields of `RunConfig` that `--set` takes here."""
MAX_ROWS = 12
"""Of a table of languages or classes on one screen."""
NARROW = 60
"""Columns of a terminal in which not all numbers fit."""
NUM_CODES = 6
"""Languages that are named where many have equally many texts."""
TOKENISED_TEXTS = 20_000
"""Texts that are tokenised for the lengths, drawn at random."""


def check_data(console: Console, name: str, overrides: Sequence[str], backbone: str | None, every: bool) -> None:
    """Print what a data set is; InputError where it cannot be read, or is none to train or test on."""
    values = {"dataset": name, **_read_settings(overrides), **({"backbone": backbone} if backbone else {})}
    config = build_config(RunConfig, values, "check-data")
    with long_step("Reading the data"):
        dataset, problem = _load(config)
        facts = find_facts(dataset)
        findings = find_findings(facts)
    _print_head(console, facts)
    _print_languages(console, facts, every)
    if dataset.label_names:
        _print_classes(console, facts, every)
    _print_lengths(console, facts, config if backbone else None)
    _print_findings(console, [*([problem] if problem else []), *findings])
    if dataset.label_names:  # the experiment that is shown is one of classes
        _print_search(console, facts, config)


def _read_settings(overrides: Sequence[str]) -> dict[str, str]:
    values = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise InputError(f"--set {override}: must look like key=value")
        if key.strip() not in SETTINGS:
            raise InputError(f"--set {override}: {nearest(key.strip(), SETTINGS)}")
        text = text.strip()
        is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
        values[key.strip()] = text[1:-1] if is_quoted else text
    return values


def _load(config: RunConfig) -> tuple[Dataset, str | None]:
    """Return a data set without its bad rows, and what a search would say of them."""
    try:
        return load_dataset(config.source), None
    except InputError as error:
        if config.data.on_bad_rows == "skip":
            raise
        refused = error
    try:
        dataset = load_dataset(replace(config.source, on_bad_rows="skip"))
    except InputError:
        raise refused from None
    if not dataset.num_rows_skipped:
        raise refused
    return dataset, f"A search refuses these data: {explain(refused)}."


def _print_head(console: Console, facts: DataFacts) -> None:
    num_languages, num_labels = facts.by_language.height, len(facts.dataset.label_names)
    size = f"{say_number(facts.frame.height, 'text')} in {say_number(num_languages, 'language')}"
    if num_labels:
        size += f", {say_number(num_labels, 'class', 'classes')}"
    console.print(Text(f"{facts.dataset.name}: {size}", style="bold"))
    for note in facts.dataset.notes:
        _print_item(console, note)


def _print_languages(console: Console, facts: DataFacts, every: bool) -> None:
    counts = facts.by_language
    understood = {code: _understand(code) for code in counts["language"]}
    if every or counts.height <= MAX_ROWS:
        wide = console.width >= NARROW
        table = _CountTable(console, "language", *(["understood as"] if wide else []))
        for language, *numbers in counts.iter_rows():
            meaning = understood[language] or "not in the table of languages"
            table.add([language, *([meaning] if wide else [])], numbers)
        table.print()
        if wide:
            return
    else:
        _print_groups(console, counts)
    _print_understood(console, understood)


def _print_groups(console: Console, counts: pl.DataFrame) -> None:
    """Print languages that have equally many texts in one row."""
    table = _CountTable(console, "languages")
    groups = counts.group_by(*SPLITS, "total", maintain_order=True).agg(pl.col("language").sort())
    for row in groups.head(MAX_ROWS).iter_rows(named=True):
        codes = row["language"]
        label = f"{len(codes):,}: {shorten(codes, NUM_CODES)}" if len(codes) > 1 else codes[0]
        table.add([label], [row[name] for name in (*SPLITS, "total")])
    if groups.height > MAX_ROWS:
        rest = groups[MAX_ROWS:]
        spans = [_span(rest[name].to_list()) for name in (*SPLITS, "total")]
        table.add([f"{rest['language'].list.len().sum():,} more, each (--all)"], spans)
    table.print()


def _print_understood(console: Console, understood: Mapping[str, str | None]) -> None:
    """Say which codes are no language of the table, and which stand for another code of it."""
    if unknown := [code for code, meaning in understood.items() if meaning is None]:
        _print_item(
            console,
            f"{say_number(len(unknown), 'language is', 'languages are')} not in the table of languages, and in none of "
            f"its groups; trained and tested all the same: {shorten(unknown, NUM_CODES)}",
        )
    others = [
        f"{code} as {meaning}"
        for code, meaning in understood.items()
        if meaning is not None and not meaning.startswith(f"{code}, ")
    ]
    if others:
        _print_item(console, f"understood: {shorten(others, NUM_CODES)}")


def _print_classes(console: Console, facts: DataFacts, every: bool) -> None:
    labels, total = facts.by_label, facts.frame.height
    table = _CountTable(console, "class", share=True)
    shown = labels if every or labels.height <= MAX_ROWS else pl.concat([labels.head(MAX_ROWS - 3), labels.tail(3)])
    for place, (label, *numbers, _) in enumerate(shown.iter_rows()):
        if place == MAX_ROWS - 3 and shown.height < labels.height:
            table.add([f"{labels.height - shown.height:,} more (--all)"], ())
        table.add([label], numbers, f"{numbers[-1] / total:.1%}")
    table.print()
    largest, smallest = labels.row(0, named=True), labels.row(-1, named=True)
    times = largest["total"] / smallest["total"]
    tested = facts.frame.filter(pl.col("split") == "test")
    line = "All classes have equally many texts."
    if times >= 1.05:
        line = f"The largest class has {times:,.1f} times as many texts as the smallest."
    if tested.height:
        label, count = tested["label"].value_counts(sort=True).row(0)
        line += f" Answering {label!r} always is right for {count / tested.height:.1%} of the test texts."
    _print_item(console, line)


def _print_lengths(console: Console, facts: DataFacts, config: RunConfig | None) -> None:
    longest = facts.frame.row(facts.num_characters.arg_max() or 0, named=True)
    place = f"{longest['language']} {longest['split']} {longest['id']}"
    _print_item(console, f"{_describe_lengths('characters', facts.num_characters)} ({place}).")
    if config is None:
        return
    from xpe_core.backbones.backbone import load_tokenizer

    texts, pairs = facts.draw(TOKENISED_TEXTS)
    with long_step("Tokenising"):
        encoded = load_tokenizer(config.backbone)(
            texts, pairs, return_attention_mask=False, return_token_type_ids=False
        )
    lengths = pl.Series([len(row) for row in encoded["input_ids"]])
    share = (lengths > config.data.max_length).sum() / len(texts)
    drawn = f" of {len(texts):,} texts drawn at random" if len(texts) < facts.frame.height else " of the texts"
    _print_item(console, f"{_describe_lengths(f'tokens of {config.backbone}', lengths)}.")
    _print_item(console, f"{share:.1%}{drawn} are longer than max_length {config.data.max_length}, and cut there.")


def _describe_lengths(unit: str, lengths: pl.Series) -> str:
    half, most = (int(lengths.quantile(share) or 0) for share in (0.5, 0.95))
    return f"Length in {unit}: half of the texts up to {half:,}, 95 % up to {most:,}, the longest {max(lengths):,}"


def _print_findings(console: Console, findings: Sequence[str]) -> None:
    console.print()
    if not findings:
        console.print(
            Text("Nothing to look at: no duplicates, no class without train texts, no bad rows.", style="green")
        )
        return
    console.print(Text("To look at:", style="yellow"))
    for finding in findings:
        _print_item(console, finding)


def _print_search(console: Console, facts: DataFacts, config: RunConfig) -> None:
    """Say what a search on these data would train on and be tested on, if nothing else is asked for."""
    from sweep.data_check.defaults import describe_search  # imports torch, which takes longer than all above

    settings = {"dataset": config.data.dataset, **_say_settings(config)}
    with console.status("Looking at what a search would do"):
        command, sentences = describe_search(facts, settings)
    console.print()
    console.print(Text(command), soft_wrap=True)
    for sentence in sentences:
        _print_item(console, sentence)


def _say_settings(config: RunConfig) -> dict[str, str]:
    """Return what was said of how the data are read."""
    return {name: str(config.values[name]) for name in DATA_SETTINGS if config.values[name] != DEFAULTS[name]}


def _understand(code: str) -> str | None:
    language = find_language(code)
    return None if language is None else f"{language.code}, {language.name}"


class _CountTable:
    """A table of words, then texts by split and in all; of a narrow terminal by split only."""

    def __init__(self, console: Console, *words: str, share: bool = False) -> None:
        self._console = console
        self._numbers = [*SPLITS] if console.width < NARROW else [*SPLITS, "all"]
        self._share = share and console.width >= NARROW
        self._lacks_share = share and not self._share
        self._table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for word in words:
            self._table.add_column(word, overflow="fold", min_width=8)
        for number in (*self._numbers, *(["share"] if self._share else [])):
            self._table.add_column({"validation": "valid."}.get(number, number), justify="right", no_wrap=True)

    def add(self, words: Sequence[str], numbers: Sequence[int | str], share: str = "") -> None:
        """Add a row with the numbers of train, validation, test, and all."""
        shown = [number if isinstance(number, str) else f"{number:,}" if number else "-" for number in numbers]
        cells = [*shown[: len(self._numbers)], *([share] if self._share else [])]
        self._table.add_row(*map(Text, words), *cells)

    def print(self) -> None:
        """Print it, and what is left out of it."""
        self._console.print(self._table)
        if self._console.width < NARROW:
            what = "the sum of the splits and the share are" if self._lacks_share else "the sum of the splits is"
            _print_item(self._console, f"In fewer than {NARROW} columns {what} left out.")


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,}-{high:,}"


def _print_item(console: Console, text: str) -> None:
    """Print a sentence, the lines after the first below its words; nothing is cut, however narrow the terminal."""
    console.print(Padding(Text(text, overflow="fold"), (0, 0, 0, 2), expand=False))
