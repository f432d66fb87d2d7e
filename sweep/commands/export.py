"""The command `export`."""

from typing import Annotated

import typer
from rich.console import Console

from sweep.commands.options import Kept, Storage
from xpe_core.errors import InputError


def export(
    name: Kept,
    to: Annotated[str, typer.Option("--to", help="A new folder, or hub:USER/NAME.")],
    run_id: Annotated[str | None, typer.Option("--run", help="This run: its id, or its first digits.")] = None,
    best_run: Annotated[
        bool, typer.Option("--best", help="The best run of the best configuration (what is done without).")
    ] = False,
    all_seeds: Annotated[
        bool, typer.Option("--all-seeds", help="All runs of the best configuration, each in a folder seed-NN.")
    ] = False,
    arm: Annotated[str | None, typer.Option("--arm", help="Of this arm or config_id, not of the best.")] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="peft (loads in stock peft; the default), micm (micm-nlp), transformers (of full fine-tuning) or own.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="To the hub: upload nothing, write what would be to --folder.")
    ] = False,
    into: Annotated[str | None, typer.Option("--folder", help="Of a dry run (NAME/publish below the storage).")] = None,
    private: Annotated[bool, typer.Option("--private", help="On the hub: make the repository a private one.")] = False,
    license: Annotated[
        str | None, typer.Option("--license", help="On the hub: the adapters' licence (apache-2.0).")
    ] = None,
    datasets: Annotated[
        list[str] | None, typer.Option("--dataset", help="On the hub: the data set's name there, USER/NAME.")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option("--base-model", help="On the hub: the backbone's name there, USER/NAME.")
    ] = None,
    storage: Storage = "results",
) -> None:
    """Write trained prompts with their heads as adapters that other tools load."""
    from sweep.publish import HubOptions, exporting

    if best_run and (run_id is not None or all_seeds):
        raise InputError("--best is one run; --run and --all-seeds go without it")
    if best_run and to.startswith(exporting.HUB):
        raise InputError("--best is one run; to the hub go all seeds of a configuration, or the run that --run names")
    hub = HubOptions(dry_run, into, private, license, tuple(datasets or ()), base_model)
    exporting.export(Console(), storage, name, run_id, all_seeds, arm, to, form, hub)
