"""Which configuration is the best: the one place where it is judged, whatever its scores were read from.

A configuration's score is the mean over its runs. A failed run counts as 0, as what only sometimes trains is not the
best. Of equals the first that was proposed is the best.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from sweep.experiment.config import SweepConfig
from sweep.records.ledger import TrialRecord
from sweep.records.stages import Stage
from sweep.records.states import State

SAME_DIGITS = 9
"""Two means of the same numbers in another order may differ behind this digit, and are equal."""
Subject = TypeVar("Subject")


@dataclass(frozen=True)
class Candidate(Generic[Subject]):
    """A configuration with the scores of its runs."""

    subject: Subject
    """What stands for the configuration: its id, or a cell of a table."""
    scores: tuple[float | None, ...]
    """Of the complete runs, in [0, 1]; None or NaN where a score is not known."""
    num_failed: int = 0

    @property
    def is_known(self) -> bool:
        """Whether some run is complete, and every complete run has a score."""
        return bool(self.scores) and not any(score is None or math.isnan(score) for score in self.scores)

    @property
    def score(self) -> float:
        """The mean over the finished runs, in [0, 1]."""
        return math.fsum(score or 0.0 for score in self.scores) / (len(self.scores) + self.num_failed)


def rank_candidates(candidates: Iterable[Candidate[Subject]]) -> list[Candidate[Subject]]:
    """Return the candidates with a known score, the best first.

    They come in the order in which they were proposed, which decides between equals.
    """
    judged = [candidate for candidate in candidates if candidate.is_known]
    return sorted(judged, key=lambda candidate: round(candidate.score, SAME_DIGITS), reverse=True)  # a stable sort


def rank_trials(sweep: SweepConfig, records: Iterable[TrialRecord]) -> list[Candidate[str]]:
    """Return the configurations of the trials that are complete or failed, the best by selection accuracy first.

    Left out are those that the experiment does not ask for any more: of another length, or no arm of it. What a study
    runs on fresh seeds is not ranked together with its searches.
    """
    asked = asked_config_ids(sweep)
    if sweep.kind == "study":
        records = [record for record in records if sweep.has_arm(record.arm)]
    if sweep.kind != "search":
        records = _keep_replicated(list(records))
    trials: dict[str, list[TrialRecord]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.number):
        if record.runs[0].adapted_to is not None:
            continue  # chosen by its target alone
        if record.state in (State.COMPLETE, State.FAILED) and sweep.has_full_length(record.config):
            trials[record.config_id].append(record)
    return rank_candidates(
        _make_candidate(config_id, of_config)
        for config_id, of_config in trials.items()
        if asked is None or config_id in asked
    )


def _keep_replicated(records: list[TrialRecord]) -> list[TrialRecord]:
    """Return the trials on fresh seeds; all of them where none has ended, or the experiment has no such stages."""
    fresh = [record for record in records if record.stage == Stage.REPLICATION]
    return fresh if any(record.state is not None for record in fresh) else records


def asked_config_ids(sweep: SweepConfig) -> frozenset[str] | None:
    """Return the configurations that an experiment asks for; None of what draws them."""
    return None if sweep.is_searched else frozenset(corner.config_id for corner in sweep.corners)


def _make_candidate(config_id: str, trials: Iterable[TrialRecord]) -> Candidate[str]:
    """Return a configuration; a complete trial reports the mean of its runs, so each of them has this score."""
    scores: list[float | None] = []
    num_failed = 0
    for record in trials:
        if record.state == State.COMPLETE:
            scores += [record.value] * len(record.runs)
        else:
            num_failed += len(record.runs)
    return Candidate(config_id, tuple(scores), num_failed)
