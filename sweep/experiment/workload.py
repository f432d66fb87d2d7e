"""What an experiment asks for, in parts of which each has configurations of one kind: for plans and estimates."""

from collections.abc import Sequence
from dataclasses import dataclass

from xpe_core.config import RunConfig
from xpe_core.tunings import is_alone


@dataclass(frozen=True)
class Workload:
    """Configurations that are run with the same seeds."""

    name: str | None
    """The arm or method; None of a search."""
    configs: Sequence[RunConfig]
    """What stands for the configurations: these, or the corners of a space."""
    num_configurations: int
    seeds: tuple[int, ...]
    is_cut: bool
    """Whether a configuration's runs may be cut into packs; those that are judged together may not."""
    is_tested: bool = True
    """Whether runs that end are tested on the target languages."""
    adapted_to: str | None = None
    """The language that runs are trained on, chosen by and tested on; None: it is the configurations' source set."""

    @property
    def num_runs(self) -> int:
        """Runs in all."""
        return self.num_configurations * len(self.seeds)

    def num_trials(self, pack_size: int) -> int:
        """Return the trials in all where packs have so many runs."""
        return self.num_configurations * -(-len(self.seeds) // max(self.size_pack(pack_size), 1))

    def size_pack(self, pack_size: int) -> int:
        """Return the runs of a trial at most where packs have so many; runs that share no pass are trials alone."""
        if not self.is_cut:
            return len(self.seeds)
        return min(len(self.seeds), 1 if is_alone(self.configs[0]) else pack_size)
