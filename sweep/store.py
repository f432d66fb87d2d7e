"""An experiment's folder: the specification, the ledger and two Parquet tables. The driver is its only writer.

    experiment.yaml              what was asked for, and the fingerprints of backbone and data
    ledger.jsonl                 one line an event: suggested, report, end
    runs/<trial_id>.parquet      one row a run
    evaluations/<trial_id>.parquet   one row a run, split and language
    <name>-best.yaml             the best configuration, ready to run again

A trial's rows are written by temporary file and rename, under a name that derives from its runs, before the ledger says
that it ended: a crash leaves no half file, and a retry overwrites instead of counting twice.
"""

import errno
import json
import os
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import yaml
from filelock import FileLock, Timeout

from sweep.config import SweepConfig
from xpe_core.config import RunConfig
from xpe_core.errors import InputError

MAY_CHANGE = ("num_samples", "resources")
"""Keys of the specification that may differ when an experiment is started again."""


def _arrow_type(annotation: Any) -> pa.DataType:
    """Return the column type of a `RunConfig` field; all it holds are strings, integers and floats."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        annotation = next(part for part in typing.get_args(annotation) if part is not type(None))
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    return {int: pa.int64(), float: pa.float64()}.get(annotation, pa.string())


RUN_SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("config_id", pa.string()),
        ("trial_id", pa.string()),
        ("trial_number", pa.int64()),
        ("method", pa.string()),
        ("state", pa.string()),  # complete, pruned, failed
        ("error", pa.string()),
        *((name, _arrow_type(field.annotation)) for name, field in RunConfig.model_fields.items()),
        ("num_steps", pa.int64()),
        ("best_step", pa.int64()),
        ("validation_accuracy", pa.float64()),  # of the kept checkpoint, mean over the source languages
        ("selection_accuracy", pa.float64()),  # of the kept checkpoint, mean over the experiment's selection languages
        ("train_seconds", pa.float64()),  # of the whole pack, evaluations not counted
        ("tokens_per_second", pa.float64()),  # of the whole pack, text tokens
        ("padding_share", pa.float64()),  # of all positions in the backbone's batches
        ("peak_share", pa.float64()),  # of the rate of a plain matrix product in the run's precision, measured there
        ("num_runs_in_pack", pa.int64()),
        ("peak_memory_bytes", pa.int64()),  # of the worker process, or of its GPU
        ("num_trained_parameters", pa.int64()),
        ("code_version", pa.string()),
        ("package_versions", pa.string()),  # JSON
        ("backbone_fingerprint", pa.string()),
        ("data_fingerprint", pa.string()),
        ("host", pa.string()),
        ("device", pa.string()),
    ]
)
EVALUATION_SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("split", pa.string()),
        ("language", pa.string()),
        ("num_examples", pa.int64()),
        ("num_correct", pa.int64()),
        ("macro_f1", pa.float64()),
        ("loss", pa.float64()),
    ]
)


@dataclass
class TrialRecord:
    """What the ledger says of one trial."""

    trial_id: str
    number: int
    baseline: bool
    params: dict[str, Any]
    config: dict[str, Any]
    seeds: tuple[int, ...]
    state: str | None = None
    """complete, pruned, failed; crashed (it is run again at the next start); None while it has not ended."""
    error: str | None = None
    reports: dict[int, float] = field(default_factory=dict)
    """Selection accuracy by step."""

    @property
    def run_config(self) -> RunConfig:
        """The trial's configuration, with the first of its seeds."""
        return RunConfig(**self.config)

    @property
    def value(self) -> float | None:
        """The last reported selection accuracy."""
        return self.reports[max(self.reports)] if self.reports else None


