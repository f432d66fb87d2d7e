"""A search as Optuna knows it: the space's distributions, and a study with the trials that the ledger has.

The study lives in memory and is rebuilt from the ledger: Tune's own OptunaSearch tells Optuna that a pruned trial is
COMPLETE with its low-step value, and keeps a second truth on disk that runs ahead of Tune's.
"""

from collections.abc import Mapping

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from sweep.experiment.fields import read_params
from sweep.experiment.search import Search
from sweep.experiment.space import Dimension
from sweep.records.ledger import TrialRecord
from sweep.records.states import State

OPTUNA_STATES: dict[State | None, TrialState] = {State.COMPLETE: TrialState.COMPLETE, State.PRUNED: TrialState.PRUNED}
"""What Optuna hears of a trial's end; of every other one FAIL."""


def build_study(sweep: Search, records: Mapping[str, TrialRecord]) -> optuna.Study:
    """Return a search's study with all its trials that have ended, whatever sampler has proposed them."""
    study = start_study()
    distributions = build_distributions(sweep)
    for record in records.values():
        if record.state is not None:
            add_to_study(study, sweep, distributions, record)
    return study


def start_study() -> optuna.Study:
    """Return a study without trials, whose value is a selection accuracy."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(direction="maximize")


def add_to_study(
    study: optuna.Study,
    sweep: Search,
    distributions: Mapping[str, BaseDistribution],
    record: TrialRecord,
) -> None:
    """Add a trial that has ended and is of the space, as the experiment now is: others are left out."""
    state, params = OPTUNA_STATES.get(record.state, TrialState.FAIL), read_params(record.params)
    inside = all(lies_in(distributions[name], value) for name, value in params.items())
    if not (sweep.has_full_length(record.config) and inside and params):
        return
    study.add_trial(
        optuna.trial.create_trial(
            params=params,
            distributions={name: distributions[name] for name in params},
            state=state,
            value=None if state == TrialState.FAIL else record.value,
            intermediate_values=record.reports,
        )
    )


def build_distributions(sweep: Search) -> dict[str, BaseDistribution]:
    """Return Optuna's distribution of each dimension of a search's space."""
    return {name: build_distribution(dimension) for name, dimension in sweep.dimensions.items()}


def build_distribution(dimension: Dimension) -> BaseDistribution:
    """Return Optuna's distribution of a dimension that is not tied."""
    if dimension.choice is not None:
        return CategoricalDistribution(dimension.choice)
    low, high = dimension.bounds
    if dimension.step:  # a range ends at its last whole step
        high = low + int((high - low) / dimension.step + 1e-8) * dimension.step
    if dimension.integers:
        return IntDistribution(int(low), int(high), step=int(dimension.step or 1))
    return FloatDistribution(low, round(high, 12), log=dimension.log_uniform is not None, step=dimension.step)


def lies_in(distribution: BaseDistribution, value: object) -> bool:
    """Whether Optuna could have proposed the value; it cuts a range to a whole number of steps."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if not isinstance(value, int | float) or not distribution.low <= value <= distribution.high:
        return False
    steps = (value - distribution.low) / distribution.step if distribution.step else 0
    return abs(steps - round(steps)) < 1e-8
