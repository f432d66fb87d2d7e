"""`dashboard`: a search, or the searches of a study, in Optuna's own dashboard, as the ledger has them.

The study is made for the dashboard and lives in this process's memory: what one changes or deletes in the browser is
gone with it, and the experiment never hears of it. Unlike the study that proposals are drawn with, it also has what is
running, SPT and XPE, and trials of another length than the search now has.
"""

from collections.abc import Mapping
from datetime import datetime
from shlex import quote
from socketserver import ThreadingMixIn
from threading import Event, Thread
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from sweep.analysis.stored_experiment import read_experiment
from sweep.experiment.fields import read_params
from sweep.experiment.search import Search
from sweep.logs.tools import INSTALL
from sweep.records.events import trial_of
from sweep.records.ledger import TrialRecord, read_events, read_ledger
from sweep.records.stages import Stage
from sweep.records.states import State
from sweep.records.study import OPTUNA_STATES, build_distribution, lies_in
from sweep.storage import Folder
from sweep.storage.lock import is_running
from xpe_core.errors import InputError
from xpe_core.fields import FieldValue

REFRESH_SECONDS = 3.0
OBJECT_REFRESH_SECONDS = 15.0
"""Between looks at the ledger of a running search, which in object storage are requests."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Print no line a request."""


class DashboardStudy:
    """The studies of an experiment's searches in an Optuna storage, brought up to date from the ledger."""

    def __init__(self, folder: Folder) -> None:
        """Read the searches; InputError where the experiment has none."""
        self._folder = folder
        self._searches = _find_searches(folder)
        self.storage = InMemoryStorage()
        self._study_ids = {
            method: self.storage.create_new_study(
                [StudyDirection.MAXIMIZE], folder.name if method is None else f"{folder.name}: {method}"
            )
            for method in self._searches
        }
        self._trial_ids: dict[str, int] = {}
        self._ended: set[str] = set()
        self._num_reports: dict[str, int] = {}

    def refresh(self) -> None:
        """Add what the ledger has beyond what it had the last time."""
        times = _read_times(self._folder)
        for record in read_ledger(self._folder).values():
            method = None if record.stage is None else record.arm
            if record.trial_id in self._ended or record.stage == Stage.REPLICATION or method not in self._searches:
                continue
            trial_id = self._trial_ids.get(record.trial_id)
            if trial_id is None:
                frozen = _freeze(self._searches[method], record, *times[record.trial_id])
                self._trial_ids[record.trial_id] = self.storage.create_new_trial(self._study_ids[method], frozen)
            else:
                self._go_on(record, trial_id)
            self._num_reports[record.trial_id] = len(record.reports)
            if record.state is not None:
                self._ended.add(record.trial_id)

    def _go_on(self, record: TrialRecord, trial_id: int) -> None:
        """Add what a trial that was running has reported since."""
        for step, reported in sorted(record.reports.items())[self._num_reports[record.trial_id] :]:
            self.storage.set_trial_intermediate_value(trial_id, step, reported)
        if record.state is not None:
            for name, attribute in _describe(record).items():
                self.storage.set_trial_user_attr(trial_id, name, attribute)
            state, value = _find_end(record)
            self.storage.set_trial_state_values(trial_id, state, None if value is None else [value])


def _find_searches(folder: Folder) -> Mapping[str | None, Search]:
    """Return the searches of an experiment, a study's by method; InputError where there is none."""
    experiment = read_experiment(folder)
    if experiment.study is not None:
        return {method: search for method, search in experiment.study.searches.items()}
    if isinstance(experiment.sweep, Search):
        return {None: experiment.sweep}
    raise InputError(
        f"{folder.name} is a {experiment.sweep.kind}, and the dashboard shows searches: "
        f"python sweep/run.py report {quote(folder.name)}"
    )


