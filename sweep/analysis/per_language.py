"""Score and difference to the baseline language by language, and by family and script.

Scores are in [0, 1]. A single language among many that was picked for its gain has gained less than it seems: the
largest of many noisy differences is an overestimate, so these tables describe and do not prove.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from sweep.analysis.results import Cell, Results, means_of_complete
from sweep.analysis.statistics import Array
from sweep.analysis.tables import BASELINE, estimate, find_baseline, paired
from sweep.records.ranking import SAME_DIGITS
from xpe_core.languages import find_language

NUM_EXTREMES = 3
NUM_RESAMPLES = 1_999
"""Fewer than in the main table: there are hundreds of times as many intervals."""
ROUNDING = 1e-9
"""Differences up to this are 0: means of the same counts differ by some 1e-17."""
LANGUAGE_SCHEMA = {
    "language": pl.String,
    "name": pl.String,
    "script": pl.String,
    "family": pl.String,
    "joshi_class": pl.Int64,
    "seen": pl.Boolean,
    "low_performing": pl.Boolean,
    "excluded": pl.Boolean,
}
MEASURED = {
    "num_seeds": pl.Int64,
    "score": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "baseline": pl.String,
    "num_pairs": pl.Int64,
    "difference": pl.Float64,
    "difference_low": pl.Float64,
    "difference_high": pl.Float64,
}
CELL = {"source_set": pl.String, "arm": pl.String}


@dataclass(frozen=True)
class LanguageRow:
    """A language with an arm on a source set, as `language_table` has it."""

    source_set: str
    arm: str
    language: str
    name: str | None
    script: str | None
    family: str | None
    joshi_class: int | None
    seen: bool | None
    low_performing: bool | None
    excluded: bool
    score: float | None
    low: float | None
    high: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None


def language_table(results: Results, baseline: str = BASELINE) -> pl.DataFrame:
    """Return every tested language's score with each arm and source set, and its difference to the baseline.

    Columns: source_set, arm, language, name, script, family, joshi_class, seen (in the pretraining of the experiment's
    backbone), low_performing (these null where they are not known of the language, the backbone or the task), excluded
    (whether it is in no target group), num_seeds (complete runs that were tested on it), score, low and high (95 %
    interval over seeds), baseline, num_pairs, difference (paired by seed), difference_low and difference_high.
    Intervals: `statistics.seed_interval`.
    """
    each = [(code, [index]) for index, code in enumerate(results.languages)]
    measured = _measure(results, baseline, each, "language")
    table = measured.join(describe_languages(results), on="language", how="left", maintain_order="left")
    return table.select(*CELL, *LANGUAGE_SCHEMA, *MEASURED)


def extremes(table: pl.DataFrame, count: int = NUM_EXTREMES) -> pl.DataFrame:
    """Return, of `language_table`, the languages that gain and lose most with each arm and source set.

    Its columns and `rank`: 1, 2, ... for the greatest gains, -1, -2, ... for the greatest losses (a difference of 0 is
    neither). Excluded languages are left out.
    """
    cells = table.filter(~pl.col("excluded") & pl.col("difference").is_not_null()).sort(
        "source_set", "arm", pl.col("difference").round(SAME_DIGITS), "language", maintain_order=True
    )
    by_cell = ["source_set", "arm"]
    last, first = pl.col("difference").rank("ordinal", descending=True), pl.col("difference").rank("ordinal")
    gains = cells.filter(pl.col("difference") > ROUNDING).with_columns(rank=last.over(by_cell).cast(pl.Int64))
    losses = cells.filter(pl.col("difference") < -ROUNDING).with_columns(rank=-first.over(by_cell).cast(pl.Int64))
    both = pl.concat([gains, losses]).filter(pl.col("rank").abs() <= count)
    both = both.sort(pl.col("rank") < 0, pl.col("rank").abs())
    order = table.select(by_cell).unique(maintain_order=True)
    return order.join(both, on=by_cell, how="inner", maintain_order="left_right")


def kinship_table(results: Results, by: str, baseline: str = BASELINE) -> pl.DataFrame:
    """Return score and difference by `family` or `script`, excluded languages left out; largest kinds first.

    Columns: source_set, arm, the kind, num_languages, and those of `language_table` from num_seeds on. A seed that
    lacks one of the kind's languages is not counted.
    """
    kinds: dict[str, list[int]] = {}
    for index, code in enumerate(results.languages):
        language = find_language(code)
        if language is not None and code not in results.excluded:
            kinds.setdefault(language.family if by == "family" else language.script, []).append(index)
    ordered = sorted(kinds.items(), key=lambda kind: (-len(kind[1]), kind[0]))
    counts = [(kind, len(indices)) for kind, indices in ordered]
    sizes = pl.DataFrame(counts, schema={by: pl.String, "num_languages": pl.Int64}, orient="row")
    measured = _measure(results, baseline, ordered, by)
    return measured.join(sizes, on=by, maintain_order="left").select(*CELL, by, "num_languages", *MEASURED)


def describe_languages(results: Results) -> pl.DataFrame:
    """Return the tested languages with what is known of them."""
    facts = results.rows.facts
    rows: list[dict[str, object]] = []
    for code in results.languages:
        row: dict[str, object] = {"language": code, "excluded": code in results.excluded}
        if (language := find_language(code)) is not None:
            row |= {name: vars(language)[name] for name in LANGUAGE_SCHEMA if name in vars(language)}
            row |= {"seen": facts.is_seen(language.code), "low_performing": facts.is_low_performing(language.code)}
        rows.append(row)
    return pl.DataFrame(rows, schema=LANGUAGE_SCHEMA)


def _measure(results: Results, baseline: str, kinds: Sequence[tuple[str, list[int]]], name: str) -> pl.DataFrame:
    """Return score and difference over the languages of each kind, for every arm and source set."""
    rows: list[dict[str, object]] = []
    own: list[Array] = []
    pairs: list[Array] = []
    by_arm = {(cell.arm, cell.source_set): cell for cell in results.shown}
    partners = {arm: find_baseline(results, arm, baseline) for arm in results.arms}
    for cell in results.shown:
        partner = by_arm.get((partners[cell.arm] or "", cell.source_set))
        differences = _differences(cell, partner)
        for kind, indices in kinds:
            own.append(means_of_complete(cell.scores[:, indices]))
            pairs.append(np.empty(0) if differences is None else means_of_complete(differences[:, indices]))
            row: dict[str, object] = {"source_set": cell.source_set, "arm": cell.arm, name: kind}
            compared = None if partner is None or partner is cell else partner.arm
            rows.append(row | {"num_seeds": len(own[-1]), "baseline": compared, "num_pairs": len(pairs[-1])})
    means, changes = estimate(own, NUM_RESAMPLES), estimate(pairs, NUM_RESAMPLES, lowest=-1.0)
    for row, mean, change in zip(rows, means, changes, strict=True):
        row |= {"score": mean.mean, "low": mean.low, "high": mean.high, "difference": change.mean}
        row |= {"difference_low": change.low, "difference_high": change.high}
    return pl.DataFrame(rows, schema={**CELL, name: pl.String, **MEASURED})


def _differences(cell: Cell, partner: Cell | None) -> Array | None:
    if partner is None or partner is cell or cell.disputed or partner.disputed:
        return None
    return paired(cell, partner)
