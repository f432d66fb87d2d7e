"""What a person sees of an experiment while it runs: one calm screen."""

import time

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from sweep.driver.messages import TrialReport
from sweep.planning.plan import Plan
from sweep.records.ledger import TrialRecord
from sweep.records.ranking import rank_trials
from sweep.records.states import State
from sweep.report.wording import format_percent, name_trial
from sweep.report.wrapping import wrap
from sweep.wording import format_duration, format_number, shorten
from xpe_core.tunings import METHOD_NAMES

INDENT = " " * 10
"""Of a line that goes on."""


class Screen:
    """The one screen of a running experiment; on something that is no terminal, one line a finished trial."""

    def __init__(self, console: Console, plan: Plan, records: dict[str, TrialRecord]) -> None:
        """Start from what the ledger knows of the experiment, `records`."""
        self._console = console
        self._plan = plan
        self._records = {trial_id: record for trial_id, record in records.items() if record.state}
        self._steps: dict[str, int] = {}
        self._trained: set[str] = set()
        self._started = time.monotonic()
        self._num_ended = 0
        self._live = Live(self, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> "Screen":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def listen(self, record: TrialRecord, report: TrialReport | None) -> None:
        """Take note of a started trial (no report), a report, or an end."""
        self._records[record.trial_id] = record
        self._steps[record.trial_id] = report.step if report else max(record.reports, default=0)
        if report and report.trained:
            self._trained.add(record.trial_id)
        if record.state is None:
            return
        self._num_ended += 1
        detail = f"step {self._steps[record.trial_id]}" if record.reports else ""
        if record.error:
            detail = record.error.strip().splitlines()[-1]
        line = Text.assemble(
            (f"{record.number + 1:>4}/{max(self._plan.num_trials, record.number + 1)}  ", "dim"),
            (f"{record.state:<9}", {State.COMPLETE: "green", State.PRUNED: "yellow"}.get(record.state, "red")),
            f"{format_percent(record.value):>6}  {self._describe(record)}  ",
            (detail, "dim"),
        )
        if self._console.is_terminal and line.cell_len > self._console.width:  # in a file a trial is a line
            lines = wrap(line.plain.strip(), self._console.width - 3, INDENT)
            line = Text("\n".join([f"   {lines[0]}", *lines[1:]]))
        self._console.print(line, highlight=False, soft_wrap=True)

    def say(self, sentence: str) -> None:
        """Print a sentence above what is running."""
        self._console.print(Text(f"          {sentence}", style="dim"), soft_wrap=True)

    def __rich__(self) -> Group:
        running = [record for record in self._records.values() if record.state is None]
        states = [record.state for record in self._records.values()]
        counts = Text.assemble(
            (f"{len(running)} running", "cyan"),
            f", {states.count(State.COMPLETE)} complete, {states.count(State.PRUNED)} pruned, "
            f"{sum(states.count(state) for state in (State.FAILED, State.CRASHED, State.INFEASIBLE))} failed",
            (f"   {format_duration(time.monotonic() - self._started)} gone, {self._remaining()}", "dim"),
        )
        lines = [Text(), counts]
        for record in running:
            steps = f"step {self._steps[record.trial_id]}/{record.run_config.training.max_steps}"
            if record.trial_id in self._trained or self._plan.sweep.kind == "evaluate":
                panel = self._plan.panel_of(record.run_config)
                steps = f"testing on {len(panel.target_languages)}"
            lines.append(Text(f"  {steps:<16} {format_percent(record.value):>6}  {self._describe(record)}"))
        for panel in self._plan.panels:
            for best in rank_trials(panel.sweep, self._records.values())[:1]:
                record = next(one for one in self._records.values() if one.config_id == best.subject)
                on = f" ({panel.name})" if panel.name else ""
                said = f"best so far       {format_percent(best.score):>6}  {self._describe(record)}{on}"
                lines.append(Text(said, style="bold"))
        return Group(*lines)

    def _describe(self, record: TrialRecord) -> str:
        if record.stage is not None:
            return name_trial(record)
        if record.arm is not None:
            return self._describe_arm(record.arm, record)
        values = [f"{name}={format_number(record.config[name])}" for name in self._plan.sweep.varying]
        return " ".join([f"{METHOD_NAMES[record.run_config.method]:<4}", *values])

    def _describe_arm(self, arm: str, record: TrialRecord) -> str:
        """Return on what an arm is trained, and on which targets further."""
        sources = f"{arm} on {self._plan.sweep.name_source_set(record.run_config.data.source_set)}"
        targets = list(dict.fromkeys(run.adapted_to for run in record.runs if run.adapted_to is not None))
        if not targets:
            return sources
        cap = record.run_config.data.max_train_examples
        examples = "" if cap is None else f" ({cap:,} examples)"
        starts_anew = record.runs[0].parent_run_id is None
        return (
            f"{arm} on {targets[0]} alone{examples}" if starts_anew else f"{sources}, then {shorten(targets)}{examples}"
        )

    def _remaining(self) -> str:
        """Estimate from the trials that have ended or, before, from the share of the first one's steps."""
        gone = time.monotonic() - self._started
        done = float(self._num_ended)
        for record in self._records.values():
            if record.state is None:
                done += self._steps[record.trial_id] / record.run_config.training.max_steps
        left = max(self._plan.num_trials, len(self._records)) - len([r for r in self._records.values() if r.state])
        return f"about {format_duration(gone / done * left)} to go" if done else "starting"
