"""The command line: `python sweep/run.py`, or `xpe-sweep` where the package is installed.

Torch and Ray take seconds to import, so they are imported by the commands that need them and a misspelt key is answered
at once.
"""

import atexit
import gc
import math
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from shlex import quote
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

from sweep.asked_languages import fit_to_data
from sweep.cluster.address import find_address
from sweep.command_line import forget_no_columns, how_to_go_on
from sweep.config import SweepConfig
from sweep.experiments import (
    find_known,
    fresh_seeds,
    is_file,
    load_experiment,
    name_evaluation,
    name_experiment,
    read_evaluation_values,
    resolve_replication,
)
from sweep.interrupts import NAMES, answered
from sweep.kept import Command, LogDir, Storage, kept, tidy_list
from sweep.logs.tools import find_places, parse_tools
from sweep.report.steps import show_steps
from sweep.storage.names import find_problem, normalise_name
from sweep.using import using
from xpe_core.config import build_config
from xpe_core.errors import InputError
from xpe_core.steps import long_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from sweep.plan import Plan

PATIENCE_SECONDS = 5.0
"""After Ctrl-C before the first trial, until the process is ended even where it is in the middle of something."""

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
LogTo = Annotated[list[str] | None, typer.Option("--log-to", help="Live to tensorboard, mlflow, wandb, or several.")]


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
    log_to: LogTo = None,
    log_dir: LogDir = None,
) -> None:
    """Find the best configuration of an experiment; the same command again goes on where it was interrupted."""
    tools = parse_tools("--log-to", log_to or ())
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
        _run(name or default_name, sweep, storage, dry_run, (max_hours, max_gpu_hours), tflops, price, tools, log_dir)


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
    log_to: LogTo = None,
    log_dir: LogDir = None,
) -> None:
    """Run every arm on every source set with every seed; the same command again runs what is left."""
    tools = parse_tools("--log-to", log_to or ())
    default_name, sweep = load_experiment(experiment, [*(overrides or []), *_pin(seeds)])
    _check_kind(sweep, "grid", experiment)
    _run(name or default_name, sweep, storage, dry_run, (max_hours, max_gpu_hours), tflops, price, tools, log_dir)


@app.command(cls=Command)
def replicate(
    of: Annotated[str, typer.Argument(help="A finished experiment, or a YAML file with one configuration.")],
    top: Annotated[int | None, typer.Option("--top", min=1, help="How many of the best configurations (1).")] = None,
    seeds: Seeds = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="Where the data are, if not there.")] = None,
    backbone: Annotated[str | None, typer.Option("--backbone", help="Where the backbone is, if not there.")] = None,
    storage: Storage = "results",
    name: Name = None,
    dry_run: DryRun = False,
    max_hours: MaxHours = math.inf,
    max_gpu_hours: MaxGpuHours = math.inf,
    tflops: Rate = None,
    price: Price = None,
    log_to: LogTo = None,
    log_dir: LogDir = None,
) -> None:
    """Run the best configurations again, on fresh seeds, beside SPT and XPE on the same seeds."""
    tools = parse_tools("--log-to", log_to or ())
    wanted = {"dataset": dataset, "backbone": backbone}
    if is_file(of) and load_experiment(of)[1].kind == "replicate":
        sweep = load_experiment(of, [*_pin(seeds), *([f"top={top}"] if top is not None else [])])[1]
    else:
        values = {"kind": "replicate", "of": of, "top": top or 1, "seeds": seeds or fresh_seeds(of, storage)}
        sweep = build_config(SweepConfig, values, f"replication of {of}")
    source = str(sweep.of)
    _run(
        name or name_experiment("replicate", of),
        resolve_replication(sweep, storage, wanted if is_file(source) else {}),
        storage,
        dry_run,
        (max_hours, max_gpu_hours),
        tflops,
        price,
        tools,
        log_dir,
        find_known_places=lambda: {} if is_file(source) else find_known(source, storage, wanted),
    )


@app.command(cls=Command)
def evaluate(
    adapters: Annotated[
        list[str],
        typer.Argument(
            help="Files or folders: of export, peft or micm-nlp, with folders seed-NN; or hub:USER/NAME@REV."
        ),
    ],
    languages: Annotated[
        str, typer.Option("--languages", callback=tidy_list, help="A group, family, script, code, or several.")
    ] = "all",
    dataset: Annotated[str | None, typer.Option("--dataset", help="What to test on (where it was trained).")] = None,
    max_examples: Annotated[
        int | None, typer.Option("--max-examples", min=1, help="Test examples a language at most.")
    ] = None,
    source_set: Annotated[
        str | None,
        typer.Option("--source-set", callback=tidy_list, help="What the adapters were trained on, if they do not say."),
    ] = None,
    backbone: Annotated[str | None, typer.Option("--backbone", help="Where the backbone is, if not there.")] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes", help="Names of unnamed classes in the order of the logits: a,b,c, @FILE, or: dataset."
        ),
    ] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="max_length, precision or pooling.")] = None,
    storage: Storage = "results",
    name: Name = None,
    dry_run: DryRun = False,
    log_to: LogTo = None,
    log_dir: LogDir = None,
) -> None:
    """Test trained adapters, whoever published them, on every language, into the same tables as one's own runs."""
    tools = parse_tools("--log-to", log_to or ())
    values = read_evaluation_values(overrides or [], dataset=dataset, backbone=backbone, source_set=source_set)

    from sweep.classes import read_classes
    from sweep.evaluating import IN_DATA_SETS_ORDER, build_evaluation, find_adapters, prepare_evaluation

    in_data_sets_order = classes is not None and classes.strip() == IN_DATA_SETS_ORDER
    names = None if classes is None or in_data_sets_order else read_classes(classes)
    with long_step("Reading adapters"):
        found = find_adapters(adapters, names)
    sweep = build_evaluation(found, languages, max_examples, values)
    name = name or name_evaluation(adapters[0])
    _run(
        name,
        sweep,
        storage,
        dry_run,
        tools=tools,
        log_dir=log_dir,
        prepare_plan=lambda named: prepare_evaluation(name, named, found, in_data_sets_order),
    )