def serve(console: Console, folder: Folder, host: str, port: int) -> None:
    """Serve a search's dashboard until Ctrl-C; InputError where that cannot be."""
    try:
        from optuna_dashboard import wsgi
    except ImportError:
        raise InputError(f"dashboard needs the package optuna-dashboard, which is not installed: {INSTALL}") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = DashboardStudy(folder)
    study.refresh()
    try:
        server = make_server(host, port, wsgi(study.storage), server_class=_Server, handler_class=_Quiet)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"cannot listen on {host}, port {port}: {getattr(error, 'strerror', None) or error}; say another --port"
        ) from None
    done = Event()
    with server:
        running = is_running(folder)
        up_to_date = "kept up to date while it runs" if running else "no driver is at work on it"
        console.print(
            f"{folder.name} at http://{host}:{server.server_port}/ ({up_to_date}); Ctrl-C ends it", soft_wrap=True
        )
        keep = Thread(target=_keep_up_to_date, args=(study, folder, done, console), daemon=True)
        keep.start()
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            pass
        finally:
            done.set()
            keep.join(timeout=1)


def _keep_up_to_date(study: DashboardStudy, folder: Folder, done: Event, console: Console) -> None:
    """Refresh a study until `done`; what cannot be read now is said once and may be read later."""
    said = ""
    wait = REFRESH_SECONDS if folder.path is not None else OBJECT_REFRESH_SECONDS
    while not done.wait(wait):
        try:
            study.refresh()
        except InputError as error:
            if str(error) != said:
                said = str(error)
                console.print(f"not up to date: {said}", soft_wrap=True, markup=False)


def _read_times(folder: Folder) -> dict[str, tuple[datetime, datetime]]:
    """Return when each trial was proposed and when it was last heard of."""
    times: dict[str, tuple[datetime, datetime]] = {}
    for event in read_events(folder):
        if trial_id := trial_of(event):
            now = datetime.fromtimestamp(event["time"])
            times[trial_id] = times.get(trial_id, (now, now))[0], now
    return times


def _freeze(sweep: Search, record: TrialRecord, began: datetime, ended: datetime) -> FrozenTrial:
    """Return a trial as it stands."""
    params = _find_params(sweep, record)
    state, value = _find_end(record)
    return FrozenTrial(
        number=-1,  # the storage gives it one, and an id
        trial_id=-1,
        state=state,
        value=value,
        datetime_start=began,
        datetime_complete=ended if state.is_finished() else None,
        params={name: value for name, (value, _) in params.items()},
        distributions={name: distribution for name, (_, distribution) in params.items()},
        user_attrs=_describe(record),
        system_attrs={},
        intermediate_values=dict(record.reports),
    )


def _find_end(record: TrialRecord) -> tuple[TrialState, float | None]:
    """Return Optuna's state of a trial, and its value where it has one."""
    if record.state is None:
        return TrialState.RUNNING, None
    state = OPTUNA_STATES.get(record.state, TrialState.FAIL)
    return state, None if state == TrialState.FAIL else record.value


def _find_params(sweep: Search, record: TrialRecord) -> dict[str, tuple[FieldValue, BaseDistribution]]:
    """Return what was drawn for a trial, each with a distribution that holds it.

    SPT and XPE lie outside of a range of `encoder_ratio`, and a space may have changed; Optuna takes other ranges for a
    trial, but no other choices.
    """
    drawn: dict[str, tuple[FieldValue, BaseDistribution]] = {}
    for name, value in read_params(record.params).items():
        if name not in sweep.dimensions:
            continue
        distribution = build_distribution(sweep.dimensions[name])
        if not lies_in(distribution, value):
            if isinstance(distribution, CategoricalDistribution):
                continue
            distribution = _widen(distribution, value)
        drawn[name] = value, distribution
    return drawn


def _widen(distribution: BaseDistribution, value: FieldValue) -> BaseDistribution:
    assert isinstance(distribution, FloatDistribution | IntDistribution) and isinstance(value, int | float)
    low, high = min(distribution.low, value), max(distribution.high, value)
    if isinstance(distribution, IntDistribution) and isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high)
    return FloatDistribution(low, high, log=bool(distribution.log) and low > 0)


def _describe(record: TrialRecord) -> dict[str, object]:
    """Return a trial's user attributes."""
    config = record.run_config
    return {
        "method": config.method,
        "trial_id": record.trial_id,
        "config_id": record.config_id,
        "seeds": [run.seed for run in record.runs],
        "run_ids": record.run_ids,
        "baseline": record.baseline,
        "state": record.state or State.RUNNING,
        **({"error": record.error.strip().splitlines()[-1]} if record.error else {}),
        **{name: value for name, value in config.without("seed").items() if value is not None},
    }