class ExperimentFolder:
    """One experiment's folder, opened for writing."""

    def __init__(self, folder: Path, sweep: SweepConfig, fingerprints: Mapping[str, str]) -> None:
        """Make the folder, or take it up again where it holds the same experiment; InputError where it differs."""
        self.path = folder
        self.failure: InputError | None = None
        """Why the folder could no longer be written, where it could not."""
        values = sweep.config().model_dump()
        base = {name: values[name] for name in sweep.base}  # 5e-3, 0.005 and '5e-3' are the same
        specification = {**sweep.model_dump(mode="json"), "base": base, "fingerprints": dict(fingerprints)}
        with self._explain():
            for part in ("runs", "evaluations"):
                (folder / part).mkdir(parents=True, exist_ok=True)
            self._lock = _lock(folder)
            try:
                self._ledger = self._take_up(specification)
            except BaseException:
                self._lock.release()
                raise

    def _take_up(self, specification: Mapping[str, Any]) -> FileIO:
        """Check and write the specification, and open the ledger."""
        file = self.path / "experiment.yaml"
        if file.exists():
            _compare(self.path, yaml.safe_load(file.read_text(encoding="utf-8")), specification)
        self.write_yaml(file.name, specification)
        ledger = self.path / "ledger.jsonl"
        _mend_last_line(ledger)
        return ledger.open("ab", buffering=0)

    def append(self, event: Mapping[str, Any]) -> None:
        """Write one event to the ledger and wait until it is on the disk."""
        with self._explain():
            line = json.dumps(event).encode() + b"\n"
            if self._ledger.write(line) < len(line):  # a disk that fills up takes a part; the next start cuts it off
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._ledger.fileno())

    def write_runs(self, trial_id: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a trial's rows of the table `runs`."""
        self._write_table(f"runs/{trial_id}.parquet", rows, RUN_SCHEMA)

    def write_evaluations(self, trial_id: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a trial's rows of the table `evaluations`."""
        self._write_table(f"evaluations/{trial_id}.parquet", rows, EVALUATION_SCHEMA)

    def write_yaml(self, name: str, values: Mapping[str, Any], comment: str = "") -> None:
        """Write a YAML file, under a comment."""
        text = yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)
        with self._explain(), _replacing(self.path / name) as temporary:
            temporary.write_text(comment + text, encoding="utf-8")

    def close(self) -> None:
        """Close the ledger and let others write."""
        self._ledger.close()
        self._lock.release()

    @contextmanager
    def _explain(self) -> Iterator[None]:
        """Turn an error of the file system into one sentence, and keep it."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                way = "make room and start the same command again, it goes on from here"
                self.failure = InputError(f"no space left for {self.path}: {way}")
            else:
                reason = f"storage {self.path} cannot be written ({error.strerror})"
                self.failure = InputError(f"{reason}; say where with --storage DIR")
            raise self.failure from None

    def _write_table(self, name: str, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> None:
        table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
        with self._explain(), _replacing(self.path / name) as temporary:
            pyarrow.parquet.write_table(table, temporary, compression="zstd")


def check_storage(folder: Path) -> None:
    """Raise InputError where the experiment's folder, or the first folder above it that exists, cannot be written."""
    above = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise InputError(
            f"storage {folder} cannot be written ({above} is no writable folder); say where with --storage DIR"
        )


def read_ledger(folder: Path) -> dict[str, TrialRecord]:
    """Return the trials that an experiment's ledger knows, by trial_id, in the order of their numbers."""
    records: dict[str, TrialRecord] = {}
    path = folder / "ledger.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
    for line in filter(None, lines):
        event = json.loads(line)
        if event["event"] == "suggested":
            values = {key: event[key] for key in ("trial_id", "number", "baseline", "params", "config")}
            records[event["trial_id"]] = TrialRecord(**values, seeds=tuple(event["seeds"]))
        elif event["event"] == "report":
            records[event["trial_id"]].reports[event["step"]] = event["selection_accuracy"]
        elif event["event"] == "end":
            records[event["trial_id"]].state = event["state"]
            records[event["trial_id"]].error = event["error"]
    for record in records.values():
        if record.state == "crashed":
            record.state, record.error = None, None
    return records


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a temporary sibling to write to, and put it in the place of `path` when it is complete."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _lock(folder: Path) -> FileLock:
    """Take the folder for this process alone; a killed process loses it by itself."""
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(f"{folder} is being written by another search; wait for it, or give a --name") from None
    return lock


def _compare(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise InputError with the differences where an experiment of another specification lies in the folder."""
    old, new = _flatten(before), _flatten(now)
    differences = [
        f"{key} was {old.get(key)!r} and is now {new.get(key)!r}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and key.split(".")[0] not in MAY_CHANGE
    ]
    if differences:
        raise InputError(
            f"{folder} holds another experiment: {'; '.join(differences)}; give this one a --name of its own"
        )


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat.update(_flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value})
    return flat


def _mend_last_line(path: Path) -> None:
    """Cut off what a killed driver left of its last line."""
    if path.is_file() and (content := path.read_bytes()) and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)
