"""The command line: `python sweep/run.py`, or `xpe-sweep` where the package is installed.

Torch and Ray take seconds to import, so they are imported by the commands that need them and a misspelt key is answered
at once.
"""

import re
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sweep.config import load_experiment
from xpe_core.errors import InputError

NAME = re.compile(r"[\w.-]{1,100}")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

Experiment = Annotated[str | None, typer.Argument(help="A shipped experiment's name, or the path of a YAML file.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="key=value: pin a field, searched or not.")]
NumSamples = Annotated[int | None, typer.Option("--num-samples", help="Configurations in all.")]
Seeds = Annotated[str | None, typer.Option("--seeds", help="The runs of every trial: 1,2 or 1-10.")]
Storage = Annotated[Path, typer.Option("--storage", help="Where experiments are kept.")]
Name = Annotated[str | None, typer.Option("--name", help="The experiment's folder below the storage.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, print the plan, run nothing.")]


@app.callback(invoke_without_command=True)
def start(context: typer.Context) -> None:
    """Search over prompt configurations on a frozen multilingual encoder.

    Without a command: search what this machine can do.
    """
    if context.invoked_subcommand is None:
        search()


@app.command()
def search(
    experiment: Experiment = None,
    overrides: Set = None,
    num_samples: NumSamples = None,
    seeds: Seeds = None,
    storage: Storage = Path("results"),
    name: Name = None,
    dry_run: DryRun = False,
) -> None:
    """Find the best configuration of an experiment; the same command again goes on where it was interrupted."""
    console = Console()
    if name is not None and (not NAME.fullmatch(name) or name.strip(".") == ""):
        raise InputError(f"--name {name!r}: must be 1 to 100 letters, digits, dots, dashes and underscores")
    pins = list(overrides or [])
    pins += [f"num_samples={num_samples}"] if num_samples is not None else []
    pins += [f"seeds='{seeds}'"] if seeds is not None else []
    if experiment is not None:
        load_experiment(experiment, pins)  # a mistake in it is answered before the slow imports below

    from sweep.analysis import first_error, read_runs
    from sweep.cluster import has_gpu, start_ray
    from sweep.report import Screen, print_answer, print_plan
    from sweep.store import check_storage, read_ledger
    from sweep.tuner import best_name, prepare
    from sweep.tuner import search as run_search

    with ExitStack() as stack:
        if experiment is None:
            stack.enter_context(start_ray())
            experiment = _choose_experiment(console, has_gpu())
        default_name, sweep = load_experiment(experiment, pins)
        with console.status("Preparing backbone and data"):
            plan = prepare(name or default_name, sweep)
        folder = storage / plan.name
        check_storage(folder)
        print_plan(console, plan, folder)
        if dry_run:
            return
        try:
            with Screen(console, plan, read_ledger(folder)) as screen:
                run_search(plan, storage, screen.listen)
        except KeyboardInterrupt:
            console.print("Interrupted. Nothing that was finished is lost: the same command goes on from here.")
            raise typer.Exit(130) from None
    print_answer(console, plan, folder)
    console.print(f"Per-language results: {folder}/runs and {folder}/evaluations (Parquet)", soft_wrap=True)
    best = folder / best_name(plan.name)
    if not best.exists():
        raise InputError(f"no trial of {plan.name} was completed: {first_error(read_runs(folder))}")
    console.print(f"Run the best again:   python sweep/run.py search {best}", soft_wrap=True)


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
