"""A study's searches as the ledger has them: what each has spent, whether it is over, and what it chose."""

from collections.abc import Collection, Iterable, Mapping

from sweep.experiment.arms import Grid, share_fields
from sweep.experiment.study import Study, name_default
from sweep.records.ledger import TrialRecord
from sweep.records.ranking import rank_trials
from sweep.records.stages import Stage
from sweep.records.states import State
from xpe_core.config import RunConfig
from xpe_core.validation import build_config


def search_records(records: Iterable[TrialRecord], method: str) -> list[TrialRecord]:
    """Return the trials of a method's search."""
    return [record for record in records if record.stage == Stage.SEARCH and record.arm == method]


def spent(study: Study, records: Iterable[TrialRecord], method: str) -> float:
    """Return which share of its budget a method's search has spent; 1 or more: nothing is left.

    A running trial counts with all that it may take, so that a budget is not exceeded by more than it was estimated. So
    does one that ended before it reported, since a method whose trials all fail would go on for ever. Trials of a
    length that the study had before count no more.
    """
    searched = [record for record in records if record.stage == Stage.SEARCH]
    search, budget = study.searches[method], study.budget
    own = [record for record in searched if record.arm == method and search.has_full_length(record.config)]
    if budget.trials is not None:
        return len({record.config_id for record in own}) / budget.trials
    if budget.steps is not None:
        return sum(map(_count_steps, own)) / budget.steps
    assert budget.device_hours is not None
    expected = _mean_seconds(own) or _mean_seconds(searched)
    seconds = (record.seconds if _has_ended(record) else max(record.seconds, expected) for record in own)
    return sum(seconds) / 3600 / budget.device_hours


def goes_on(study: Study, records: Collection[TrialRecord], method: str) -> bool:
    """Whether a method's search has configurations left to draw, and something left to spend on them."""
    search = study.searches[method]
    own = (record for record in search_records(records, method) if search.has_full_length(record.config))
    most = search.count_samples(study.first_points(method))
    return len({record.config_id for record in own}) < most and spent(study, records, method) < 1


def count_incomplete(study: Study, records: Iterable[TrialRecord]) -> int:
    """Return how many configurations of finished searches lack seeds that the study has."""
    seeds: dict[str, set[int]] = {}
    for record in records:
        if record.stage != Stage.SEARCH or record.arm not in study.methods:
            continue
        if record.state in (State.COMPLETE, State.FAILED) and study.searches[record.arm].has_full_length(record.config):
            seeds.setdefault(record.config_id, set()).update(run.seed for run in record.runs)
    return sum(not set(study.seeds) <= known for known in seeds.values())


def _has_ended(record: TrialRecord) -> bool:
    """Whether a trial has ended and reported, so that what it took is known."""
    return record.state is not None and bool(record.reports)


def _mean_seconds(records: Iterable[TrialRecord]) -> float:
    """Return how long trials took that have ended; 0 where none has."""
    ended = [record.seconds for record in records if _has_ended(record)]
    return sum(ended) / len(ended) if ended else 0.0


def _count_steps(record: TrialRecord) -> int:
    """Return the optimizer steps of a trial's runs: those reported, or all that it may take."""
    most = record.run_config.training.max_steps
    return len(record.runs) * (max(record.reports) if _has_ended(record) else most)


def is_over(records: Iterable[TrialRecord], method: str) -> bool:
    """Whether all trials of a method's search have ended."""
    return all(record.state is not None for record in search_records(records, method))


def find_winner(study: Study, records: Iterable[TrialRecord], method: str) -> RunConfig | None:
    """Return the configuration that a method's search chose so far; None where none is complete."""
    own = search_records(records, method)
    ranked = rank_trials(study.searches[method], own)
    by_id = {record.config_id: record for record in own if record.state == State.COMPLETE}
    return next((by_id[one.subject].run_config for one in ranked if one.subject in by_id), None)


def find_winners(study: Study, records: Collection[TrialRecord], methods: Iterable[str]) -> dict[str, RunConfig]:
    """Return what is run again of some methods, by the names of the arms: winners, each with its default setting.

    A configuration stands once: a default setting that won has no arm of its own, nor has a winner that is another
    method's, too.
    """
    arms: dict[str, RunConfig] = {}
    known: set[str] = set()
    for method in methods:
        found: Mapping[str, RunConfig | None] = {
            method: find_winner(study, records, method),
            name_default(method): study.defaults.get(method),
        }
        for arm, config in found.items():
            if config is not None and config.config_id not in known:
                known.add(config.config_id)
                arms[arm] = config
    return arms


def build_replication(study: Study, records: Collection[TrialRecord]) -> Grid | None:
    """Return what is run on fresh seeds as a grid: the arms of the methods of which some such trial is known.

    None where there is none yet.
    """
    begun = {record.arm for record in records if record.stage == Stage.REPLICATION}
    methods = [name for name in study.methods if begun & {name, name_default(name)}]
    configs = find_winners(study, records, methods)
    if not configs:
        return None
    base, arms = share_fields(configs)
    values = {
        "kind": "grid",
        "base": base,
        "arms": arms,
        "seeds": study.replication_seeds,
        **{key: getattr(study, key) for key in ("evaluation", "groups", "resources", "keep", "selection_languages")},
    }
    return build_config(Grid, values, "replication")
