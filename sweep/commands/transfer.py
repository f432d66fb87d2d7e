"""The command `transfer`."""

from typing import Annotated

import typer

from sweep.commands.options import Seeds, Set, StartOptions
from sweep.commands.start import check_kind, check_tools, pin_seeds, start
from sweep.experiment.files import find_open_keys, load_experiment


def transfer(
    experiment: Annotated[str, typer.Argument(help="A shipped transfer's name (table2), or the path of a YAML file.")],
    overrides: Set = None,
    seeds: Seeds = None,
    *,
    options: StartOptions,
) -> None:
    """Train every arm on every source set, then further on each target language; again runs what is left."""
    check_tools(options)
    pins = [*(overrides or []), *pin_seeds(seeds)]
    default_name, sweep = load_experiment(experiment, pins)
    check_kind(sweep, "transfer", experiment)
    start(default_name, sweep, options, open_keys=find_open_keys(pins))
