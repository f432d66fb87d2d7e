"""The command `search`, which is also what is done where no command is given."""

from contextlib import ExitStack
from typing import Annotated

import typer
from rich.console import Console

from sweep.commands.options import Seeds, Set, StartOptions
from sweep.commands.start import check_kind, check_tools, pin_seeds, start
from sweep.experiment.files import find_open_keys, load_experiment

Experiment = Annotated[str | None, typer.Argument(help="A shipped experiment's name, or the path of a YAML file.")]
NumSamples = Annotated[int | None, typer.Option("--num-samples", help="Configurations in all.")]


def search(
    experiment: Experiment = None,
    overrides: Set = None,
    num_samples: NumSamples = None,
    seeds: Seeds = None,
    *,
    options: StartOptions,
) -> None:
    """Find the best configuration of an experiment; the same command again goes on where it was interrupted."""
    check_tools(options)
    pins = [*(overrides or []), *([f"num_samples={num_samples}"] if num_samples is not None else []), *pin_seeds(seeds)]
    if experiment is not None:
        load_experiment(experiment, pins)  # a mistake in it is answered before the slow imports below
    with ExitStack() as stack:
        if experiment is None:
            from sweep.cluster.capacity import has_gpu
            from sweep.cluster.start import start_ray

            stack.enter_context(start_ray())
            experiment = _choose_experiment(Console(), has_gpu())
        default_name, sweep = load_experiment(experiment, pins)
        check_kind(sweep, "search", experiment)
        start(default_name, sweep, options, open_keys=find_open_keys(pins))


def _choose_experiment(console: Console, has_gpu: bool) -> str:
    """Return the experiment for a machine with or without a GPU, and say so."""
    if has_gpu:
        console.print("There is a GPU: running 'sib200-dual' (XLM-R large, SIB-200 from the hub).")
        console.print("For the small one instead: python sweep/run.py search quickstart")
        return "sib200-dual"
    console.print("There is no GPU: running 'quickstart' (e5-small on the embedded data set, offline).")
    console.print("For the real one instead: python sweep/run.py search sib200-dual")
    return "quickstart"
