"""What an experiment will do, before it does it: its plan, and what it takes."""

from collections import Counter

from rich.console import Console
from rich.text import Text

from sweep.cluster.capacity import Capacity, Share
from sweep.cluster.machine import describe_machine
from sweep.experiment.config import SweepConfig
from sweep.experiment.search import Search
from sweep.experiment.space import Dimension
from sweep.experiment.study import Study
from sweep.planning.checks import estimate_bytes
from sweep.planning.estimate import estimate
from sweep.planning.panel import Panel
from sweep.planning.plan import Plan
from sweep.planning.resuming import describe_restart
from sweep.report.terminal import Facts
from sweep.storage import Folder
from sweep.wording import count_nouns, format_duration, format_number, shorten
from xpe_core.data.tokens import TokenisedData
from xpe_core.tasks import TASKS
from xpe_core.tasks.metrics import title_of
from xpe_core.tunings import describe


def print_plan(console: Console, plan: Plan, folder: Folder) -> None:
    """Print what the experiment will do."""
    sweep, config = plan.sweep, plan.sweep.corners[0]
    table = Facts()
    if sweep.kind == "evaluate":
        print_evaluation(console, plan, folder)
        return
    table.add_row("experiment", f"{plan.name}: {_say_size(plan)}")
    for number, panel in enumerate(plan.panels):
        if panel.name:
            table.add_row("panel", Text(panel.name))
        _add_data(table, panel)
        if number == 0:
            _add_places(table, plan)
        _add_languages(table, panel)
    early = _say_early_stopping(sweep) if isinstance(sweep, Search | Study) else ""
    table.add_row("steps", f"{config.training.max_steps:,} of batch {config.training.batch_size}{early}")
    _add_varying(table, sweep)
    for panel in plan.panels:
        _add_further(table, panel)
    table.add_row("results", Text(str(folder)))
    _add_circumstances(table, plan, folder)
    console.print(table)


def _add_data(table: Facts, panel: Panel) -> None:
    """Say what is asked, of which backbone, on which data."""
    config = panel.config
    table.add_row("task", TASKS[config.task].title)
    table.add_row("backbone", Text(config.backbone))
    table.add_row("data", Text(f"{config.data.dataset} ({_count(panel.data)})"))
    for note in panel.data.notes:
        table.add_row("", Text(note))


def _add_languages(table: Facts, panel: Panel) -> None:
    """Say in which languages it is trained, chosen and tested."""
    sweep = panel.sweep
    table.add_row("trained on", ", ".join(map(sweep.name_source_set, sweep.used_source_sets)))
    chosen_by = shorten(panel.selection_languages) or "each run's own source languages (its best step)"
    table.add_row("chosen by", f"validation {title_of(TASKS[panel.config.task].metrics[0])} on {chosen_by}")
    table.add_row("tested on", count_nouns(len(panel.target_languages), "language"))
    if panel.chosen_by_targets:
        table.add_row("not zero-shot", f"{shorten(panel.chosen_by_targets)} are tested on and take part in the choice")
    _add_notes(table, panel)


def _add_notes(table: Facts, panel: Panel) -> None:
    for source_set, count in panel.trained_on_targets.items():
        table.add_row("not zero-shot", f"{source_set} trains on {count} of the tested languages")
    for note in (*panel.rows.explain(sorted(panel.target_languages)), *panel.notes):
        table.add_row("note", Text(note))


def _add_further(table: Facts, panel: Panel) -> None:
    """Say what a transfer goes on to."""
    sweep = panel.sweep
    if sweep.kind != "transfer":
        return
    caps = [("all" if cap is None else f"{cap:,}") for cap in sweep.targets.max_train_examples]
    starts = "from the source-trained parts" + (" and from new weights" if sweep.targets.from_scratch else "")
    languages = count_nouns(len(panel.further_languages), "language")
    config = panel.further_cells[0].config
    steps = f"{config.training.max_steps:,} steps of batch {config.training.batch_size}"
    num_runs = sum(workload.num_runs for workload in panel.workloads) - sweep.num_runs
    table.add_row("further on", f"{languages}, each by itself: {shorten(panel.further_languages)}")
    table.add_row("", f"{', '.join(caps)} train examples, {starts}: {num_runs:,} runs of {steps}")


def _add_varying(table: Facts, sweep: SweepConfig) -> None:
    """Say what differs between the configurations."""
    if sweep.kind == "study":
        for name, method in sweep.methods.items():
            fixed = " ".join(f"{key}={format_number(value)}" for key, value in method.base.items())
            table.add_row("method", Text(f"{name}: {fixed or 'as in base'}"))
            _add_space(table, sweep.searches[name])
        return
    if sweep.kind != "search":
        for arm, values in sweep.arms.items():
            shown = " ".join(f"{name}={format_number(value)}" for name, value in values.items())
            table.add_row("arm", Text(f"{arm}: {shown}"))
        return
    _add_space(table, sweep)


def _say_size(plan: Plan) -> str:
    """Return what kind of experiment it is, how large, and with which seeds."""
    sweep = plan.sweep
    if sweep.kind != "study":
        return f"{sweep.kind} of {plan.num_configurations} configurations, seeds {shorten(sweep.seeds)}"
    budget = sweep.budget
    most = (
        count_nouns(budget.trials, "configuration")
        if budget.trials
        else f"{budget.steps:,} steps"
        if budget.steps
        else f"{budget.device_hours:g} device-hours"
    )
    return (
        f"study of {count_nouns(len(sweep.methods), 'method')}, each searched with {most} (seeds "
        f"{shorten(sweep.seeds)}); winners and default settings on seeds {shorten(sweep.replication_seeds)}"
    )


