"""What is known of languages in one experiment, beyond the table of languages: by its backbone and by its task."""

from dataclasses import dataclass
from functools import cache

from xpe_core.backbones.facts import Pretraining, find_pretraining
from xpe_core.tasks import DEFAULT_TASK, TASKS
from xpe_core.tasks.low_performing import LowPerforming

PUBLISHED_BACKBONE = "xlm-roberta-large"


@dataclass(frozen=True)
class Facts:
    """What a backbone has seen and a task is hard in; None where it is not known."""

    backbone: str
    task: str
    pretraining: Pretraining | None
    low_performing: LowPerforming | None

    def is_seen(self, code: str) -> bool | None:
        """Whether a language of the table is in the backbone's pretraining."""
        return None if self.pretraining is None else code in self.pretraining.languages

    def is_low_performing(self, code: str) -> bool | None:
        """Whether a language of the table is one of those that the task is hard in."""
        return None if self.low_performing is None else code in self.low_performing.languages


@cache
def find_facts(backbone: str, task: str) -> Facts:
    """Return what is known for a backbone, by its name or folder, and a task, by its name."""
    low_performing = TASKS[task].low_performing() if task in TASKS else None
    return Facts(backbone, task, find_pretraining(backbone), low_performing)


def published_facts() -> Facts:
    """Return those of the published tables: XLM-R on topic classification."""
    return find_facts(PUBLISHED_BACKBONE, DEFAULT_TASK)
