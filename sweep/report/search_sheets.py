"""What searches promised, what mattered in them, and how their trials learnt, as people read it."""

from sweep.analysis.report_data import ReportData
from sweep.report.sheet import Sheet, interval, percent, points, sections


def curse_sheets(data: ReportData) -> list[Sheet]:
    """Return what searches promised and replications held."""
    rows: list[tuple[str, ...]] = []
    for row in data.curse.iter_rows(named=True):
        promise = f"{percent(row['search_score'])} ({row['num_search_seeds']})"
        held = interval(row["replication_score"], row["low"], row["high"]) + f" ({row['num_seeds']})"
        rows.append((row["arm"], row["measure"], promise, row["note"] or held, points(row["difference"])))
    if not rows:
        return []
    notes = (
        "A search's best looks better than it is: it was chosen because its seeds were lucky, too. In brackets: seeds. "
        "Only the replication's figures may be quoted; whether they are really better says its own report: "
        + ", ".join(f"report {name}" for name in data.curse["replication"].unique(maintain_order=True)),
    )
    columns = ("arm", "measure", "search (seeds)", "replication [95 %] (seeds)", "difference")
    title = "The winner's curse: promised and held, in %"
    return [Sheet("winners-curse", title, columns, tuple(rows), data.curse, notes, left=2)]


def front_sheets(data: ReportData) -> list[Sheet]:
    """Return the Pareto front of low-performing against seen languages."""
    front = data.front.filter("on_front")
    if front.is_empty():
        return []
    rows: list[tuple[str, ...]] = []
    for row in front.iter_rows(named=True):
        name = (row["arm"], row["source_set"], row["config_id"][:8], str(row["num_seeds"]))
        rows.append((*name, percent(row["seen"]), percent(row["low_performing"])))
    notes = (
        f"No other of the {len(data.front)} finished configurations is better on both. Means over few seeds: a "
        "point that is on the front by little may not belong there.",
    )
    columns = ("arm", "trained on", "config", "seeds", "seen", "low-performing")
    title = "The trade-off: Pareto front of low-performing against seen languages, in %"
    return [Sheet("trade-off", title, columns, tuple(rows), data.front, notes, left=3)]


def importance_sheets(data: ReportData) -> list[Sheet]:
    """Return which searched fields mattered."""
    rows: list[tuple[str, ...]] = []
    for experiment, part in sections(data.importances, "experiment"):
        rows.append((f"{experiment}, {part['num_trials'][0]} complete trials",))
        rows += [(row["field"], f"{row['importance']:.2f}") for row in part.iter_rows(named=True)]
    title = f"What mattered: importance for the validation {data.chosen_by} (Optuna's PED-ANOVA, adds up to 1)"
    explained = f"0.5: half of what the fields explain of the trials' validation {data.chosen_by}."
    notes = (f"{explained} Few trials say little of it.",)
    return [Sheet("importance", title, ("field", "importance"), tuple(rows), data.importances, notes)] if rows else []


def rung_sheets(data: ReportData) -> list[Sheet]:
    """Return what happened at each rung of a search, and all learning curves as data."""
    rows: list[tuple[str, ...]] = []
    for experiment, part in sections(data.rungs, "experiment"):
        rows.append((experiment,))
        for row in part.iter_rows(named=True):
            counts = (str(row["num_reached"]), str(row["num_stopped"]))
            rows.append((str(row["step"]), *counts, percent(row["median"]), percent(row["best"])))
    columns = ("step", "trials", "stopped here", "median", "best")
    title = f"Learning curves at ASHA's rungs: validation {data.chosen_by} in %"
    notes = (
        "A rung is a step at which trials are compared, and the worse ones are stopped (ASHA).",
        f"trials: how many came so far; median and best: of their validation {data.chosen_by}.",
    )
    return [Sheet("rungs", title, columns, tuple(rows), data.rungs, notes)] if rows else []
