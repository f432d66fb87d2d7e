"""What was run: in a line at a report's top, and in a table of what distinguishes the arms."""

from collections.abc import Sequence
from pathlib import Path

from sweep.analysis.report_data import ReportData
from sweep.analysis.results import Cell
from sweep.report.sheet import Sheet
from xpe_core.config import DEFAULTS, FIELDS, list_settings
from xpe_core.fields import Mark, is_marked

NOT_KNOWN = "not known"
"""Stands for what an adapter that was trained elsewhere does not say."""


def setup_line(data: ReportData) -> str:
    """Return what all arms share, as far as one must know it to read a number."""
    configs = [cell.config for cell in data.results.shown]
    if not configs:
        return "no configuration has come to its end yet"
    names = {
        "backbone": {config.backbone for config in configs},
        "dataset": {config.data.dataset for config in configs},
    }
    parts = [f"{field} {_join({_short(name) for name in own})}" for field, own in names.items()]
    counts = [len(cell.seeds) for cell in data.results.shown if cell.seeds]
    seeds = f"{min(counts)} to {max(counts)}" if len(set(counts)) > 1 else f"{max(counts, default=0)}"
    return f"{', '.join(parts)}; {seeds} seed{'' if seeds == '1' else 's'}; {len(data.results.languages)} languages"


def setup_sheets(data: ReportData) -> list[Sheet]:
    """Return what distinguishes the arms, and in the note what they share."""
    cells = data.results.shown
    if not cells:
        return []
    fields = [name for name in list_settings(cell.config for cell in cells) if name != "source_set"]
    varied = [name for name in fields if len({cell.config.known.get(name, NOT_KNOWN) for cell in cells}) > 1]
    rows = []
    for arm in data.results.arms:
        own = [cell for cell in cells if cell.arm == arm]
        if len({_values(cell, varied) for cell in own}) == 1:
            rows.append((arm, "all" if len(own) > 1 else own[0].source_set, *_values(own[0], varied)))
        else:
            rows += [(arm, cell.source_set, *_values(cell, varied)) for cell in own]
    known = cells[0].config.known
    shared = [
        f"{name}={_show(known.get(name, NOT_KNOWN))}"
        for name in fields
        if name not in varied
        and (is_marked(FIELDS[name], Mark.SAID) or (name in known and known[name] != DEFAULTS[name]))
    ]
    notes = (f"The same for all: {', '.join(shared)}.",)
    frame = data.main.select("arm", "source_set", "config_id").unique(maintain_order=True)
    columns = ("arm", "trained on", *varied)
    return [Sheet("setup", "What was run", columns, tuple(rows), frame, notes, left=2)]


def _values(cell: Cell, fields: Sequence[str]) -> tuple[str, ...]:
    return tuple(_show(cell.config.known.get(name, NOT_KNOWN)) for name in fields)


def _show(value: object) -> str:
    if value is None:
        return "default"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _short(name: str) -> str:
    """Return a name on the hub as it is, and of a path the last part."""
    return Path(name).name if name.startswith(("/", ".", "~")) else name


def _join(values: set[str]) -> str:
    return " and ".join(sorted(values))
