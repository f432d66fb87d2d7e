"""What is known of languages for a task, by the task's name."""

from collections.abc import Callable

from xpe_core.tasks.low_performing import LowPerforming
from xpe_core.tasks.topic import facts as topic

LOW_PERFORMING: dict[str, Callable[[], LowPerforming]] = {"topic": topic.low_performing}
"""The languages that are hard for a task, where they are known."""
DEFAULT_TASK = "topic"
