"""A report's tables of supervised transfer: each target before and after, and the learning curve over its examples."""

from collections.abc import Iterable, Iterator

import polars as pl

from sweep.analysis.report_data import ReportData
from sweep.analysis.rows import rows_of
from sweep.analysis.statistics import MIN_SEEDS
from sweep.analysis.transfers import TransferRow
from sweep.records.states import State
from sweep.report.answer_sheets import NO_INTERVAL, few_seeds_line
from sweep.report.sheet import Sheet, interval, join_names, p_value, percent, points, sections
from sweep.report.wording import capitalise


def transfer_sheets(data: ReportData) -> list[Sheet]:
    """Return each target's scores, and the learning curves where there are several numbers of examples."""
    if data.transfers.is_empty():
        return []
    has_scratch = bool(data.transfers["scratch"].count())
    rows: list[tuple[str, ...]] = []
    for home, of_experiment in _by_experiment(data.transfers):
        for source_set, of_source in sections(of_experiment, "source_set"):
            for arm, of_arm in sections(of_source, "arm"):
                rows.append((f"{home}{arm}, trained on {source_set}",))
                rows += [_cells(row, has_scratch, _is_trained_on(data, row)) for row in rows_of(TransferRow, of_arm)]
    columns = ("further on", "examples", "zero-shot", "supervised\n[95 %]", "difference\n[95 %]")
    scratch = ("from scratch\n[95 %]", "gain over it\n[95 %]") if has_scratch else ()
    title = f"Supervised on each target, beside zero-shot: test {data.metric} in %"
    sheet = Sheet(
        "transfer", title, (*columns, *scratch), tuple(rows), data.transfers, _notes(data, has_scratch), left=2
    )
    return [sheet, *_curve_sheets(data)]


def name_target(row: TransferRow) -> str:
    """Return what a row is of."""
    return f"mean of {row.num_languages}" if row.language is None else row.language


def name_examples(row: TransferRow) -> str:
    """Return how many examples of a target are trained on."""
    return "all" if row.max_train_examples is None else f"{row.max_train_examples:,}"


def _by_experiment(table: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield each experiment's rows, with its name as it stands before others where there are several."""
    several = table["experiment"].n_unique() > 1
    for name, rows in sections(table, "experiment"):
        yield (f"{name}: " if several else ""), rows


def _is_trained_on(data: ReportData, row: TransferRow) -> bool:
    """Whether a row's source set trains on its target, so that the score before is no zero-shot score."""
    return row.language in data.results.rows.trained.get(row.source_set, ())


def _cells(row: TransferRow, has_scratch: bool, is_trained_on: bool) -> tuple[str, ...]:
    counts = [f"{row.num_seeds} seed{'' if row.num_seeds == 1 else 's'}"]
    for state, count in ((State.FAILED, row.num_failed), (State.UNFINISHED, row.num_unfinished)):
        counts += [f"{count} {state}"] if count else []
    own = f"{interval(row.score, row.low, row.high)}\n{', '.join(counts)}"
    change = interval(row.difference, row.difference_low, row.difference_high, points) + _test(row.difference_p_holm)
    before = percent(row.zero_shot) + (" *" if is_trained_on else "")
    cells = (name_target(row), name_examples(row), before, own, change)
    if not has_scratch:
        return cells
    scratch = interval(row.scratch, row.scratch_low, row.scratch_high)
    gain = interval(row.gain, row.gain_low, row.gain_high, points) + _test(row.gain_p_holm)
    return (*cells, scratch, gain)


def _test(p_holm: float | None) -> str:
    """Return the line below a difference; none where there were too few seeds to test it."""
    return "" if p_holm is None else f"\nHolm p {p_value(p_holm)}"


def _curve_sheets(data: ReportData) -> list[Sheet]:
    """Return scores by the number of examples across, the mean over targets where there are several."""
    table = curve_rows(data.transfers)
    counts = list(dict.fromkeys(name_examples(row) for row in rows_of(TransferRow, table)))
    if len(counts) < 2:
        return []
    rows: list[tuple[str, ...]] = []
    parts = [
        (f"{home}trained on {source_set}", of_source)
        for home, of_experiment in _by_experiment(table)
        for source_set, of_source in sections(of_experiment, "source_set")
    ]
    for heading, of_source in parts:
        rows.append((heading,))
        for arm, of_arm in sections(of_source, "arm"):
            by_count = {name_examples(row): row for row in rows_of(TransferRow, of_arm)}
            # of any number of examples: a row knows it of the seeds that have been trained further
            zero_shot = next((row.zero_shot for row in by_count.values() if row.zero_shot is not None), None)
            rows.append((f"{arm}, further", percent(zero_shot), *_across(by_count.get(count) for count in counts)))
            if any(row.scratch is not None for row in by_count.values()):
                alone = (percent(row.scratch if row else None) for row in map(by_count.get, counts))
                rows.append((f"{arm}, from scratch", "–", *alone))
    title = f"{capitalise(data.metric)} in % by the number of a target's examples, mean over targets"
    columns = ("arm", "0: zero-shot", *counts)
    note = "More examples of a seed hold its fewer ones, so columns are paired. Intervals are in the table above."
    return [Sheet("transfer-curves", title, columns, tuple(rows), table, (note,))]


def curve_rows(table: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that a learning curve is drawn of: of each experiment the means over targets, or its only one."""
    with_means = table.filter(pl.col("language").is_null())["experiment"].unique()
    return table.filter(pl.col("language").is_null() | ~pl.col("experiment").is_in(with_means.implode()))


def _across(rows: Iterable[TransferRow | None]) -> Iterable[str]:
    return (percent(row.score if row else None) for row in rows)


def _notes(data: ReportData, has_scratch: bool) -> tuple[str, ...]:
    notes = ["A target's examples are trained on and chosen by here; zero-shot is the same seeds before that."]
    if trained_on := [row for row in rows_of(TransferRow, data.transfers) if _is_trained_on(data, row)]:
        names = join_names(sorted({f"{row.language} ({row.source_set})" for row in trained_on}))
        notes.append(f"* not zero-shot: the source set trains on it: {names}. Means over targets hold it, too.")
    if has_scratch:
        notes.append("From scratch: on the target alone, from new weights. Both differences are paired by seed.")
    tested = data.transfers.select("difference_p_holm", "gain_p_holm").unpivot()["value"].drop_nulls()
    if len(tested):
        notes.append(
            f"Holm p: exact sign-flip test over seeds, corrected for all {len(tested)} differences with "
            f"{MIN_SEEDS} pairs or more."
        )
    elif few := [count for count in data.transfers["num_seeds"].to_list() if 0 < count < MIN_SEEDS]:
        notes.append(few_seeds_line(few))
    if data.transfers.filter(pl.col("score").is_not_null() & pl.col("low").is_null()).height:
        notes.append(NO_INTERVAL)
    return tuple(notes)
