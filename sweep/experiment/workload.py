"""What an experiment asks for, in parts of which each has configurations of one kind: for plans and estimates."""

from collections.abc import Sequence
from dataclasses import dataclass

from xpe_core.config import RunConfig


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
        return self.num_configurations * (-(-len(self.seeds) // pack_size) if self.is_cut else 1)
