"""An experiment's folder: what was asked for, the ledger, the tables, and checkpoints of what runs.

    experiment.yaml                what was asked for, and the fingerprints of backbone and data
    ledger.jsonl                   one line an event: start, suggested, report, failure, end; in object storage
                                   it is in pieces, ledger/<numbers>.jsonl
    runs/part-0000.parquet         one row a run
    evaluations/part-0000.parquet  one row a run, split and language
    checkpoints/<trial_id>.safetensors   of trials that have not ended
    adapters/<run_id>.safetensors  the trained prompt and head of a finished run (`sweep.records.adapters`)
    <name>-best.yaml               the best configuration of a search, ready to run again

The driver is its only writer. A trial's rows are in the tables before the ledger says that it ended; events that come
quickly one after another are written together. What a killed driver had not written yet never was: the trial goes on
from its last checkpoint at the next start.

Object storage takes longer and counts requests, so events wait longer there. With the ledger in pieces
(`sweep.storage.pieces`) and a table's file written again when some of its trials have ended, the bytes written grow
with the number of events, not with its square.
"""

import json
import math
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import yaml

from sweep.experiment.config import KEYS, SweepConfig
from sweep.experiment.fields import read_fields
from sweep.records.ledger import LEDGER, TrialRecord, read_ledger
from sweep.records.parquet import TRIALS_A_FILE, Rows, write_rows
from sweep.records.states import State
from sweep.storage import Folder, Location
from sweep.storage.lock import Lock
from sweep.storage.object_storage import PATIENT_ATTEMPTS
from xpe_core.config import DEFAULTS
from xpe_core.errors import InputError

MAY_CHANGE = ("num_samples", "resources", "keep", "groups")
"""Keys of the specification that may differ when an experiment is started again; seeds and steps may grow."""
OLDER = "older_data"
"""Among an experiment's fingerprints: what older versions called the same data."""
NO_TRAINING = "is an evaluation, which tests adapters and trains none"
FLUSH_SECONDS = 0.5
"""Events that follow one another within this time are written together: each write waits for the disk."""
OBJECT_FLUSH_SECONDS = 2.0
"""The same in object storage, where a write is several requests."""
STOP = "stop"
CHECKPOINTS = "checkpoints"


