"""What tells the runs of a configuration apart, and the ids that they have in ledger and tables."""

from collections.abc import Iterable
from dataclasses import dataclass

from sweep.records.events import RunEntry
from xpe_core.config import RunConfig
from xpe_core.digests import digest


@dataclass(frozen=True, order=True)
class RunKey:
    """One run of a configuration."""

    seed: int
    adapted_to: str | None = None
    """The target language that it is trained further on; None: it is trained on the source languages alone."""
    parent_run_id: str | None = None
    """The run that it is trained further from; None: it starts from its seed's own weights."""

    def run_id(self, config: RunConfig) -> str:
        """Return the 16 hex digits of this run of a configuration, whatever seed that has."""
        run_id = (config if config.seed == self.seed else config.with_seed(self.seed)).run_id  # to build one takes long
        if self.adapted_to is None:
            return run_id
        return digest([run_id, self.adapted_to, *([self.parent_run_id] if self.parent_run_id else [])])

    def to_entry(self) -> RunEntry:
        """Return the run as the ledger has it."""
        entry: RunEntry = {"seed": self.seed}
        if self.adapted_to is not None:
            entry["adapted_to"] = self.adapted_to
        if self.parent_run_id is not None:
            entry["parent_run_id"] = self.parent_run_id
        return entry

    @classmethod
    def from_entry(cls, entry: RunEntry) -> "RunKey":
        """Read a run of the ledger."""
        return cls(entry["seed"], entry.get("adapted_to"), entry.get("parent_run_id"))


def make_runs(seeds: Iterable[int]) -> tuple[RunKey, ...]:
    """Return one run a seed, adapted to no language."""
    return tuple(map(RunKey, seeds))
