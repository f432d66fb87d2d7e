"""`export`: trained prompts of an experiment, in the formats that other tools load.

Folders are written under a temporary name and renamed, so what stands there is whole.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

from sweep.analysis.chosen_adapter import choose_runs
from sweep.experiment.evaluated import HUB
from sweep.publish.options import HubOptions
from sweep.records.adapters import read_kept
from sweep.records.finding import find_experiment
from sweep.records.specification import read_specification
from sweep.storage import Folder
from xpe_core.adapters import Adapter, write_adapter, write_micm, write_peft, write_transformers
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.locations import use_locations
from xpe_core.tunings import is_alone

FILE_ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".zip", ".tar", ".gz", ".tgz", ".json", ".yaml")
"""Endings of what is meant to be a file, and would be made a folder."""


def export(
    console: Console,
    storage: str,
    name: str,
    run_id: str | None,
    all_seeds: bool,
    arm: str | None,
    to: str,
    form: str | None,
    options: HubOptions,
) -> None:
    """Write the chosen runs' adapters to a folder, one run into it and several into its subfolders seed-NN.

    Without a `form` they are in peft's format, or in transformers' where a run has all weights of its own. To
    `hub:USER/NAME` all seeds of a configuration are published, or the one run that is named; `options` are of that.
    """
    if to.startswith(HUB):
        folder = find_experiment(storage, name)
        use_locations(read_specification(folder).places)
        _publish(console, folder, run_id, arm, to, form, options)
        return
    if given := options.list_given():
        raise InputError(f"{given[0]} is for --to hub:USER/NAME")
    if form is not None and form not in WRITERS:
        raise InputError(f"--format {form}: must be one of {', '.join(WRITERS)}")
    target = _choose_target(to)
    folder = find_experiment(storage, name)
    use_locations(read_specification(folder).places)
    chosen = choose_runs(folder, run_id, all_seeds, arm)
    rows = {f"seed-{row['seed']:02}" if all_seeds else "": row for row in chosen.iter_rows(named=True)}
    adapters = {subfolder: read_kept(folder, row["run_id"]) for subfolder, row in rows.items()}
    alone = any(is_alone(adapter.config) for adapter in adapters.values())
    said = write_folder(adapters, target, WRITERS[form or ("transformers" if alone else "peft")])
    for subfolder, row in rows.items():
        console.print(Text(f"run {row['run_id']} (seed {row['seed']}): {target / subfolder}"), soft_wrap=True)
    console.print(Text(said), soft_wrap=True)


def _choose_target(to: str) -> Path:
    """Return the folder that is written; InputError where a file or an address is meant."""
    if not to.strip() or "://" in to:
        raise InputError(f"--to {to!r}: must be a folder on this machine, or hub:USER/NAME")
    path = Path(os.path.normpath(os.path.expanduser(to)))
    if path.suffix.lower() in FILE_ENDINGS and not path.is_dir():
        raise InputError(f"--to {to}: an adapter is written as a folder; name one, such as {path.with_suffix('')}")
    return path


def _publish(
    console: Console,
    folder: Folder,
    run_id: str | None,
    arm: str | None,
    to: str,
    form: str | None,
    options: HubOptions,
) -> None:
    from sweep.publish import publish

    chosen = choose_runs(folder, run_id, run_id is None, arm)
    if (target := chosen["adapted_to"][0]) is not None:
        raise InputError(
            f"--run {run_id}: it was trained further on {target}, and a repository holds what is tested on all "
            "languages; export it to a folder instead"
        )
    alone = is_alone(RunConfig.from_row(chosen.row(0, named=True)))
    published = "transformers" if alone else "peft"
    if form not in (None, published):
        raise InputError(f"--format {form}: what is published is in {'PEFT' if not alone else published}'s format")
    seeds = chosen["seed"].to_list() if run_id is not None else None
    publish(console, folder, to, chosen["config_id"][0], seeds, options)


def write_folder(adapters: Mapping[str, Adapter], target: Path, write: Callable[[Adapter, Path], str]) -> str:
    """Write adapters into subfolders of a new folder (into itself where the name is empty), all or none of them.

    Returns what `write` says of the last of them.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"--to {target}: is there already and not empty; name another folder, or delete it first")
    unfinished = target.absolute().with_name(f".{target.absolute().name}.unfinished")
    said = ""
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        for name, adapter in adapters.items():
            (unfinished / name).mkdir(parents=True)
            said = write(adapter, unfinished / name)
        if target.exists():
            target.rmdir()
        unfinished.rename(target)
    except OSError as error:
        raise InputError(f"--to {target}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return said


def _write_own(adapter: Adapter, folder: Path) -> str:
    write_adapter(adapter, folder / "adapter.safetensors")
    return "It is in this project's own format: python sweep/run.py predict FOLDER --text '...'"


WRITERS: dict[str, Callable[[Adapter, Path], str]] = {
    "peft": write_peft,
    "micm": write_micm,
    "transformers": write_transformers,
    "own": _write_own,
}
