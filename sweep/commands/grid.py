"""The command `grid`."""

from typing import Annotated

import typer

from sweep.commands.options import Seeds, Set, StartOptions
from sweep.commands.start import check_kind, check_tools, pin_seeds, start
from sweep.experiment.files import find_open_keys, load_experiment


def grid(
    experiment: Annotated[str, typer.Argument(help="A shipped grid's name (table1), or the path of a YAML file.")],
    overrides: Set = None,
    seeds: Seeds = None,
    *,
    options: StartOptions,
) -> None:
    """Run every arm on every source set with every seed; the same command again runs what is left."""
    check_tools(options)
    pins = [*(overrides or []), *pin_seeds(seeds)]
    default_name, sweep = load_experiment(experiment, pins)
    check_kind(sweep, "grid", experiment)
    start(default_name, sweep, options, open_keys=find_open_keys(pins))
