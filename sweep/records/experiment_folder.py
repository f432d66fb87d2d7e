"""An experiment's folder: what was asked for, the ledger, the tables, and checkpoints of what runs.

    experiment.yaml                what was asked for, and the fingerprints of backbone and data
                                   (`sweep.records.specification`)
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

import math
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import yaml

from sweep.experiment.config import SweepConfig
from sweep.records.events import Event, write_event
from sweep.records.ledger import LEDGER, TrialRecord, read_ledger
from sweep.records.parquet import TRIALS_A_FILE, Rows, write_rows
from sweep.records.specification import FILE, OLDER, refuse_another, specify
from sweep.records.states import State
from sweep.storage import Folder, Location
from sweep.storage.lock import Lock
from sweep.storage.object_storage import PATIENT_ATTEMPTS
from xpe_core.errors import InputError

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
        self._lines: list[bytes] = []
        self._rows: dict[str, tuple[TrialRecord, Rows, Rows]] = {}
        self._flushed = -math.inf
        self._lock = Lock(self.folder)
        try:
            asked = specify(sweep, fingerprints)
            refuse_another(self.folder, asked, older_fingerprints)
            older = {OLDER: ",".join(older_fingerprints)} if older_fingerprints else {}
            asked = replace(asked, fingerprints={**fingerprints, **older}, places=places or {})
            self.write_yaml(FILE, asked.to_yaml())
            self.folder.mend(LEDGER)
            self.folder.delete(STOP)
            self._drop_old_checkpoints()
        except BaseException:
            self._lock.release()
            raise

    def append(self, event: Event) -> None:
        """Add an event to the ledger; it is kept after FLUSH_SECONDS (OBJECT_FLUSH_SECONDS) at most."""
        self._lines.append(write_event(event, time.time()))
        self.flush(force=False)

    def end(self, record: TrialRecord, state: State, error: str | None, runs: Rows, evaluations: Rows) -> None:
        """Write a trial's rows, and then that it ended."""
        record.state, record.error = state, error
        self._rows[record.trial_id] = record, runs, evaluations
        self.append({"event": "end", "trial_id": record.trial_id, "state": state, "error": error})

    def flush(self, force: bool = True) -> None:
        """Write what waits, where it is due or must be."""
        wait = FLUSH_SECONDS if self.folder.path is not None else OBJECT_FLUSH_SECONDS
        if not self._lines or not (force or time.monotonic() - self._flushed >= wait):
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
            self.folder.append(LEDGER, b"".join(self._lines))
        with self._writing():
            self.folder.tidy(LEDGER)
            for trial_id in self._rows:
                self.folder.delete(_checkpoint(trial_id))
        self._lines, self._rows, self._flushed = [], {}, time.monotonic()

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

    def write_yaml(self, name: str, values: Mapping[str, object], comment: str = "") -> None:
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


def _checkpoint(trial_id: str) -> str:
    return f"{CHECKPOINTS}/{trial_id}.safetensors"
