"""The command `best`: the best configuration for a reader, or as an experiment file for a program.

A file is what is printed where standard output is no terminal, so `best NAME > best.yaml` stays one.
"""

from dataclasses import dataclass
from shlex import quote

import yaml
from rich.console import Console
from rich.text import Text

from sweep.analysis.choice import RankedRow, parse_weights, rank
from sweep.analysis.chosen_adapter import RULE, choose_adapter
from sweep.analysis.configurations import single_experiment
from sweep.analysis.reading import read_together
from sweep.analysis.results import UNFINISHED, Cell, Experiment, Results
from sweep.analysis.rows import rows_of
from sweep.analysis.stored_experiment import read_experiment, split_experiment
from sweep.records.adapters import ADAPTERS, SUFFIX, kept_run_ids
from sweep.records.finding import find_experiment
from sweep.records.specification import NO_TRAINING, read_specification
from sweep.report.formats import name_file
from sweep.report.sheet import percent
from sweep.report.terminal import Facts
from sweep.storage import Folder
from sweep.wording import count_nouns, format_number
from xpe_core.config import list_settings
from xpe_core.errors import InputError
from xpe_core.fields import FieldValue
from xpe_core.tunings import METHOD_NAMES


@dataclass(frozen=True)
class _Best:
    """The best configuration, with what was asked."""

    name: str
    results: Results
    cell: Cell
    row: RankedRow
    num_ranked: int
    num_tried: int
    measure: str
    options: str
    """Of this command, as they were given."""
    again: str
    """The option that names the storage."""
    file: str
    """What its experiment file is called in the lines that write it."""


def best(
    console: Console,
    storage: str,
    name: str,
    purpose: str | None,
    method: str | None,
    exclude: str | None,
    as_yaml: bool = False,
    metric: str | None = None,
    panel: str | None = None,
) -> None:
    """Print the best configuration: in a terminal what one wants to know, else (or `as_yaml`) its experiment file.

    Where there are several backbones or data sets, a file needs the name of a `panel`; a reader is told all.
    """
    if method is not None and method not in METHOD_NAMES:
        raise InputError(f"--method {method}: must be one of {', '.join(METHOD_NAMES)}")
    folder = find_experiment(storage, name)
    if read_specification(folder).kind == "evaluate":
        raise InputError(f"{name} {NO_TRAINING}; report and compare show which of them is best")
    is_file = as_yaml or not console.is_terminal
    for number, one in enumerate(_choose_panels(folder, name, panel, is_file)):
        chosen = _choose(one, storage, name, purpose, method, exclude, metric)
        if is_file:
            _print_file(console, chosen)
            continue
        if number:
            console.print()
        _print_short(console, folder, chosen)


def _choose_panels(folder: Folder, name: str, panel: str | None, is_file: bool) -> list[Experiment]:
    """Return the panels whose best is asked for; InputError where a file would be of several, or there is no such."""
    panels = split_experiment(read_experiment(folder))
    names = {one.panel.name: one for one in panels if one.panel is not None}
    if panel is not None:
        if panel not in names:
            known = f"must be one of {', '.join(names)}" if names else f"{name} has one backbone and one data set"
            raise InputError(f"--panel {panel}: {known}")
        return [names[panel]]
    if is_file and names:
        raise InputError(
            f"{name} has several backbones or data sets, whose accuracies do not compare: say --panel, one of "
            f"{', '.join(names)}"
        )
    return panels


def _choose(
    one: Experiment,
    storage: str,
    name: str,
    purpose: str | None,
    method: str | None,
    exclude: str | None,
    metric: str | None,
) -> _Best:
    if metric is not None and purpose is None:
        raise InputError("--metric: is of test scores, so it goes with --for; a search chooses by its validation score")
    results = read_together([one], exclude, metric=metric)
    weights = None if purpose is None else parse_weights(purpose, list(results.groups))
    ranked = rank(results, weights, method)
    if ranked.is_empty():
        of = f" with method {method}" if method else ""
        lacking = (
            f"with a validation {results.chosen_by}"
            if weights is None
            else f"that was tested on all languages of {purpose}"
        )
        raise InputError(f"{name} has no finished configuration{of} {lacking}")
    row = next(rows_of(RankedRow, ranked))
    options = "".join([f" --for {quote(purpose)}" if purpose else "", f" --method {method}" if method else ""])
    return _Best(
        name=name,
        results=results,
        cell=next(cell for cell in results.cells if cell.config_id == row.config_id),
        row=row,
        num_ranked=len(ranked),
        num_tried=sum(_was_tried(cell) for cell in results.cells if method in (None, cell.method)),
        measure=f"validation {results.chosen_by}" if weights is None else f"test {results.metric_title} ({purpose})",
        options=(f" --panel {quote(one.panel.name)}" if one.panel is not None else "")
        + options
        + (f" --metric {metric}" if metric is not None else "")
        + (f" --exclude {quote(exclude)}" if exclude is not None else ""),
        again=f" --storage {quote(storage)}" if storage != "results" else "",
        file=quote(f"{name_file(one.name)}-{'-'.join([method or 'best', *(weights or ())])}.yaml"),
    )


