"""A model card's tables, as Markdown. What users have named is escaped; scores are in percent."""

import json
import re
from collections.abc import Mapping, Sequence

import polars as pl

from sweep.analysis.rows import rows_of
from sweep.analysis.tables import DifferenceRow
from sweep.publish.naming import without_paths
from sweep.publish.numbers import Numbers, PublishedRun
from sweep.records.states import State
from sweep.report.difference_sheets import difference_cells, explain_differences
from sweep.report.formats import to_markdown
from sweep.report.sheet import Sheet, interval, percent
from sweep.report.verdicts import judge
from sweep.report.wording import name_group
from xpe_core.config import FIELDS, RunConfig
from xpe_core.fields import FieldValue, published_values
from xpe_core.tunings import describe

NAMES = ("backbone", "dataset")
RECIPE_NOTE = re.compile(r"\s*\([^()]*recipe[^()]*\)")


def group_table(numbers: Numbers) -> str:
    """Return the score by target group."""
    rows: list[tuple[str, ...]] = []
    for row in numbers.groups.iter_rows(named=True):
        counts = (str(row["num_languages"]), str(row["num_seeds"]))
        value = row["note"] or interval(row["score"], row["low"], row["high"])
        rows.append((name_group(row["group"]), *counts, value, percent(row["spread"])))
    columns = ("tested on", "languages", "seeds", f"{numbers.results.metric_title} [95 %]", "spread over seeds")
    return _table(columns, rows, numbers.groups)


def run_table(numbers: Numbers, revisions: Mapping[int, str], reasons: Mapping[int, str]) -> str:
    """Return what each run reached and in which revision it is; under the table, why others are in none."""
    groups = [group for group in numbers.groups["group"].to_list() if any(group in s.scores for s in numbers.runs)]
    rows: list[tuple[str, ...]] = []
    for one in numbers.runs:
        best = "–" if one.best_step is None else f"{one.best_step:,}"
        scores = [percent(score) for score in (one.validation, *map(one.scores.get, groups))]
        rows.append((str(one.seed), revisions.get(one.seed, "none"), one.run_id, best, *scores))
    notes = [f"Seed {seed} is not published: {reason}." for seed, reason in reasons.items()]
    columns = ("seed", "revision", "run", "best step", "validation", *groups)
    return _table(columns, rows, numbers.groups, notes, left=3)


def language_table(numbers: Numbers) -> str:
    """Return the score by language."""
    rows: list[tuple[str, ...]] = []
    for row in numbers.languages.iter_rows(named=True):
        name = f"{row['name']} ({row['language']})" if row["name"] else row["language"]
        seen = {True: "yes", False: "no", None: "–"}[row["seen"]]
        value = interval(row["score"], row["low"], row["high"])
        ends = "–" if row["worst"] is None else f"{percent(row['worst'])} to {percent(row['best'])}"
        trained = "yes" if row["trained"] else "no"
        rows.append((name, row["family"] or "–", trained, seen, value, percent(row["spread"]), ends))
    pretraining = numbers.results.rows.facts.pretraining
    of_backbone = f"in {pretraining.title}'s pretraining" if pretraining else "in the pretraining"
    measured = (f"{numbers.results.metric_title} [95 %]", "spread", "seeds from")
    columns = ("language", "family", "trained on", of_backbone, *measured)
    return _table(columns, rows, numbers.languages, left=4)


def difference_table(numbers: Numbers) -> str:
    """Return the differences to what it is compared with, with what must be known to read them; may be empty."""
    rows: list[tuple[str, ...]] = []
    for row in rows_of(DifferenceRow, numbers.differences):
        head = (row.baseline, name_group(row.group), f"{row.num_pairs} x {row.num_languages}")
        rows.append((*head, *difference_cells(row)))
    if not rows:
        return ""
    notes = judge(numbers.differences)
    notes += [note.replace(" (compare A B --for GROUP)", "") for note in explain_differences(numbers.differences)]
    for arm, count in numbers.results.chosen_arms.items():
        notes.append(f"{arm} is the best of {count}, chosen by these seeds: its figures look better than they are.")
    columns = ("compared with", "tested on", "pairs x lang.", "difference [these lang.]", "[such lang.]")
    return _table((*columns, "p", "Holm p", "could show"), rows, numbers.differences, notes, left=2)


