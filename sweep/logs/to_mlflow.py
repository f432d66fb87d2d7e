"""MLflow: a parent run a configuration, with the means over its complete runs, and below it each of these.

Runs are found again by their tags `experiment` and `run_id` (a parent by `config_id`). Without MLFLOW_TRACKING_URI they
go to an SQLite file: MLflow 3 has given up its store of plain files.
"""

import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from sweep.records.states import State

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before the import: nothing is sent that nobody asked for

from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import Metric, Param, RunTag  # noqa: E402

from sweep.logs.history import ConfigurationHistory, RunHistory  # noqa: E402
from sweep.logs.marks import take  # noqa: E402
from sweep.logs.secrets import hide_secrets  # noqa: E402
from xpe_core.fields import FieldValues  # noqa: E402

STATUS = {
    State.RUNNING: "RUNNING",
    State.UNFINISHED: "SCHEDULED",  # it goes on at the next start
    State.COMPLETE: "FINISHED",
    State.PRUNED: "KILLED",
    State.FAILED: "FAILED",
}
MAX_METRICS = 1000
"""Of one request."""
PAGE = 1000
LONGEST_TAG = 4000


@dataclass
class _RemoteRun:
    """What MLflow has of a run."""

    id: str
    digest: str | None = None
    step: int | None = None
    """Of its last point; None where that has not been looked up."""
    state: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    """The latest value of each."""


class MLflowWriter:
    """Writes to one MLflow experiment."""

    def __init__(self, log_folder: Path | None, experiment: str) -> None:
        for name in ("mlflow", "alembic"):  # what goes wrong is raised
            logging.getLogger(name).setLevel(logging.ERROR)
        self._lock = take(log_folder) if log_folder is not None else None
        uri, artifacts = os.environ.get("MLFLOW_TRACKING_URI"), None
        if not uri:
            assert log_folder is not None
            uri, artifacts = f"sqlite:///{log_folder / 'mlflow.db'}", (log_folder / "artifacts").as_uri()
        self.where = hide_secrets(uri)
        self._experiment = experiment
        try:
            self._client = MlflowClient(tracking_uri=uri)
            self._experiment_id = self._find_experiment(artifacts)
            self._remote_runs = self._find_runs()
        except BaseException:  # the next try needs the lock
            self.close()
            raise

    def write(self, configuration: ConfigurationHistory) -> None:
        """Write what MLflow lacks of a configuration."""
        name, params = configuration.name, configuration.params
        parent = self._find(configuration.config_id, name, {"config_id": configuration.config_id}, params)
        for run in configuration.runs.values():
            own = {"config_id": configuration.config_id, "run_id": run.run_id, "mlflow.parentRunId": parent.id}
            child = self._find(run.run_id, f"{name}-seed-{run.seed}", own, run.params)
            if child.digest != run.digest():
                self._write_run(child, run)
        complete = configuration.complete
        means = {**configuration.mean_results(), "num_complete_seeds": float(len(complete))}
        self._write_results(parent, means, len(complete), time.time())  # its steps: more runs make a newer value
        self._set_state(parent, configuration.state)

    def close(self) -> None:
        """Let others write; every request was sent when it was made."""
        if self._lock is not None:
            self._lock.release()

    def _find_experiment(self, artifacts: str | None) -> str:
        """Return the id of the MLflow experiment, which is made where there is none."""
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or self._experiment
        known = self._client.get_experiment_by_name(name)
        if known is None:
            return str(self._client.create_experiment(name, artifact_location=artifacts))
        return str(known.experiment_id)

    def _find_runs(self) -> dict[str, _RemoteRun]:
        """Return what is there of the experiment's configurations and runs, by their ids."""
        remote_runs: dict[str, _RemoteRun] = {}
        query, token = f"tags.experiment = '{self._experiment}'", None
        while True:
            page = self._client.search_runs([self._experiment_id], query, max_results=PAGE, page_token=token)
            for run in page:
                tags = run.data.tags
                key = tags.get("run_id") or tags.get("config_id")
                if key is not None:
                    remote_runs[key] = _RemoteRun(
                        run.info.run_id, tags.get("digest"), None, tags.get("state"), dict(run.data.metrics)
                    )
            token = page.token
            if not token:
                return remote_runs

    def _find(self, key: str, name: str, tags: dict[str, str], params: FieldValues) -> _RemoteRun:
        """Return a run, which is made where there is none."""
        if key not in self._remote_runs:
            tags = {**tags, "experiment": self._experiment, "method": str(params["method"])}
            made = self._client.create_run(self._experiment_id, run_name=name, tags=tags)
            self._remote_runs[key] = _RemoteRun(made.info.run_id, step=0)
        remote = self._remote_runs[key]
        if remote.state is None:  # a writer that was killed may not have come so far
            self._client.log_batch(remote.id, params=[Param(name, str(value)) for name, value in params.items()])
        return remote

    def _write_run(self, remote: _RemoteRun, run: RunHistory) -> None:
        if remote.step is None:
            written = [self._client.get_metric_history(remote.id, name) for name in _first_names(run)]
            remote.step = max((metric.step for metrics in written for metric in metrics), default=0)
        metrics = [
            Metric(name, value, int(1000 * point.time), point.step)
            for point in run.points.values()
            if point.step > remote.step
            for name, value in point.metrics.items()
        ]
        self._log(remote, metrics)
        remote.step = run.num_steps
        if run.has_ended:
            end = max((point.time for point in run.points.values()), default=time.time())
            self._write_results(remote, run.results, run.num_steps, end)
        if run.error:
            self._client.set_tag(remote.id, "error", run.error.strip().splitlines()[-1][:LONGEST_TAG])
        self._set_state(remote, run.state)
        if run.state != State.RUNNING:
            digest = run.digest()
            self._client.set_tag(remote.id, "digest", digest)
            remote.digest = digest

    def _write_results(self, remote: _RemoteRun, results: dict[str, float], step: int, seconds: float) -> None:
        """Write the results that are not there, or are others."""
        new = {name: float(value) for name, value in results.items() if remote.metrics.get(name) != value}
        self._log(remote, [Metric(name, value, int(1000 * seconds), step) for name, value in new.items()])

    def _log(self, remote: _RemoteRun, metrics: list[Metric]) -> None:
        for start in range(0, len(metrics), MAX_METRICS):
            self._client.log_batch(remote.id, metrics=metrics[start : start + MAX_METRICS])
        remote.metrics |= {metric.key: metric.value for metric in metrics}

    def _set_state(self, remote: _RemoteRun, state: State) -> None:
        if remote.state == state:
            return
        status = STATUS[state]
        self._client.log_batch(remote.id, tags=[RunTag("state", state.value)])
        if status in ("RUNNING", "SCHEDULED"):
            self._client.update_run(remote.id, status=status)
        else:
            self._client.set_terminated(remote.id, status=status)
        remote.state = state.value


def _first_names(run: RunHistory) -> list[str]:
    """Return the names of what a run's first point has: every point has it."""
    return list(next(iter(run.points.values())).metrics) if run.points else []
