"""`--cluster FILE`: brings the project and a command's inputs to a cluster's head, runs it there, brings results back.

All goes over ssh with Ray's own `up`, `exec`, `rsync-up` and `rsync-down`, so whoever can `ray attach` can use it. An
experiment is a Ray job whose id derives from its name: it outlives this process, and the same command finds it again.
Every job carries its own copy of the code, so a checkout that has changed since `ray up` is run as it is now, and jobs
that run already keep theirs.
"""

import glob
import hashlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from types import FrameType
from typing import Any

import typer
from rich.console import Console

from sweep.cluster.cluster_file import read_cluster
from sweep.cluster.head import INPUTS, Head
from sweep.cluster.job import OUTBOX, Request, encode
from sweep.cluster.versions import COMMIT_FILE, code_version
from sweep.experiment.evaluated import HUB, SEED, name_evaluation
from sweep.experiment.files import is_file, load_experiment, name_experiment
from sweep.experiment.yaml_files import read_mapping, text_of
from sweep.storage.object_storage import is_object_storage
from xpe_core.errors import InputError

ROOT = Path(__file__).parents[2]
PROJECT = ("sweep", "xpe_core", "constraints.txt")
"""What a job needs of the checkout."""
RESULTS = "~/xpe-sweep-results"
"""On the head: the storage of what is started with `--cluster`."""
RUNS = ("search", "grid", "replicate", "transfer", "evaluate")
BROUGHT_FIELDS = ("dataset", "backbone")
"""Fields of `RunConfig` that may be a path."""
EMBEDDED = ("cldr", "e5-small")


class Parcel:
    """A folder here that becomes `INPUTS` on the head."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.backbones: list[str] = []
        """Backbones in it, as the head names them."""

    def add(self, path: Path) -> str:
        """Put a file or folder in and return its path on the head, which derives from its content."""
        path = path.expanduser().resolve()
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        files = [file for file in files if file.is_file() and "__pycache__" not in file.parts]
        digest = hashlib.sha256()
        for file in files:
            digest.update(f"{file.relative_to(path.parent)}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
        return self._put({file.relative_to(path.parent): file for file in files}, digest.hexdigest()[:16], path.name)

    def add_yaml(self, path: Path) -> str:
        """Put an experiment file in, with what it names, and return its path on the head."""
        load_experiment(str(path))  # what is no experiment is said in a sentence
        values, _ = read_mapping(path.read_bytes(), f"experiment {path}", "base and space")
        base = values.get("base")
        for field in BROUGHT_FIELDS:
            if isinstance(base, dict) and isinstance(name := base.get(field), str):
                base[field] = self.add_value(field, name)
        of = values.get("of")
        if isinstance(of, str) and _is_yaml(of) and Path(of).is_file():
            values["of"] = self.add_yaml(Path(of))
        text = text_of(values)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        copy = self.folder / digest / path.name
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(text, encoding="utf-8")
        return f"{INPUTS}/{digest}/{path.name}"

    def add_value(self, field: str, value: str) -> str:
        """Return a field's value on the head; a path here is put in, all else is as it was."""
        if field == "dataset" and glob.has_magic(value):
            raise InputError(f"dataset {value!r}: with --cluster give the whole folder of these files")
        if value in EMBEDDED or not Path(value).expanduser().exists():
            return value
        there = self.add(Path(value))
        if field == "backbone":
            self.backbones.append(there)
        return there

    def add_adapter(self, source: str) -> str:
        """Return an adapter's path on the head; one here is put in, one of many seeds with the others."""
        path = Path(source).expanduser()
        if source.startswith(HUB) or not path.exists():
            return source
        if SEED.fullmatch(path.name):
            return f"{self.add(path.absolute().parent)}/{path.name}"
        return self.add(path)

    def add_project(self) -> str:
        """Put the code in, with the commit that it is, and return the folder on the head."""
        if not (ROOT / "constraints.txt").is_file():
            raise InputError(f"--cluster brings the project itself, and needs a checkout: {ROOT} is none")
        files = [
            file for name in PROJECT for file in (ROOT / name, *sorted((ROOT / name).rglob("*"))) if file.is_file()
        ]
        files = [file for file in files if "__pycache__" not in file.parts]
        digest = hashlib.sha256(code_version().encode())
        for file in files:
            digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
        there = self._put({file.relative_to(ROOT): file for file in files}, digest.hexdigest()[:16])
        commit = self.folder / Path(there).name / COMMIT_FILE
        commit.unlink(missing_ok=True)  # where this is a copy itself, it is a link to its own
        commit.write_text(code_version(), encoding="utf-8")
        return there

    def _put(self, files: Mapping[Path, Path], digest: str, name: str = "") -> str:
        for relative, file in files.items():
            copy = self.folder / digest / relative
            if not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(file, copy)
                except OSError:  # another file system
                    shutil.copy2(file, copy)
        return f"{INPUTS}/{digest}/{name}".rstrip("/")


