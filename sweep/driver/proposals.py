"""What an experiment runs next: a grid's cells in their order, or what a sampler draws from the space.

Every proposal is drawn with a seed of its own, so an experiment that is taken up again proposes what it would have.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from scipy.stats import qmc

from sweep.experiment.search import Search
from sweep.records.ledger import TrialRecord
from sweep.records.runs import RunKey, make_runs
from sweep.records.stages import Stage
from sweep.records.states import State
from sweep.records.study import OPTUNA_STATES, add_to_study, build_distributions, start_study
from xpe_core.config import DEFAULTS, RunConfig
from xpe_core.fields import FieldValue, FieldValues
from xpe_core.seeds import stream_seed
from xpe_core.tunings import is_alone

NUM_STARTUP_SAMPLES = 5
"""Random proposals before TPE has enough to go by."""
MAX_TPE_DUPLICATES = 10
"""Known configurations that TPE may propose again before one is drawn at random."""
MAX_DUPLICATES = 200
"""Known configurations, of both kinds, after which the space counts as exhausted."""


@dataclass(frozen=True)
class Proposal:
    """A configuration and the runs that train together."""

    config: RunConfig
    runs: tuple[RunKey, ...]
    params: FieldValues
    baseline: bool = False
    arm: str | None = None
    stage: Stage | None = None
    error: str | None = None
    """Why it cannot be run, where that is known; None: it can be."""


def propose_missing(sweep: Search, records: Mapping[str, TrialRecord]) -> Iterator[Proposal]:
    """Yield what more runs or steps of a search ask for: configurations that came to their end before.

    Where there are more steps, the best come first.
    """
    ended = [record for record in records.values() if record.state in (State.COMPLETE, State.FAILED)]
    shorter = [record for record in ended if not sweep.has_full_length(record.config)]
    asked = make_runs(sweep.seeds)
    known: dict[str, set[RunKey]] = defaultdict(set)
    for record in records.values():
        known[record.config_id].update(record.runs)
    for record in sorted(shorter, key=lambda record: -(record.value or 0.0)):
        config = RunConfig(**{**record.config, "max_steps": sweep.longest})
        if config.config_id not in known:
            yield Proposal(config, asked, record.params, record.baseline, record.arm)
    for record in ended:
        if not sweep.has_full_length(record.config):
            continue
        if missing := tuple(run for run in asked if run not in known[record.config_id]):
            known[record.config_id].update(missing)
            yield Proposal(record.run_config, missing, record.params, baseline=True, arm=record.arm)


def propose_cells(
    cells: Iterable[tuple[str, RunConfig, Sequence[RunKey]]], records: Iterable[TrialRecord], size: int | None
) -> Iterator[Proposal]:
    """Yield the runs of arms' configurations that are not in the ledger, in packs of `size` (None: all of a cell).

    Runs that would share no pass of the backbone are trials of their own.
    """
    known = {run_id for record in records for run_id in record.run_ids}
    for arm, config, runs in cells:
        missing = [run for run in runs if run.run_id(config) not in known]
        step = 1 if is_alone(config) else size or max(len(missing), 1)
        for start in range(0, len(missing), step):
            yield Proposal(config, tuple(missing[start : start + step]), {}, arm=arm)


class Sampler:
    """Draws a search's configurations: those that come first, then points of the space, no configuration twice."""

    def __init__(self, sweep: Search, records: Mapping[str, TrialRecord], first: Sequence[FieldValues] = ()) -> None:
        """Start from what the ledger knows; `first` are values of searched fields that others are compared with."""
        self._sweep, self._first = sweep, first
        self._distributions = build_distributions(sweep)
        self._study = start_study()
        self._asked: dict[str, optuna.Trial] = {}
        self._sequence = qmc.Sobol(max(len(sweep.dimensions), 1), rng=np.random.default_rng(sweep.search_seed))
        for record in records.values():
            if record.state is not None:
                self.tell(record)

    def propose(self, number: int, known: set[str]) -> Proposal | None:
        """Return trial `number`'s configuration, none of the `known` config_ids; None where the space is exhausted."""
        sweep = self._sweep
        for values in self._first:
            if not values.keys() <= set(sweep.varying):
                continue
            config = sweep.config(**values)
            if config.config_id not in known:
                params = {name: config.values[name] for name in sweep.dimensions if name in DEFAULTS}
                return Proposal(config, make_runs(sweep.seeds), params, baseline=True)
        # one Sobol sequence for the whole search is gone through from its start, past what is known
        for attempt in range(MAX_DUPLICATES + (len(known) if sweep.sampler == "quasi_random" else 0)):
            point, asked = self._draw(number, attempt)
            config = sweep.config(point)
            if config.config_id not in known:
                if asked is not None:
                    self._asked[config.config_id] = asked
                return Proposal(config, make_runs(sweep.seeds), point)
            if asked is not None:
                self._study.tell(asked, state=TrialState.FAIL)
        return None

    def tell(self, record: TrialRecord) -> None:
        """Tell the study how a trial ended: COMPLETE, PRUNED by the scheduler with its values, else FAIL."""
        state = OPTUNA_STATES.get(record.state, TrialState.FAIL)
        value = record.value if state == TrialState.COMPLETE else None
        asked = self._asked.pop(record.config_id, None)
        if asked is not None:
            for step, reported in record.reports.items():
                asked.report(reported, step)
            self._study.tell(asked, values=value, state=state)
        elif self._sweep.sampler == "tpe":
            add_to_study(self._study, self._sweep, self._distributions, record)

    def _draw(self, number: int, attempt: int) -> tuple[dict[str, FieldValue], optuna.Trial | None]:
        """Return a point of the space and, where Optuna drew it, the trial to tell."""
        dimensions, seed = self._sweep.dimensions, self._sweep.search_seed
        if self._sweep.sampler == "tpe":
            return self._ask(stream_seed(seed, f"proposal/{number}/{attempt}") % 2**32, attempt)
        if self._sweep.sampler == "random" or not dimensions:
            shares = np.random.default_rng(stream_seed(seed, f"point/{number}/{attempt}")).random(len(dimensions))
        else:
            shares = self._sequence.random(1)[0]
        drawn = {name: dimension.at(share) for (name, dimension), share in zip(dimensions.items(), shares, strict=True)}
        return self._keep_searched(drawn), None

    def _keep_searched(self, point: FieldValues) -> dict[str, FieldValue]:
        """Return the point without fields that are not searched where the others have these values."""
        values = {**DEFAULTS, **self._sweep.values_at(point)}
        space = self._sweep.space
        return {name: value for name, value in point.items() if name not in space or space[name].is_searched(values)}

    def _ask(self, seed: int, attempt: int) -> tuple[dict[str, FieldValue], optuna.Trial]:
        startup = optuna.samplers.RandomSampler(seed)
        tpe = optuna.samplers.TPESampler(seed=seed, n_startup_trials=NUM_STARTUP_SAMPLES, constant_liar=True)
        self._study.sampler = startup if attempt >= MAX_TPE_DUPLICATES else tpe
        if not any(dimension.when for dimension in self._sweep.dimensions.values()):
            asked = self._study.ask(self._distributions)
            return dict(asked.params), asked
        asked = self._study.ask()
        point: dict[str, FieldValue] = {}
        for name, dimension in self._sweep.dimensions.items():
            known = {**DEFAULTS, **self._sweep.values_at(point)}
            if dimension.is_searched(known):
                point[name] = _suggest(asked, name, self._distributions[name])
        return point, asked


def _suggest(asked: optuna.Trial, name: str, distribution: BaseDistribution) -> FieldValue:
    if isinstance(distribution, CategoricalDistribution):
        return asked.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return asked.suggest_int(name, distribution.low, distribution.high, step=distribution.step)
    assert isinstance(distribution, FloatDistribution)
    return asked.suggest_float(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
