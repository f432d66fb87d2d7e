"""Tasks: what is asked, and how an answer is scored. A new one is a folder here and an entry below."""

from typing import TYPE_CHECKING, Literal, TypeAlias

from xpe_core.tasks.nli.task import NliTask
from xpe_core.tasks.qa.task import QaTask
from xpe_core.tasks.task import Task
from xpe_core.tasks.topic.task import TopicTask

TASKS: dict[str, Task] = {"topic": TopicTask(), "nli": NliTask(), "qa": QaTask()}
DEFAULT_TASK = next(iter(TASKS))

if TYPE_CHECKING:
    TaskName: TypeAlias = str
else:
    TaskName = Literal[tuple(TASKS)]
"""The name of a task, as a configuration has it."""