def recipe_table(config: RunConfig) -> tuple[str, int]:
    """Return every field of the configuration beside the published recipe's value, and how many differ (in bold)."""
    rows: list[tuple[str, ...]] = []
    strong: set[tuple[int, int]] = set()
    of_recipe, unread = RunConfig().values, describe(config).unread
    for name, value in config.settings.items():
        field = FIELDS[name]
        recipe = published_values(field) if name in of_recipe else ()
        is_read = name not in unread
        if is_read and value not in recipe and not (name in NAMES and _bare(value) in map(_bare, recipe)):
            strong |= {(len(rows), 0), (len(rows), 1), (len(rows), 2)}
        shown = _show(value) if is_read else f"{_show(value)} (not read)"
        meaning = RECIPE_NOTE.sub("", (field.description or "").split("\n")[0]).replace("`", "")
        rows.append((name, shown, " or ".join(map(_show, recipe)) or "–", meaning))
    columns = ("field", "value", "published recipe", "what it is")
    return _table(columns, rows, pl.DataFrame(), left=4, strong=frozenset(strong)), len(strong) // 3


def provenance_table(numbers: Numbers, fingerprints: Mapping[str, str]) -> str:
    """Return where the numbers come from."""
    versions = ", ".join(f"{package} {version}" for package, version in numbers.packages.items())
    origin = {
        "experiment": f"{numbers.experiment.name} ({numbers.experiment.sweep.kind})",
        "arm": numbers.cell.arm,
        "configuration (config_id)": numbers.cell.config_id,
        "code": "; ".join(numbers.values("code_version")),
        "packages": versions,
        "device": "; ".join(numbers.values("device")),
        "trained parameters": "; ".join(f"{int(value):,}" for value in numbers.values("num_trained_parameters")),
        "backbone's fingerprint": _fingerprint(numbers, "backbone"),
        "data's fingerprint": _fingerprint(numbers, "data"),
        "adapters' fingerprints": ", ".join(f"{where} {fingerprint}" for where, fingerprint in fingerprints.items()),
    }
    rows = [(what, value or "not recorded") for what, value in origin.items()]
    return _table(("what", "value"), rows, pl.DataFrame(), left=2)


def explain_missing(one: PublishedRun) -> str:
    """Return why a run has no adapter, in a few words and without paths of the machine."""
    if one.state == State.COMPLETE:
        return "its adapter was not kept"
    error = str(one.facts.get("error") or "").strip()
    return one.state + (f" ({without_paths(error.splitlines()[-1])})" if error else "")


def _fingerprint(numbers: Numbers, what: str) -> str:
    fingerprints = numbers.values(f"{what}_fingerprint") or [numbers.experiment.fingerprints.get(what, "")]
    return "; ".join(fingerprints)


def _bare(name: FieldValue) -> str:
    """Return a hub name or folder's last part as it compares."""
    return str(name).rsplit("/", 1)[-1].lower().replace("-", "")


def _show(value: FieldValue) -> str:
    return f"{value:g}" if isinstance(value, float) else json.dumps(value) if value is None else str(value)


def _table(
    columns: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
    frame: pl.DataFrame,
    notes: list[str] | None = None,
    left: int = 1,
    strong: frozenset[tuple[int, int]] = frozenset(),
) -> str:
    """Return a table without a title: the card's headings are its own."""
    sheet = Sheet("card", "", columns, tuple(rows), frame, tuple(notes or ()), strong=strong, left=left)
    return to_markdown(sheet).split("\n", 2)[2].rstrip()