def launch(cluster: str, context: typer.Context) -> int:
    """Run a command of `sweep/run.py`, given with its parsed options, on a cluster; return its exit status."""
    console = Console(highlight=False)
    config = read_cluster(cluster)
    command = str(context.info_name)
    head = Head(cluster, config)
    with tempfile.TemporaryDirectory(prefix="xpe-sweep-") as folder, _on_hangup():
        parcel = Parcel(Path(folder))
        arguments = rewrite(command, context, parcel)
        request = make_request(command, arguments, context.params, console.width)
        target = Path(context.params["storage"]) / request.name
        if request.storage and (target / ".lock").exists():  # which is not brought, so a driver was at work here
            raise InputError(
                f"{target} holds an experiment that ran here; bring the cluster's to another --storage DIR"
            )
        project = parcel.add_project()
        for path in parcel.backbones:
            message = f"The backbone is brought to the head only; every worker needs it at {path} (file_mounts), too."
            console.print(message, soft_wrap=True)
        goes_on = ""
        try:
            _wake(console, head, str(config["cluster_name"]), may_start=command in RUNS)
            with console.status("Bringing the project to the head"):
                head.upload(parcel.folder)
            goes_on = _explain(cluster, request)
            end = head.run(f"cd {project} && {encode(request)}", console)
        except KeyboardInterrupt:
            nothing = "Interrupted before anything was started there; the same command starts again."
            console.print(goes_on or nothing, soft_wrap=True)
            return 130
        if end is None:
            console.print(f"The connection to the head was lost. {goes_on}", soft_wrap=True)
            return 1
        if end["brought"]:
            with console.status("Bringing the results"):
                head.download(f"{OUTBOX}/{request.name}/", target)
            console.print(f"Brought to {target}; on the cluster: {request.storage}/{request.name}", soft_wrap=True)
        return int(end["status"])


def _wake(console: Console, head: Head, name: str, may_start: bool) -> None:
    """See to it that Ray runs on the head; where it does, nothing there is restarted."""
    with console.status(f"Looking for cluster {name}"):
        is_up = head.is_up()
    if not is_up and not may_start:
        raise InputError(f"cluster {name} is not up; search, grid, replicate, transfer and evaluate start it")
    if not is_up:
        console.print(f"Cluster {name} is not up: starting it (ray up), which takes minutes the first time.")
        with console.status("ray up"):
            head.start()


def rewrite(command: str, context: typer.Context, parcel: Parcel) -> list[str]:
    """Return the arguments of a command as they are on the head, and put in the parcel what they name here."""
    arguments, named = [command], []
    for parameter in context.command.params:
        value = context.params[str(parameter.name)]
        if parameter.name == "storage":
            arguments += ["--storage", value if "://" in value else RESULTS]
        elif parameter.name == "adapters":
            named += [parcel.add_adapter(source) for source in value]
        elif parameter.name in BROUGHT_FIELDS and value is not None:
            arguments += [parameter.opts[0], parcel.add_value(parameter.name, value)]
        elif parameter.name in ("experiment", "of"):
            if value is None:
                raise InputError(f"with --cluster {command} needs an experiment: a shipped one's name or a YAML file")
            named.append(parcel.add_yaml(Path(value)) if _is_yaml(value) else value)
        elif parameter.param_type_name == "argument":
            named.append(value)
        elif parameter.name == "overrides":
            for override in value or ():
                key, equals, text = override.partition("=")
                text = parcel.add_value(key, text) if key in BROUGHT_FIELDS else text
                arguments += [parameter.opts[0], f"{key}{equals}{text}"]
        elif isinstance(value, list | tuple):
            arguments += [word for one in value for word in (parameter.opts[0], str(one))]
        elif value != parameter.default:
            arguments += [parameter.opts[0]] if value is True else [parameter.opts[0], str(value)]
    if command == "evaluate" and context.params["name"] is None:  # there its adapters lie in folders of other names
        arguments += ["--name", name_evaluation(context.params["adapters"][0])]
    return [*arguments[:1], *named, *arguments[1:]]


def make_request(command: str, arguments: list[str], params: Mapping[str, Any], columns: int) -> Request:
    """Return what the head is asked for: a job for what takes long, else the command itself."""
    if command not in RUNS:
        return Request(tuple(arguments), columns=columns)
    if command == "evaluate":
        name = params["name"] or name_evaluation(params["adapters"][0])
    else:
        source = params["of"] if command == "replicate" else params["experiment"]
        if command != "replicate":
            load_experiment(source, params["overrides"] or ())  # a mistake in it is answered before a machine is asked
        name = params["name"] or name_experiment(command, source)
    storage = "" if "://" in params["storage"] or params["dry_run"] else RESULTS
    suffix = "-dry-run" if params["dry_run"] else ""
    return Request(tuple(arguments), f"xpe-sweep-{name}{suffix}", name, storage, columns)


def _explain(cluster: str, request: Request) -> str:
    """Return what goes on without us, where something does."""
    if request.submission_id is None:
        return "What was asked for may not have been done."
    return (
        f"{request.name} goes on on the cluster: the same command shows it again and brings its results; "
        f"to end it: python sweep/run.py --cluster {cluster} stop {quote(request.name)}"
    )


@contextmanager
def _on_hangup() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP as Ctrl-C: what is started here ends, what runs on the cluster goes on."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_yaml(value: str) -> bool:
    """Whether a value is a YAML file here; one in object storage is read there."""
    return not is_object_storage(value) and is_file(value)