class ExperimentFolder:
    """One experiment's folder, opened for writing."""

    def __init__(
        self,
        place: Location,
        sweep: SweepConfig,
        fingerprints: Mapping[str, str],
        places: Mapping[str, str] | None = None,
        older_fingerprints: Collection[str] = (),
    ) -> None:
        """Make the folder, or take it up again where it holds the same experiment; InputError where it differs.

        `places` are where what has another name lies now; `older_fingerprints` are further ones of the same data.
        """
        self.folder = Folder(place).with_attempts(PATIENT_ATTEMPTS)
        self.failure: InputError | None = None
        """Why the folder could no longer be written or read, where it could not."""
        self._events: list[dict[str, Any]] = []
        self._rows: dict[str, tuple[TrialRecord, Rows, Rows]] = {}
        self._flushed = -math.inf
        self._lock = Lock(self.folder)
        try:
            specification = _specify(sweep, fingerprints)
            _compare(self.folder, specification, older_fingerprints)
            if older_fingerprints:
                specification["fingerprints"][OLDER] = ",".join(older_fingerprints)
            here = {"places": dict(places)} if places else {}
            self.write_yaml("experiment.yaml", {**specification, **here})
            self.folder.mend(LEDGER)
            self.folder.delete(STOP)
            self._drop_old_checkpoints()
        except BaseException:
            self._lock.release()
            raise

    def append(self, event: Mapping[str, Any]) -> None:
        """Add an event to the ledger; it is kept after FLUSH_SECONDS (OBJECT_FLUSH_SECONDS) at most."""
        self._events.append({**event, "time": round(time.time(), 3)})
        self.flush(force=False)

    def end(self, record: TrialRecord, state: State, error: str | None, runs: Rows, evaluations: Rows) -> None:
        """Write a trial's rows, and then that it ended."""
        record.state, record.error = state, error
        self._rows[record.trial_id] = record, runs, evaluations
        self.append({"event": "end", "trial_id": record.trial_id, "state": state, "error": error})

    def flush(self, force: bool = True) -> None:
        """Write what waits, where it is due or must be."""
        wait = FLUSH_SECONDS if self.folder.path is not None else OBJECT_FLUSH_SECONDS
        if not self._events or not (force or time.monotonic() - self._flushed >= wait):
            return
        parts: dict[int, list[tuple[TrialRecord, Rows, Rows]]] = defaultdict(list)
        for record, runs, evaluations in self._rows.values():
            parts[record.number // TRIALS_A_FILE].append((record, runs, evaluations))
        for part, ended in parts.items():
            run_ids = [run_id for record, _, _ in ended for run_id in record.run_ids]
            for table, rows in (
                ("evaluations", [row for *_, evaluations in ended for row in evaluations]),
                ("runs", [row for _, runs, _ in ended for row in runs]),
            ):
                with self._writing():
                    write_rows(self.folder, table, part, run_ids, rows)
        with self._writing():
            self.folder.append(LEDGER, b"".join(json.dumps(event).encode() + b"\n" for event in self._events))
        with self._writing():
            self.folder.tidy(LEDGER)
            for trial_id in self._rows:
                self.folder.delete(_checkpoint(trial_id))
        self._events, self._rows, self._flushed = [], {}, time.monotonic()

    def write_checkpoint(self, trial_id: str, content: bytes) -> None:
        """Keep a trial's checkpoint in the place of its last one; what was reported before it is in the ledger first.

        A trial that goes on from a checkpoint does not report again what lies behind it.
        """
        self.flush()
        with self._writing():
            self.folder.write(_checkpoint(trial_id), content)

    def read_checkpoint(self, trial_id: str) -> bytes | None:
        """Return a trial's last checkpoint, None where it has none."""
        with self._keep_failure():
            return self.folder.read(_checkpoint(trial_id))

    def write_file(self, name: str, content: bytes) -> None:
        """Write a file of the experiment's."""
        with self._writing():
            self.folder.write(name, content)

    def delete_file(self, name: str) -> None:
        """Delete a file of the experiment's."""
        with self._writing():
            self.folder.delete(name)

    def is_asked_to_stop(self) -> bool:
        """Whether someone has asked for it with `request_stop`."""
        with self._keep_failure():
            return self.folder.read(STOP) is not None

    def write_yaml(self, name: str, values: Mapping[str, Any], comment: str = "") -> None:
        """Write a YAML file, under a comment."""
        text = comment + yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)
        self.write_file(name, text.encode())

    def _drop_old_checkpoints(self) -> None:
        """Delete the checkpoints of trials that have ended: a driver was killed after it had written that."""
        files = (self.folder / CHECKPOINTS).names(".safetensors")
        records = read_ledger(self.folder) if files else {}
        for file in files:
            record = records.get(file.removesuffix(".safetensors"))
            if record is not None and record.state is not None:
                with self._writing():
                    self.folder.delete(_checkpoint(record.trial_id))

    def close(self) -> None:
        """Write what waits, and let others write."""
        try:
            if not self.failure:
                self.flush()
        finally:
            self._lock.release()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Make sure that this driver is still the one that may write."""
        with self._keep_failure():
            self._lock.check()
            yield

    @contextmanager
    def _keep_failure(self) -> Iterator[None]:
        """Keep why the folder fails: Tune wraps what its callbacks raise."""
        try:
            yield
        except InputError as error:
            self.failure = error
            raise


def request_stop(folder: Folder) -> None:
    """Ask the driver that is at work on the experiment to write checkpoints and end."""
    folder.write(STOP, b"")


def read_specification(place: Location) -> dict[str, Any]:
    """Return an experiment's specification; InputError where the folder holds none, or the file is damaged."""
    folder = Folder(place)
    content = folder.read("experiment.yaml")
    if content is None:
        raise InputError(f"{folder} holds no experiment (no file experiment.yaml)")
    return _parse(folder, content)


def read_locations(place: Location) -> dict[str, str]:
    """Return where an experiment found its data and backbone last, by their names, if elsewhere."""
    return {str(name): str(there) for name, there in (read_specification(place).get("places") or {}).items()}