def _add_space(table: Facts, sweep: Search) -> None:
    """Say what a search varies."""
    for name, dimension in sweep.space.items():
        table.add_row("searched", f"{name} {_describe(dimension)}")
    for lists in sweep.zipped:
        table.add_row("searched", f"{', '.join(lists)} together, {len(next(iter(lists.values())))} values")


def print_evaluation(console: Console, plan: Plan, folder: Folder) -> None:
    """Print which adapters are tested on what."""
    sweep, panel = plan.sweep, plan.panel
    table = Facts()
    table.add_row(
        "experiment", f"{plan.name}: {count_nouns(sweep.num_runs, 'adapter')} to be tested, nothing is trained"
    )
    _add_data(table, panel)
    _add_places(table, plan)
    rows = panel.data.select(panel.target_languages, "test", sweep.evaluation.max_examples)
    table.add_row("tested on", f"{count_nouns(len(panel.target_languages), 'language')}, {len(rows):,} texts")
    for (arm, _), corner in zip(sweep.cells, sweep.corners, strict=True):
        size = describe(corner).size
        what = f"{corner.method}, {f'{size}, ' if size else ''}trained on {corner.data.source_set}"
        table.add_row("arm", Text(f"{arm}: {what}; seeds {shorten(sweep.seeds_of(arm))}"))
    _add_notes(table, panel)
    table.add_row("results", Text(str(folder)))
    _add_circumstances(table, plan, folder)
    console.print(table)


def _add_circumstances(table: Facts, plan: Plan, folder: Folder) -> None:
    """Say what an earlier start has left, and what else happens on this machine."""
    if (restart := describe_restart(plan, folder)) is not None:
        table.add_row("so far", restart)
    for sentence in describe_machine():
        table.add_row("machine", Text(sentence))


def print_estimate(
    console: Console, plan: Plan, folder: Folder, share: Share, rate: float, measured: bool, price: float | None
) -> None:
    """Print what the experiment takes at most, at a trial's `rate` of operations a second, measured or stated."""
    needed = estimate(plan)
    capacity = Capacity(share, plan.sweep.resources.max_concurrent_trials)
    device = f"{share.gpus:g} GPU{'s' if share.gpus > 1 else ''}" if share.gpus else f"{share.cpus} CPUs"
    table = Facts()
    packs = f"{needed.num_trials:,} packs of {_say_pack_size(plan)} runs"
    table.add_row("trials", f"{packs}: {needed.num_runs:,} runs in all")
    runs_of: Counter[str] = Counter()
    for workload in plan.workloads:
        if workload.name is not None:
            runs_of[workload.name] += workload.num_runs
    for arm, num_runs in runs_of.items():
        table.add_row("", f"{arm}: {num_runs} runs")
    table.add_row("steps", f"{needed.num_steps:,}, of {needed.num_tokens:,} text tokens")
    table.add_row("operations", f"{needed.num_operations:.3g}, training, validation and test")
    source = f"measured here in a trial with {device}" if measured else "as stated"
    table.add_row("rate", f"{rate / 1e12:.3g} x 10^12 operations a second, {source}")
    slots, hours = min(capacity(), needed.num_trials), needed.hours(rate)
    at_once = f"{slots} at once, each with {device} ({min(capacity.num_up, slots)} of {slots} up now)"
    table.add_row("nodes", f"every trial fits; {at_once}")
    unit = f"{'GPU' if share.gpus else 'device'}-hours"
    amount = hours * (share.gpus or 1)
    table.add_row("time", f"{format_duration(3600 * hours / slots)} with {slots} at once; {amount:,.1f} {unit} in all")
    if price is not None:
        table.add_row("money", f"{amount * price:,.2f} at {price:g} an hour of one {'GPU' if share.gpus else 'device'}")
    if plan.sweep.is_searched:
        table.add_row("", "at most: what early stopping saves is not known before")
    table.add_row("storage", f"can be written; {estimate_bytes(plan, folder, slots) / 2**20:,.1f} MiB at most")
    console.print(table)


def _say_pack_size(plan: Plan) -> str:
    """Return how many runs train together; a transfer's second stage has other packs than its first."""
    return f"up to {plan.largest_pack}" if plan.sweep.kind == "transfer" else str(plan.pack_size)


def _add_places(table: Facts, plan: Plan) -> None:
    """Say what lies elsewhere than where the experiment found it first."""
    for name, location in plan.places.items():
        table.add_row("found at", Text(f"{location} (the same content as {name}, whose name stays)"))


def _say_early_stopping(sweep: Search | Study) -> str:
    if sweep.scheduler.grace_period < sweep.longest:
        return "; the worse trials end early (ASHA)"
    return f"; no trial ends early: ASHA leaves each its first {sweep.scheduler.grace_period:,} steps"


def _count(data: TokenisedData) -> str:
    """Return how many languages, texts and classes a data set has, or how many questions and windows."""
    languages = count_nouns(len(data.languages), "language")
    if data.windows is not None:
        return f"{languages}, {data.windows.num_examples:,} questions in {len(data.labels):,} windows"
    return f"{languages}, {len(data.labels):,} texts, {len(data.label_names)} classes"


def _describe(dimension: Dimension) -> str:
    if dimension.choice is not None:
        return "in " + ", ".join(format_number(value) for value in dimension.choice)
    if dimension.tied is not None:
        return f"= {dimension.tied}" + (f" x {format_number(dimension.times)}" if dimension.times != 1 else "")
    low, high = dimension.bounds
    step = f" in steps of {format_number(dimension.step)}" if dimension.step else ""
    return f"from {format_number(low)} to {format_number(high)}{', logarithmic' if dimension.log_uniform else step}"
