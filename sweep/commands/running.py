"""An experiment at the command line: run on the screen, estimated in a dry run, and what is said at its end."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from shlex import quote

import typer
from rich.console import Console

from sweep.analysis import first_error, read_runs
from sweep.cluster.capacity import is_up
from sweep.cluster.command_line import how_to_go_on
from sweep.cluster.start import start_ray
from sweep.driver.evaluation_trial import EvaluationTrainable
from sweep.driver.messages import TrialReport
from sweep.driver.stopping import Stopped
from sweep.driver.trial import PackTrainable
from sweep.driver.tuner import best_name, run_experiment, winner_name
from sweep.logs.live import LiveLogs
from sweep.planning.checks import check_start
from sweep.planning.estimate import measure_rate
from sweep.planning.packing import size_packs
from sweep.planning.plan import Plan
from sweep.records.ledger import TrialRecord, Usage, read_ledger
from sweep.report import Screen, print_answer, print_estimate, print_replication, print_study
from sweep.storage import Folder
from xpe_core.errors import InputError
from xpe_core.steps import listening, long_step


def drive(
    console: Console, plan: Plan, folder: Folder, limits: tuple[float, float], places: Mapping[str, Path | None]
) -> None:
    """Run what is left of an experiment, on the screen and in the tools that have `places`; exit where it is stopped.

    `limits` are hours and GPU-hours in all.
    """
    trainable = EvaluationTrainable if plan.sweep.kind == "evaluate" else PackTrainable
    try:
        with Screen(console, plan, read_ledger(folder)) as screen, LiveLogs(places, folder, screen.say) as logs:

            def listen(record: TrialRecord, report: TrialReport | None) -> None:
                screen.listen(record, report)
                logs.listen(record, report)

            with listening(None):  # the screen shows what is done
                run_experiment(plan, folder.parent, listen, Usage(*limits), trainable, screen.say)
    except Stopped as stopped:
        message = f"{str(stopped).capitalize()}. Nothing that was finished is lost: {how_to_go_on()}"
        console.print(message, soft_wrap=True, markup=False, highlight=False)
        raise typer.Exit(stopped.exit_code) from None


def print_end(console: Console, plan: Plan, folder: Folder, there: str) -> None:
    """Print the answer and what can be done with it; `there` is the option that names the storage.

    InputError where a search has completed no trial.
    """
    name = quote(plan.name)
    print_answer(console, plan, folder)
    console.print(f"Per-language results: {folder / 'runs'} and {folder / 'evaluations'} (Parquet)", soft_wrap=True)
    if plan.sweep.kind == "search":
        best = best_name(plan.name)
        if folder.read(best) is None:
            raise InputError(f"no trial of {plan.name} was completed: {first_error(read_runs(folder))}")
        console.print(
            f"Run the best again:   python sweep/run.py search {quote(str(folder / best))}{there}", soft_wrap=True
        )
        console.print(f"Is it really better?  python sweep/run.py replicate {name}{there}", soft_wrap=True)
    if plan.sweep.kind == "study":
        for file in [winner_name(plan.name, method) for method in plan.sweep.methods]:
            if folder.read(file) is not None:
                again = f"python sweep/run.py search {quote(str(folder / file))}{there}"
                console.print(f"Run it again:         {again}", soft_wrap=True)
    console.print(f"Tables and charts:    python sweep/run.py report {name} --format html{there}", soft_wrap=True)
    if plan.sweep.kind != "evaluate" and plan.sweep.keep != "none":
        arm = "" if len(plan.panels) == 1 else " --arm ARM"
        what = f"python sweep/run.py export {name}{arm} --to FOLDER{there}"
        console.print(f"Use what it learnt:   {what}", soft_wrap=True)
    if plan.sweep.kind == "replicate":
        print_replication(console, folder)
    if plan.sweep.kind == "study":
        print_study(console, folder)


def estimate(console: Console, plan: Plan, folder: Folder, tflops: float | None, price: float | None) -> None:
    """Make the checks of a start, and print what the experiment would take."""
    with ExitStack() as stack:
        with long_step("Checking nodes and storage"):
            stack.enter_context(start_ray())
            share = check_start(plan, folder)
        if plan.sweep.kind == "evaluate":
            return
        if is_up(share):  # to wait for a node would be to start one
            with long_step("Measuring how much memory a run takes"):
                plan = size_packs(plan, share)
        with long_step("Measuring a few training steps"):
            rate = tflops * 1e12 if tflops else measure_rate(plan, share)
        print_estimate(console, plan, folder, share, rate, measured=not tflops, price=price)
