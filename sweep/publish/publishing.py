"""What `export NAME --to hub:USER/NAME` does: build the folder, then show it or upload it."""

import re
import shutil
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from sweep.publish.naming import HUB_NAME
from sweep.publish.numbers import read_numbers
from sweep.publish.revisions import MAIN, Request, build_revisions, describe_names
from sweep.publish.upload import check_token, parse_target, upload
from sweep.storage import Folder
from xpe_core.backbones.files import is_path
from xpe_core.config import RunConfig
from xpe_core.errors import InputError

LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
OURS = re.compile(r"main|seed-\d{2,}")


def publish(
    console: Console,
    folder: Folder,
    target: str,
    config_id: str,
    seeds: Collection[int] | None = None,
    *,
    dry_run: bool = False,
    into: str | None = None,
    private: bool = False,
    license: str = "apache-2.0",
    datasets: Sequence[str] = (),
    base_model: str | None = None,
    exclude: str | None = None,
) -> None:
    """Publish a configuration's seeds (all, or `seeds`) to `hub:USER/NAME`; a dry run writes what would be, `into`.

    InputError where nothing can be published, before anything is uploaded.
    """
    repo = parse_target(target)
    _check_options(dry_run, into, license, datasets, base_model)
    place = _choose_place(folder, into) if dry_run else None
    if not dry_run:
        check_token()
    numbers = read_numbers(folder, config_id, exclude)
    _check_names(numbers.cell.config, base_model, datasets)
    request = Request(repo, license, tuple(datasets), base_model, seeds)
    with tempfile.TemporaryDirectory(prefix="xpe-sweep-") as scratch:
        built = Path(scratch)
        revisions = build_revisions(numbers, request, built)
        for line in (*describe_names(numbers, request), f"Licence of the adapters: {license} (--license)."):
            console.print(Text(line), soft_wrap=True)
        if place is not None:
            _put(built, place)
            console.print(_draw(place, [MAIN, *revisions.values()]))
            console.print(Text(f"Nothing was uploaded. {place} is what {repo} would hold."), soft_wrap=True)
            return
        address = upload(
            built, repo, list(revisions.values()), config_id, private, lambda line: console.print(Text(line))
        )
    console.print(Text(f"Published: {address}"), soft_wrap=True)


def _check_names(config: RunConfig, base_model: str | None, datasets: Sequence[str]) -> None:
    """Refuse to give a backbone or data set another name than the one that it has; folders have none."""
    for option, own, given in (
        ("--base-model", config.backbone, base_model),
        ("--dataset", config.data.dataset, datasets[0] if datasets else None),
    ):
        if given not in (None, own) and not is_path(own):
            raise InputError(f"{option} {given}: is for what was a folder or file; this was trained with {own}")


def _check_options(
    dry_run: bool, into: str | None, license: str, datasets: Sequence[str], base_model: str | None
) -> None:
    if into is not None and not dry_run:
        raise InputError(f"--folder {into}: is where --dry-run writes what would be uploaded; say --dry-run, too")
    if not LICENSE.fullmatch(license):
        raise InputError(
            f"--license {license!r}: must be the hub's id of a licence, such as apache-2.0, mit or cc-by-4.0"
        )
    for option, name in (*(("--dataset", name) for name in datasets), ("--base-model", base_model)):
        if name is not None and not HUB_NAME.fullmatch(name):
            raise InputError(f"{option} {name!r}: must be a name on the hub, USER/NAME")


def _choose_place(folder: Folder, into: str | None) -> Path:
    """Return where a dry run writes; InputError where something else lies there."""
    if into is None and folder.path is None:
        raise InputError(f"{folder} is in object storage: say with --folder DIR where the dry run is to be written")
    place = Path(into).expanduser() if into is not None else Path(str(folder.path), "publish")
    if place.exists() and not place.is_dir():
        raise InputError(f"--folder {place}: is a file")
    others = [path.name for path in sorted(place.iterdir()) if not OURS.fullmatch(path.name)] if place.is_dir() else []
    if others:
        raise InputError(f"--folder {place}: holds something else ({others[0]}); name another folder")
    return place


def _put(built: Path, place: Path) -> None:
    """Put what was built in the place of an earlier dry run."""
    try:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(built, place)
    except OSError as error:
        raise InputError(f"--folder {place}: cannot be written: {error.strerror or error}") from None


def _draw(place: Path, revisions: Sequence[str]) -> Tree:
    tree = Tree(Text(str(place)))
    for revision in revisions:
        branch = tree.add(Text(f"{revision}/"))
        for file in sorted((place / revision).iterdir()):
            branch.add(Text(f"{file.name}  {file.stat().st_size:,} bytes"))
    return tree
