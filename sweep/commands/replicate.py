"""The command `replicate`."""

from typing import Annotated

import typer

from sweep.commands.options import Seeds, StartOptions
from sweep.commands.start import check_tools, pin_seeds, start
from sweep.experiment.arms import Replication
from sweep.experiment.config import build_sweep
from sweep.experiment.files import is_file, load_experiment, name_experiment
from sweep.planning.replication import find_known, fresh_seeds, resolve_replication


def replicate(
    of: Annotated[str, typer.Argument(help="A finished experiment, or a YAML file with one configuration.")],
    top: Annotated[int | None, typer.Option("--top", min=1, help="How many of the best configurations (1).")] = None,
    seeds: Seeds = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="Where the data are, if not there.")] = None,
    backbone: Annotated[str | None, typer.Option("--backbone", help="Where the backbone is, if not there.")] = None,
    *,
    options: StartOptions,
) -> None:
    """Run the best configurations again, on fresh seeds, beside SPT and XPE on the same seeds."""
    check_tools(options)
    wanted = {"dataset": dataset, "backbone": backbone}
    sweep = load_experiment(of)[1] if is_file(of) else None
    if isinstance(sweep, Replication):
        sweep = load_experiment(of, [*pin_seeds(seeds), *([f"top={top}"] if top is not None else [])])[1]
    else:
        values = {"kind": "replicate", "of": of, "top": top or 1, "seeds": seeds or fresh_seeds(of, options.storage)}
        sweep = build_sweep(values, f"replication of {of}")
    assert isinstance(sweep, Replication)
    source = str(sweep.of)
    start(
        name_experiment("replicate", of),
        resolve_replication(sweep, options.storage, wanted if is_file(source) else {}),
        options,
        find_known_locations=None if is_file(source) else lambda: find_known(source, options.storage, wanted),
    )
