"""What `export NAME --to hub:USER/NAME` does: build the folder, then show it or upload it."""

import re
import shutil
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from sweep.publish.numbers import read_numbers
from sweep.publish.options import HubOptions
from sweep.publish.revisions import MAIN, Request, build_revisions, describe_names
from sweep.publish.upload import check_token, parse_target, upload
from sweep.storage import Folder
from xpe_core.errors import InputError

LICENSE = "apache-2.0"
"""Of adapters, where nothing else is said."""
OURS = re.compile(r"main|seed-\d{2,}")


def publish(
    console: Console,
    folder: Folder,
    target: str,
    config_id: str,
    seeds: Collection[int] | None = None,
    options: HubOptions | None = None,
) -> None:
    """Publish a configuration's seeds (all, or `seeds`) to `hub:USER/NAME`; a dry run writes what would be.

    InputError where nothing can be published, before anything is uploaded.
    """
    options = options or HubOptions()
    repo = parse_target(target)
    options.check()
    dry_folder = _choose_folder(folder, options.into) if options.dry_run else None
    if dry_folder is None:
        check_token()
    numbers = read_numbers(folder, config_id)
    options.check_names(numbers.cell.config)
    request = Request(repo, options.license or LICENSE, options.datasets, options.base_model, seeds)

    def say(line: str) -> None:
        console.print(Text(line), soft_wrap=True)

    with tempfile.TemporaryDirectory(prefix="xpe-sweep-") as scratch:
        built = Path(scratch)
        revisions = list(build_revisions(numbers, request, built).values())
        for line in (*describe_names(numbers, request), f"Licence of the adapters: {request.license} (--license)."):
            say(line)
        if dry_folder is not None:
            _put(built, dry_folder)
            console.print(_draw(dry_folder, [MAIN, *revisions]))
            say(f"Nothing was uploaded. {dry_folder} is what {repo} would hold.")
            return
        say(f"Published: {upload(built, repo, revisions, config_id, options.private, say)}")


def _choose_folder(folder: Folder, into: str | None) -> Path:
    """Return where a dry run writes; InputError where something else lies there."""
    if into is None and folder.path is None:
        raise InputError(f"{folder} is in object storage: say with --folder DIR where the dry run is to be written")
    target = Path(into).expanduser() if into is not None else Path(str(folder.path), "publish")
    if target.exists() and not target.is_dir():
        raise InputError(f"--folder {target}: is a file")
    content = sorted(target.iterdir()) if target.is_dir() else []
    if others := [path.name for path in content if not OURS.fullmatch(path.name)]:
        raise InputError(f"--folder {target}: holds something else ({others[0]}); name another folder")
    return target


def _put(built: Path, target: Path) -> None:
    """Put what was built in the place of an earlier dry run."""
    try:
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(built, target)
    except OSError as error:
        raise InputError(f"--folder {target}: cannot be written: {error.strerror or error}") from None


def _draw(folder: Path, revisions: Sequence[str]) -> Tree:
    tree = Tree(Text(str(folder)))
    for revision in revisions:
        branch = tree.add(Text(f"{revision}/"))
        for file in sorted((folder / revision).iterdir()):
            branch.add(Text(f"{file.name}  {file.stat().st_size:,} bytes"))
    return tree
