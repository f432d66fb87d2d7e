"""The commands for experiments that are kept in the storage: from list and status to report, compare and export."""

from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand

from sweep.logs.tools import find_places, parse_tools
from xpe_core.errors import InputError
from xpe_core.lists import split_list

kept = typer.Typer()


def tidy_list(parameter: typer.CallbackParam, value: str | None) -> str | None:
    """Return the names of an option with nothing but commas between them; InputError where there is none."""
    if value is None:
        return None
    try:
        names = split_list(value)
    except InputError as error:
        raise InputError(f"{parameter.opts[0]} {error}") from None
    if not names:
        raise InputError(f"{parameter.opts[0]} {value!r}: names nothing; needed are names with commas between them")
    return ",".join(names)


Storage = Annotated[
    str, typer.Option("--storage", help="Where experiments are kept: a folder, or s3://, gs://, abfs://.")
]
Exclude = Annotated[
    str | None,
    typer.Option(
        "--exclude",
        help="Languages in no row: groups, languages, trained or none (those trained on; on SIB-200 joshi5).",
        show_default=False,
    ),
]
LogDir = Annotated[str | None, typer.Option("--log-dir", help="Folder for logs here (NAME/logs below the storage).")]
Kept = Annotated[str, typer.Argument(help="An experiment's name below the storage.")]


class Command(TyperCommand):
    """A command that is run on a cluster where `--cluster` stands before it."""

    def invoke(self, ctx: Any) -> Any:
        """Run it here or there."""
        if ctx.obj is None:
            return super().invoke(ctx)
        from sweep.cluster.launcher import launch

        raise typer.Exit(launch(ctx.obj, ctx))


class LocalCommand(TyperCommand):
    """A command that reads what is here."""

    def invoke(self, ctx: Any) -> Any:
        """Run it here; InputError where it is asked for on a cluster."""
        if ctx.obj is not None:
            raise InputError(
                f"--cluster {ctx.obj} {ctx.info_name}: {ctx.info_name} runs here, on results that were brought here "
                "or are in object storage; leave --cluster out"
            )
        return super().invoke(ctx)


@kept.command(name="list", cls=Command)
def list_experiments(storage: Storage = "results") -> None:
    """List the experiments in the storage, how far each is, and whether a driver is at work on it."""
    from sweep.inspection import print_experiments

    print_experiments(Console(), storage)


@kept.command(cls=Command)
def status(name: Kept, storage: Storage = "results") -> None:
    """Show an experiment's trials and how far they are."""
    from sweep.inspection import print_status

    print_status(Console(), storage, name)


@kept.command(cls=Command)
def show(
    run_id: Annotated[str, typer.Argument(help="A run's id, or its first digits (or EXPERIMENT:ID).")],
    storage: Storage = "results",
) -> None:
    """Show a run: its configuration, where it came from, and its result by language."""
    from sweep.showing import print_run

    print_run(Console(), storage, run_id)


@kept.command(cls=Command)
def stop(name: Kept, storage: Storage = "results") -> None:
    """Ask the driver that is at work on an experiment to write checkpoints and end."""
    from sweep.inspection import stop_experiment

    stop_experiment(Console(), storage, name)


@kept.command(cls=LocalCommand)
def report(
    names: Annotated[list[str], typer.Argument(help="Experiments below the storage.")],
    baseline: Annotated[str | None, typer.Option("--baseline", help="The arm to compare with (spt).")] = None,
    exclude: Exclude = None,
    form: Annotated[
        str | None, typer.Option("--format", help="terminal, html (a page with charts), markdown, csv or latex.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="Folder for files, or PAGE.html (NAME/report below the storage).")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Print every table, not the answer and the main one only.")
    ] = False,
    languages: Annotated[
        bool, typer.Option("--languages", help="Print every language, not the extremes only.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep the page and the terminal up to date until the experiments end.")
    ] = False,
    storage: Storage = "results",
) -> None:
    """Say which configuration is better, for which languages, and whether it is real."""
    from sweep.report import commands

    commands.report(Console(), storage, names, baseline, exclude, form, to, languages, watch, everything)


@kept.command(cls=LocalCommand)
def best(
    name: Kept,
    purpose: Annotated[
        str | None, typer.Option("--for", help="By test accuracy on a target group, or GROUP=WEIGHT,GROUP=WEIGHT.")
    ] = None,
    method: Annotated[str | None, typer.Option("--method", help="Only of spt, xpe or dual.")] = None,
    exclude: Exclude = None,
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="The whole experiment file (as where standard output is no terminal).")
    ] = False,
    storage: Storage = "results",
) -> None:
    """Show the best configuration and where its adapters lie; `best NAME > FILE` writes it as an experiment file."""
    from sweep.report.best import best as print_best

    print_best(Console(), storage, name, purpose, method, exclude, as_yaml)


@kept.command(cls=LocalCommand)
def compare(
    first: Annotated[str, typer.Argument(help="An arm, EXPERIMENT:arm, config_id, run_id or experiment.")],
    second: Annotated[str, typer.Argument(help="What it is compared with.")],
    purpose: Annotated[str | None, typer.Option("--for", help="Only on this target group, or several.")] = None,
    exclude: Exclude = None,
    storage: Storage = "results",
) -> None:
    """Show the paired difference of two configurations, runs or experiments."""
    from sweep.report import commands

    commands.compare_two(Console(), storage, first, second, purpose, exclude)


@kept.command(cls=LocalCommand)
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
    form: Annotated[str, typer.Option("--format", help="peft (loads in stock peft), micm (micm-nlp) or own.")] = "peft",
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
    from sweep import exporting

    if best_run and (run_id is not None or all_seeds):
        raise InputError("--best is one run; --run and --all-seeds go without it")
    if best_run and to.startswith(exporting.HUB):
        raise InputError("--best is one run; to the hub go all seeds of a configuration, or the run that --run names")
    hub: dict[str, Any] = {"dry_run": dry_run, "into": into, "private": private, "license": license}
    hub |= {"datasets": datasets, "base_model": base_model}
    exporting.export(Console(), storage, name, run_id, all_seeds, arm, to, form, hub)


@kept.command(name="log", cls=LocalCommand)
def log_experiment(
    name: Kept,
    to: Annotated[list[str], typer.Option("--to", help="tensorboard, mlflow, wandb, or several.")],
    log_dir: LogDir = None,
    storage: Storage = "results",
) -> None:
    """Write an experiment's results to TensorBoard, MLflow or W&B; what is there already is not written again."""
    tools = parse_tools("--to", to)
    from sweep.finding import find_experiment
    from sweep.logs.afterwards import write_logs

    folder = find_experiment(storage, name)
    write_logs(Console(), folder, find_places(tools, folder, log_dir))


@kept.command(cls=LocalCommand)
def dashboard(
    name: Kept,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 8080,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    storage: Storage = "results",
) -> None:
    """Show a search in the Optuna dashboard, in a browser; a running one is kept up to date."""
    from sweep.dashboard import serve
    from sweep.finding import find_experiment

    serve(Console(), find_experiment(storage, name), host, port)