# not add_typer, which would put them before the searches in --help
app.registered_commands.extend([*kept.registered_commands, *using.registered_commands])


def _pin(seeds: str | None) -> list[str]:
    return [f"seeds={seeds}"] if seeds is not None else []


def _check_kind(sweep: SweepConfig, kind: str, experiment: str) -> None:
    if sweep.kind != kind:
        raise InputError(f"{experiment} is a {sweep.kind}: python sweep/run.py {sweep.kind} {experiment}")


def _run(
    name: str,
    sweep: SweepConfig,
    storage: str,
    dry_run: bool,
    limits: tuple[float, float] = (math.inf, math.inf),
    tflops: float | None = None,
    price: float | None = None,
    tools: Sequence[str] = (),
    log_dir: str | None = None,
    prepare_plan: "Callable[[SweepConfig], Plan] | None" = None,
    find_known_places: "Callable[[], dict[str, str]]" = dict,
) -> None:
    """Prepare an experiment, say what it will do, run what is left of it, and print the answer."""
    name = normalise_name(name)
    if problem := find_problem(name):
        raise InputError(f"the experiment's name {name!r} {problem}; give it another one with --name")
    find_address()  # a mistake in RAY_ADDRESS is answered before anything takes long
    console = Console()
    with answered(_say_on(console), _answer_before, _leave, PATIENCE_SECONDS):
        _run_prepared(
            *(name, sweep, console, storage, dry_run, limits, tflops, price, tools, log_dir),
            prepare_plan,
            find_known_places,
        )


def _run_prepared(
    name: str,
    sweep: SweepConfig,
    console: Console,
    storage: str,
    dry_run: bool,
    limits: tuple[float, float],
    tflops: float | None,
    price: float | None,
    tools: Sequence[str],
    log_dir: str | None,
    prepare_plan: "Callable[[SweepConfig], Plan] | None",
    find_known_places: "Callable[[], dict[str, str]]",
) -> None:
    if prepare_plan is None and find_known_places is dict:  # nothing has moved
        with long_step("Reading data"):
            fit_to_data(sweep)  # a misspelt language is answered before the slow imports below

    with long_step("Loading Torch and Ray"):
        from sweep import running
        from sweep.moved import keep_names
        from sweep.plan import prepare
        from sweep.report import print_plan
        from sweep.storage import Folder

    folder = Folder(storage) / name
    folder.check_writable()
    places = find_places(tools, folder, log_dir)
    with long_step("Preparing backbone and data"):
        moved = keep_names(sweep, folder, find_known_places())
        plan = prepare_plan(moved.sweep) if prepare_plan else prepare(name, moved.sweep)
        older = moved.older_fingerprints if plan.data.older_fingerprints else ()  # none where they are read anew
        plan = replace(plan, places=moved.places, older_fingerprints=older)
    print_plan(console, plan, folder)
    if dry_run:
        running.estimate(console, plan, folder, tflops, price)
        return
    running.drive(console, plan, folder, limits, places)
    for tool, place in places.items():
        console.print(f"In {tool}: {place or 'on its server'}", soft_wrap=True, markup=False)
    running.print_end(console, plan, folder, f" --storage {quote(storage)}" if storage != "results" else "")


def _say_on(console: Console) -> "Callable[[str], None]":
    return lambda sentence: console.print(sentence, soft_wrap=True, markup=False, highlight=False)


def _answer_before(number: signal.Signals) -> str:
    """Return what to say of a signal outside of the trials."""
    return f"{NAMES[number].capitalize()}. Nothing that was finished is lost: {how_to_go_on()}"


def _leave(number: signal.Signals) -> None:
    sys.exit(128 + number)


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
    forget_no_columns()
    atexit.register(gc.freeze)  # else Python's last search for garbage, of no use, takes seconds
    try:
        with show_steps(Console(stderr=True)):
            app()
    except InputError as error:
        _refuse(str(error))
    except PermissionError as error:  # of a file of another user's, wherever it is opened
        _refuse(
            f"{error.filename}: {error.strerror}; this user must be allowed to read it"
            if error.filename
            else str(error)
        )


def _refuse(sentence: str) -> NoReturn:
    Console(stderr=True).print(f"error: {sentence}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
