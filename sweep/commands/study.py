"""The command `study`."""

from typing import Annotated

import typer

from sweep.commands.options import Seeds, Set, StartOptions
from sweep.commands.start import check_kind, check_tools, pin_seeds, start
from sweep.experiment.files import find_open_keys, load_experiment

Experiment = Annotated[str, typer.Argument(help="A shipped study's name (quickstart-study), or a YAML file's path.")]
Trials = Annotated[int | None, typer.Option("--trials", min=1, help="Configurations of each method's search.")]
Replication = Annotated[
    str | None, typer.Option("--replication-seeds", help="The runs of each winner: 11-16, none of --seeds.")
]


def study(
    experiment: Experiment,
    overrides: Set = None,
    trials: Trials = None,
    seeds: Seeds = None,
    replication_seeds: Replication = None,
    *,
    options: StartOptions,
) -> None:
    """Search several methods with equal budgets and run their winners on fresh seeds; again runs what is left."""
    check_tools(options)
    pins = [*(overrides or []), *pin_seeds(seeds)]
    pins += [f"budget={{trials: {trials}}}"] if trials is not None else []
    pins += [f"replication_seeds={replication_seeds}"] if replication_seeds is not None else []
    default_name, sweep = load_experiment(experiment, pins)
    check_kind(sweep, "study", experiment)
    start(default_name, sweep, options, open_keys=find_open_keys(pins))
