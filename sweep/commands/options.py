"""What commands share: options, the command that runs here or on a cluster, and what every start takes."""

import dataclasses
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand

from xpe_core.errors import InputError
from xpe_core.lists import split_list


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
Metric = Annotated[
    str | None, typer.Option("--metric", help="What scores are of, such as accuracy or macro_f1 (the task's first).")
]
LogDir = Annotated[str | None, typer.Option("--log-dir", help="Folder for logs here (NAME/logs below the storage).")]
Kept = Annotated[str, typer.Argument(help="An experiment's name below the storage.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="key=value: pin a field, searched or not.")]
Seeds = Annotated[str | None, typer.Option("--seeds", help="The runs of every configuration: 1,2 or 1-10.")]
Name = Annotated[str | None, typer.Option("--name", help="The experiment's folder below the storage.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, print the plan, run nothing.")]
MaxHours = Annotated[float, typer.Option("--max-hours", min=0, help="Hours that the experiment may take in all.")]
MaxGpuHours = Annotated[float, typer.Option("--max-gpu-hours", min=0, help="GPU-hours that it may take in all.")]
Rate = Annotated[float | None, typer.Option("--tflops", min=0, help="Estimate with so many 10^12 operations a second.")]
Price = Annotated[float | None, typer.Option("--price", min=0, help="Of an hour of one such device, for the estimate.")]
LogTo = Annotated[list[str] | None, typer.Option("--log-to", help="Live to tensorboard, mlflow, wandb, or several.")]


@dataclass(frozen=True)
class RunOptions:
    """What every command takes that puts runs into an experiment's folder."""

    storage: Storage = "results"
    name: Name = None
    dry_run: DryRun = False
    log_to: LogTo = None
    log_dir: LogDir = None


@dataclass(frozen=True)
class StartOptions(RunOptions):
    """What every command takes that trains: limits, and what its estimate of the cost is made with."""

    max_hours: MaxHours = math.inf
    max_gpu_hours: MaxGpuHours = math.inf
    tflops: Rate = None
    price: Price = None


ORDER = ("storage", "name", "dry_run", "max_hours", "max_gpu_hours", "tflops", "price", "log_to", "log_dir")
"""How `--help` lists them."""


def spread_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with the fields of its parameter `options`, a dataclass, as options of the command line."""
    hints = get_type_hints(command, include_extras=True)
    kind = hints["options"]
    fields = sorted(dataclasses.fields(kind), key=lambda field: ORDER.index(field.name))
    field_hints = get_type_hints(kind, include_extras=True)

    def spread(**values: object) -> None:
        options = kind(**{field.name: values.pop(field.name) for field in fields})
        command(**values, options=options)

    keyword = inspect.Parameter.KEYWORD_ONLY
    own = [
        inspect.Parameter(name, keyword, default=parameter.default, annotation=hints[name])
        for name, parameter in inspect.signature(command).parameters.items()
        if name != "options"
    ]
    added = [
        inspect.Parameter(field.name, keyword, default=field.default, annotation=field_hints[field.name])
        for field in fields
    ]
    spread.__name__, spread.__doc__ = command.__name__, command.__doc__
    spread.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
    spread.__annotations__ = {one.name: one.annotation for one in (*own, *added)}
    return spread


class Command(TyperCommand):
    """A command that is run on a cluster where `--cluster` stands before it."""

    def invoke(self, ctx: Any) -> object:
        """Run it here or there."""
        if ctx.obj is None:
            return super().invoke(ctx)
        from sweep.cluster.launcher import launch

        raise typer.Exit(launch(ctx.obj, ctx))


class LocalCommand(TyperCommand):
    """A command that reads what is here."""

    def invoke(self, ctx: Any) -> object:
        """Run it here; InputError where it is asked for on a cluster."""
        if ctx.obj is not None:
            raise InputError(
                f"--cluster {ctx.obj} {ctx.info_name}: {ctx.info_name} runs here, on results that were brought here "
                "or are in object storage; leave --cluster out"
            )
        return super().invoke(ctx)