def _parse(folder: Folder, content: bytes) -> dict[str, Any]:
    """Return what experiment.yaml holds; InputError where no driver wrote it so."""
    try:
        values = yaml.safe_load(content.decode())
    except (yaml.YAMLError, UnicodeDecodeError):
        values = None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values) or "kind" not in values:
        raise InputError(f"{folder}/experiment.yaml is damaged: it is no YAML with a kind; restore it from a copy")
    return values


def _checkpoint(trial_id: str) -> str:
    return f"{CHECKPOINTS}/{trial_id}.safetensors"


def _specify(sweep: SweepConfig, fingerprints: Mapping[str, str]) -> dict[str, Any]:
    """Return what makes an experiment the same one, with numbers as they are read: 5e-3, 0.005 and '5e-3' are one."""
    specification = {"kind": sweep.kind, **sweep.model_dump(mode="json"), "fingerprints": dict(fingerprints)}
    first = sweep.corners[0].values
    specification["base"] = {name: first[name] for name in sweep.base}
    if sweep.kind != "search":
        values = dict(zip([arm for arm, _ in sweep.cells], [one.values for one in sweep.corners], strict=True))
        specification["arms"] = {arm: {key: values[arm][key] for key in keys} for arm, keys in sweep.arms.items()}
    return specification


def _compare(folder: Folder, now: Mapping[str, Any], older_fingerprints: Collection[str] = ()) -> None:
    """Raise InputError with the differences where an experiment of another specification lies in the folder."""
    content = folder.read("experiment.yaml")
    if content is None:
        return
    before = _parse(folder, content)
    before.pop("places", None)
    before = {key: value for key, value in before.items() if key in now or key not in KEYS}  # no key of other kinds
    (before.get("fingerprints") or {}).pop(OLDER, None)
    if before["kind"] != now["kind"]:
        kinds = f"its kind is {before['kind']}, this one's is {now['kind']}"
        raise InputError(f"{folder} holds another experiment: {kinds}; give this one a --name of its own")
    with suppress(ValueError):  # text such as 5e-3 stands for a number in older files
        before = read_fields(before)
    old, new = _flatten(before), _flatten(now)
    if old.get("fingerprints.data") in older_fingerprints:
        old["fingerprints.data"] = new["fingerprints.data"]
    contents = _compare_contents(old, new)
    grows = ("adapters", "arms") if now["kind"] == "evaluate" else ()
    differences = [
        f"{key} was {old.get(key)!r} and is now {new.get(key)!r}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
        and not _may_change(key, old.get(key), new.get(key))
        and not (key not in old and key.split(".")[0] in grows)
        and key not in contents
    ]
    if differences or any(contents.values()):
        what = "; ".join([*filter(None, contents.values()), *differences])
        raise InputError(f"{folder} holds another experiment: {what}; give this one a --name of its own")


def _compare_contents(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the keys that say which backbone and data an experiment has, with how they differ where they do.

    The fingerprint of the data stands for the backbone's tokens, too, cut to a length.
    """
    said: dict[str, str | None] = {}
    for name, key in (("backbone", "fingerprints.backbone"), ("dataset", "fingerprints.data")):
        before, now = old.get(key), new.get(key)
        if before is None or before == now:
            continue
        said[key] = None
        if key == "fingerprints.data" and ("fingerprints.backbone" in said or _differ("base.max_length", old, new)):
            continue
        field = f"base.{name}"
        what = "the backbone is another one" if name == "backbone" else "the data differ"
        names = [str(values.get(field, DEFAULTS[name])) for values in (old, new)]
        places = names[0] if names[0] == names[1] else f"{names[0]} and {names[1]}"
        said[field] = f"{what}, in content ({places}; fingerprints {before[:12]} and {str(now)[:12]})"
    return said


def _differ(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return bool(old.get(key) != new.get(key))


def _may_change(key: str, old: Any, new: Any) -> bool:
    if key == "seeds":
        return set(old) <= set(new)
    if key == "base.max_steps":
        return isinstance(old, int) and isinstance(new, int) and old <= new
    return key.split(".")[0] in MAY_CHANGE


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat.update(_flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value})
    return flat
