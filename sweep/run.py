"""The command line: `python sweep/run.py`, or `xpe-sweep` where the package is installed.

Torch and Ray take seconds to import, so they are imported by the commands that need them and a misspelt key is answered
at once.
"""

import math
import re
import sys
from contextlib import ExitStack
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sweep.config import SweepConfig
from sweep.experiments import fresh_seeds, is_file, load_experiment, name_experiment, resolve_replication
from sweep.kept import Command, Storage, kept
from sweep.using import using
from xpe_core.config import build_config
from xpe_core.errors import InputError

if TYPE_CHECKING:
    from sweep.plan import Plan
    from sweep.storage import Folder

NAME = re.compile(r"[\w.-]{1,100}")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

Experiment = Annotated[str | None, typer.Argument(help="A shipped experiment's name, or the path of a YAML file.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="key=value: pin a field, searched or not.")]
NumSamples = Annotated[int | None, typer.Option("--num-samples", help="Configurations in all.")]
Seeds = Annotated[str | None, typer.Option("--seeds", help="The runs of every configuration: 1,2 or 1-10.")]
Name = Annotated[str | None, typer.Option("--name", help="The experiment's folder below the storage.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, print the plan, run nothing.")]
MaxHours = Annotated[float, typer.Option("--max-hours", min=0, help="Hours that the experiment may take in all.")]
MaxGpuHours = Annotated[float, typer.Option("--max-gpu-hours", min=0, help="GPU-hours that it may take in all.")]
Rate = Annotated[float | None, typer.Option("--tflops", min=0, help="Estimate with so many 10^12 operations a second.")]
Price = Annotated[float | None, typer.Option("--price", min=0, help="Of an hour of one such device, for the estimate.")]


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    cluster: Annotated[
        str | None, typer.Option("--cluster", help="Run the command on the cluster of this file.")
    ] = None,
) -> None:
    """Search over prompt configurations on a frozen multilingual encoder.

    Without a command: search what this machine can do.
    """
    context.obj = cluster
    if context.invoked_subcommand is None:
        if cluster is not None:
            raise InputError(f"--cluster {cluster}: say what to run there, such as search quickstart")
        search()


@app.command(cls=Command)
def search(
    experiment: Experiment = None,
    overrides: Set = None,
    num_samples: NumSamples = None,
    seeds: Seeds = None,
    storage: Storage = "results",
    name: Name = None,
    dry_run: DryRun = False,
    max_hours: MaxHours = math.inf,
    max_gpu_hours: MaxGpuHours = math.inf,
    tflops: Rate = None,
    price: Price = None,
) -> None:
    """Find the best configuration of an experiment; the same command again goes on where it was interrupted."""
    pins = [*(overrides or []), *([f"num_samples={num_samples}"] if num_samples is not None else []), *_pin(seeds)]
    if experiment is not None:
        load_experiment(experiment, pins)  # a mistake in it is answered before the slow imports below
    with ExitStack() as stack:
        if experiment is None:
            from sweep.cluster.capacity import has_gpu
            from sweep.cluster.start import start_ray

            stack.enter_context(start_ray())
            experiment = _choose_experiment(Console(), has_gpu())
        default_name, sweep = load_experiment(experiment, pins)
        _check_kind(sweep, "search", experiment)
        _run(name or default_name, sweep, storage, dry_run, (max_hours, max_gpu_hours), tflops, price)


@app.command(cls=Command)
def grid(
    experiment: Annotated[str, typer.Argument(help="A shipped grid's name (table1), or the path of a YAML file.")],
    overrides: Set = None,
    seeds: Seeds = None,
    storage: Storage = "results",
    name: Name = None,
    dry_run: DryRun = False,
    max_hours: MaxHours = math.inf,
    max_gpu_hours: MaxGpuHours = math.inf,
    tflops: Rate = None,
    price: Price = None,
) -> None:
    """Run every arm on every source set with every seed; the same command again runs what is left."""
    default_name, sweep = load_experiment(experiment, [*(overrides or []), *_pin(seeds)])
    _check_kind(sweep, "grid", experiment)
    _run(name or default_name, sweep, storage, dry_run, (max_hours, max_gpu_hours), tflops, price)


@app.command(cls=Command)
def replicate(
    of: Annotated[str, typer.Argument(help="A finished experiment, or a YAML file with one configuration.")],
    top: Annotated[int | None, typer.Option("--top", min=1, help="How many of the best configurations (1).")] = None,
    seeds: Seeds = None,
    storage: Storage = "results",
    name: Name = None,
    dry_run: DryRun = False,
    max_hours: MaxHours = math.inf,
    max_gpu_hours: MaxGpuHours = math.inf,
    tflops: Rate = None,
    price: Price = None,
) -> None:
    """Run the best configurations again, on fresh seeds, beside SPT and XPE on the same seeds."""
    if is_file(of) and load_experiment(of)[1].kind == "replicate":
        sweep = load_experiment(of, [*_pin(seeds), *([f"top={top}"] if top is not None else [])])[1]
    else:
        values = {"kind": "replicate", "of": of, "top": top or 1, "seeds": seeds or fresh_seeds(of, storage)}
        sweep = build_config(SweepConfig, values, f"replication of {of}")
    _run(
        name or name_experiment("replicate", of),
        resolve_replication(sweep, storage),
        storage,
        dry_run,
        (max_hours, max_gpu_hours),
        tflops,
        price,
    )


# not add_typer, which would put them before the searches in --help
app.registered_commands.extend([*kept.registered_commands, *using.registered_commands])


def _pin(seeds: str | None) -> list[str]:
    return [f"seeds='{seeds}'"] if seeds is not None else []


def _check_kind(sweep: SweepConfig, kind: str, experiment: str) -> None:
    if sweep.kind != kind:
        raise InputError(f"{experiment} is a {sweep.kind}: python sweep/run.py {sweep.kind} {experiment}")


def _run(
    name: str,
    sweep: SweepConfig,
    storage: str,
    dry_run: bool,
    limits: tuple[float, float],
    tflops: float | None,
    price: float | None,
) -> None:
    """Prepare an experiment, say what it will do, run what is left of it, and print the answer."""
    if not NAME.fullmatch(name) or name.strip(".") == "":
        raise InputError(f"--name {name!r}: must be 1 to 100 letters, digits, dots, dashes and underscores")
    console = Console()

    from sweep.analysis import first_error, read_runs
    from sweep.ledger import Usage, read_ledger
    from sweep.plan import prepare
    from sweep.report import Screen, print_answer, print_plan
    from sweep.stopping import Stopped
    from sweep.storage import Folder
    from sweep.tuner import best_name, run_experiment

    folder = Folder(storage) / name
    folder.check_writable()
    with console.status("Preparing backbone and data"):
        plan = prepare(name, sweep)
    print_plan(console, plan, folder)
    if dry_run:
        _estimate(console, plan, folder, tflops, price)
        return
    try:
        with Screen(console, plan, read_ledger(folder)) as screen:
            run_experiment(plan, storage, screen.listen, Usage(*limits), say=screen.say)
    except Stopped as stopped:
        message = f"{str(stopped).capitalize()}. Nothing that was finished is lost: the same command goes on from here."
        console.print(message, soft_wrap=True)
        raise typer.Exit(stopped.exit_code) from None
    except KeyboardInterrupt:  # before the first trial
        raise typer.Exit(130) from None
    print_answer(console, plan, folder)
    there = f" --storage {quote(storage)}" if storage != "results" else ""
    console.print(f"Per-language results: {folder / 'runs'} and {folder / 'evaluations'} (Parquet)", soft_wrap=True)
    if sweep.kind == "search":
        best = best_name(plan.name)
        if folder.read(best) is None:
            raise InputError(f"no trial of {plan.name} was completed: {first_error(read_runs(folder))}")
        console.print(
            f"Run the best again:   python sweep/run.py search {quote(str(folder / best))}{there}", soft_wrap=True
        )
        console.print(f"Is it really better?  python sweep/run.py replicate {plan.name}{there}", soft_wrap=True)
    console.print(f"Tables and charts:    python sweep/run.py report {plan.name} --format html{there}", soft_wrap=True)


def _estimate(console: Console, plan: "Plan", folder: "Folder", tflops: float | None, price: float | None) -> None:
    """Make the checks of a start, and print what the experiment would take."""
    from sweep.checks import check_start
    from sweep.cluster.capacity import is_up
    from sweep.cluster.start import start_ray
    from sweep.estimate import measure_rate
    from sweep.packing import size_packs
    from sweep.report import print_estimate

    with console.status("Checking nodes and storage, and measuring a few training steps"), start_ray():
        share = check_start(plan, folder)
        if is_up(share):  # to wait for a node would be to start one
            plan = size_packs(plan, share)
        rate = tflops * 1e12 if tflops else measure_rate(plan, share)
        print_estimate(console, plan, folder, share, rate, measured=not tflops, price=price)


def _choose_experiment(console: Console, has_gpu: bool) -> str:
    """Return the experiment for a machine with or without a GPU, and say so."""
    if has_gpu:
        console.print("There is a GPU: running 'sib200-dual' (XLM-R large, SIB-200 from the hub).")
        console.print("For the small one instead: python sweep/run.py search quickstart")
        return "sib200-dual"
    console.print("There is no GPU: running 'quickstart' (e5-small on the embedded data set, offline).")
    console.print("For the real one instead: python sweep/run.py search sib200-dual")
    return "quickstart"


def main() -> None:
    """Run the command line; a mistake of the user's ends in one sentence and exit status 2."""
    try:
        app()
    except InputError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
