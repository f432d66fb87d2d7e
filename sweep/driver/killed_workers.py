"""Workers that Ray kills since their node runs low on memory, as Tune should see them: as workers that died."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError

LOW_ON_MEMORY = "its node ran low on memory, so Ray killed it"


@contextmanager
def killed_as_died() -> Iterator[None]:
    """Let trials fail of such an end within `with`.

    Ray's error for it is no RayActorError, and on any other Tune's manager of actors (Ray 2.56) ends the experiment.
    """
    names = ("_actor_start_failed", "_actor_task_failed")
    theirs = {name: getattr(RayActorManager, name) for name in names if hasattr(RayActorManager, name)}
    try:
        for name, fail in theirs.items():
            setattr(RayActorManager, name, _as_died(fail))
        yield
    finally:
        for name, fail in theirs.items():
            setattr(RayActorManager, name, fail)


def _as_died(fail: Callable[..., None]) -> Callable[..., None]:
    """Return what calls `fail` with an error that Tune knows."""

    def fail_as_died(self: RayActorManager, *, exception: Exception, **named: Any) -> None:
        killed = isinstance(exception, OutOfMemoryError)
        fail(self, exception=RayActorError(error_msg=LOW_ON_MEMORY) if killed else exception, **named)

    return fail_as_died