def _print_file(console: Console, chosen: _Best) -> None:
    """Print an experiment file; what is said about it stands in comments."""
    failed = f", {chosen.row.num_failed} failed and count as 0" if chosen.row.num_failed else ""
    lines = [
        f"{_say_place(chosen)}:",
        f"{chosen.row.arm} on {chosen.row.source_set} (config_id {chosen.row.config_id}),",
        f"{percent(chosen.row.score)} % as a mean over {chosen.row.num_seeds} seeds{failed}.",
        f"{_advise(chosen)}:",
        *(f"  {command}" for command in _commands(chosen)),
    ]
    sweep = next(one.sweep for one in chosen.results.experiments if one.name == chosen.cell.experiment)
    values = single_experiment(chosen.cell.config, sweep, chosen.cell.seeds)
    _print_plain(console, "".join(f"# {line}\n" for line in lines))
    _print_plain(console, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def _print_short(console: Console, folder: Folder, chosen: _Best) -> None:
    """Print what was chosen, how good it is, and where its adapters lie."""
    row, cell = chosen.row, chosen.cell
    console.print(Text(f"{_say_place(chosen)}:"), soft_wrap=True)
    console.print(Text(f"{row.arm} on {row.source_set} (config_id {row.config_id})", style="bold"), soft_wrap=True)
    values = {name: _show(cell.config.values.get(name)) for name in _varied(chosen.results, cell)}
    seeds = f"mean over {count_nouns(row.num_seeds, 'seed')} ({', '.join(map(str, cell.seeds))})"
    failed = f", {row.num_failed} failed and count as 0" if row.num_failed else ""
    values[chosen.measure] = f"{percent(row.score)} %, {seeds}{failed}"
    console.print(Facts([(f"  {name}", text) for name, text in values.items()]), highlight=False)
    for line in _say_adapters(folder, cell):
        console.print(Text(line), soft_wrap=True)
    console.print(Text(f"\n{_advise(chosen)}:"), soft_wrap=True)
    for command in _commands(chosen):
        console.print(Text(f"  {command}"), soft_wrap=True)
    console.print(Text("Every value of it: the same with --yaml.", style="dim"), soft_wrap=True)


def _say_place(chosen: _Best) -> str:
    tried = f" ({chosen.num_tried} tried)" if chosen.num_tried > chosen.num_ranked else ""
    configurations = count_nouns(chosen.num_ranked, "finished configuration")
    return f"The best of {configurations}{tried} of {chosen.results.experiments[0].name} by {chosen.measure}"


def _advise(chosen: _Best) -> str:
    """Return what the commands below are for."""
    if chosen.results.experiments[0].study is not None:
        return "These seeds were fresh; whether it is really better than the others, the study's report says"
    return "The best of many looks better than it is; run it again on fresh seeds"


def _commands(chosen: _Best) -> list[str]:
    """Return the commands that say whether it is really better: of a study its report, else two for fresh seeds."""
    if chosen.results.experiments[0].study is not None:
        return [f"python sweep/run.py report {quote(chosen.name)}{chosen.again}"]
    return [
        f"python sweep/run.py best {quote(chosen.name)}{chosen.options}{chosen.again} > {chosen.file}",
        f"python sweep/run.py replicate {chosen.file}{chosen.again}",
    ]


def _varied(results: Results, cell: Cell) -> list[str]:
    """Return the fields that distinguish the experiment's configurations from each other."""
    own = [other.config for other in results.cells if other.experiment == cell.experiment]
    names = [name for name in list_settings(own) if name != "source_set"]
    return [name for name in names if len({config.values.get(name) for config in own}) > 1]


def _say_adapters(folder: Folder, cell: Cell) -> list[str]:
    """Return where the adapters of a configuration lie, the one that stands for it first."""
    kept = kept_run_ids(folder) & {cell.config.with_seed(seed).run_id for seed in cell.seeds}
    if not kept:
        return ["Its adapters were not kept (keep: all or best in the experiment's file)."]
    chosen = choose_adapter(folder, cell.config_id)
    seed = next(seed for seed in cell.seeds if cell.config.with_seed(seed).run_id == chosen)
    others = [str(seed) for seed in cell.seeds if cell.config.with_seed(seed).run_id in kept - {chosen}]
    said = [f"Its adapter, seed {seed}{f' ({RULE})' if others else ''}:", f"  {folder}/{ADAPTERS}/{chosen}{SUFFIX}"]
    return said + (
        [f"  Beside it lie those of {'seeds' if len(others) > 1 else 'seed'} {', '.join(others)}."] if others else []
    )


def _was_tried(cell: Cell) -> bool:
    return any(count for state, count in cell.states.items() if state != UNFINISHED)


def _show(value: FieldValue) -> str:
    return "default" if value is None else format_number(value)


def _print_plain(console: Console, text: str) -> None:
    """Print text as it is, also where it is longer than a line."""
    console.print(Text(text), soft_wrap=True, end="")
