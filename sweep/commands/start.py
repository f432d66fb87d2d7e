"""The start of an experiment, whichever command asks for it: prepare it, say what will run, run it, and answer."""

import signal
import sys
from collections.abc import Callable, Collection
from dataclasses import replace
from shlex import quote
from typing import TYPE_CHECKING

from rich.console import Console

from sweep.cluster.address import find_address
from sweep.cluster.command_line import how_to_go_on
from sweep.commands.options import RunOptions, StartOptions
from sweep.driver.interrupts import NAMES, answered
from sweep.experiment.config import SweepConfig
from sweep.logs.tools import find_log_folders, parse_tools
from sweep.planning.languages import fit_panels
from sweep.storage.names import find_problem, normalise_name
from xpe_core.errors import InputError
from xpe_core.steps import long_step

if TYPE_CHECKING:
    from sweep.planning.plan import Plan

PATIENCE_SECONDS = 5.0
"""After Ctrl-C before the first trial, until the process is ended even where it is in the middle of something."""


def start(
    default_name: str,
    sweep: SweepConfig,
    options: RunOptions,
    prepare_plan: "Callable[[SweepConfig], Plan] | None" = None,
    find_known_locations: Callable[[], dict[str, str]] | None = None,
    open_keys: Collection[str] = frozenset(),
) -> None:
    """Prepare an experiment, say what it will do, run what is left of it, and print the answer.

    `prepare_plan` makes another plan than that of the experiment alone; `find_known_locations` says where data and
    backbone lie now; `open_keys` say of languages what was meant for another data set.
    """
    name = normalise_name(options.name or default_name)
    if problem := find_problem(name):
        raise InputError(f"the experiment's name {name!r} {problem}; give it another one with --name")
    find_address()  # a mistake in RAY_ADDRESS is answered before anything takes long
    console = Console()

    def say(sentence: str) -> None:
        console.print(sentence, soft_wrap=True, markup=False, highlight=False)

    with answered(say, _answer_before, _leave, PATIENCE_SECONDS):
        _start_named(console, name, sweep, options, prepare_plan, find_known_locations, open_keys)


def check_tools(options: RunOptions) -> tuple[str, ...]:
    """Return the tools of `--log-to`; InputError where one is unknown or not installed."""
    return parse_tools("--log-to", options.log_to or ())


def pin_seeds(seeds: str | None) -> list[str]:
    """Return `--seeds` as an override."""
    return [f"seeds={seeds}"] if seeds is not None else []


def check_kind(sweep: SweepConfig, kind: str, experiment: str) -> None:
    """InputError that names the command, where an experiment is of another kind."""
    if sweep.kind != kind:
        raise InputError(f"{experiment} is a {sweep.kind}: python sweep/run.py {sweep.kind} {experiment}")


def _start_named(
    console: Console,
    name: str,
    sweep: SweepConfig,
    options: RunOptions,
    prepare_plan: "Callable[[SweepConfig], Plan] | None",
    find_known_locations: Callable[[], dict[str, str]] | None,
    open_keys: Collection[str],
) -> None:
    if prepare_plan is None and find_known_locations is None:  # nothing has moved
        with long_step("Reading data"):
            fit_panels(sweep, open_keys)  # a misspelt language is answered before the slow imports below

    with long_step("Loading Torch and Ray"):
        from sweep.commands import running
        from sweep.planning.moved import keep_names
        from sweep.planning.plan import prepare
        from sweep.records.specification import refuse_another, specify
        from sweep.report import print_plan
        from sweep.storage import Folder

    folder = Folder(options.storage) / name
    folder.check_writable()
    places = find_log_folders(check_tools(options), folder, options.log_dir)
    with long_step("Preparing backbone and data"):
        moved = keep_names(sweep, folder, find_known_locations() if find_known_locations else {})
        plan = prepare_plan(moved.sweep) if prepare_plan else prepare(name, moved.sweep, open_keys)
        older = moved.older_fingerprints if plan.older_data else ()  # none where they are read anew
        plan = replace(plan, places=moved.places, older_fingerprints=older)
        refuse_another(folder, specify(plan.sweep, plan.fingerprints), (*older, *plan.older_data))
    print_plan(console, plan, folder)
    limits = options if isinstance(options, StartOptions) else StartOptions()
    if options.dry_run:
        running.estimate(console, plan, folder, limits.tflops, limits.price)
        return
    running.drive(console, plan, folder, (limits.max_hours, limits.max_gpu_hours), places)
    for tool, place in places.items():
        console.print(f"In {tool}: {place or 'on its server'}", soft_wrap=True, markup=False)
    there = f" --storage {quote(options.storage)}" if options.storage != "results" else ""
    running.print_end(console, plan, folder, there)


def _answer_before(number: signal.Signals) -> str:
    """Return what to say of a signal outside of the trials."""
    return f"{NAMES[number].capitalize()}. Nothing that was finished is lost: {how_to_go_on()}"


def _leave(number: signal.Signals) -> None:
    sys.exit(128 + number)
