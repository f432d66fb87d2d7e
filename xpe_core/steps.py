"""Steps that may take long, and how far they are, for whoever shows it: nothing is printed here.

Who shows them says so once with `listening`; code that does the work need not know whether anybody does.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Step:
    """Something that is being done."""

    name: str
    """What, as a sentence begins: `Tokenising`."""
    total: int | None = None
    """How much there is to do, None where that is not known."""
    unit: str = ""
    """What `total` counts: `texts`."""
    done: int = 0


Listener = Callable[[Step], AbstractContextManager[None]]
"""Is entered when a step begins and left when it ends; between the two it may look at `done`, from any thread."""

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Let `listener` hear of all steps that begin within, in this thread; None: nobody does."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


@contextmanager
def long_step(name: str, total: int | None = None, unit: str = "") -> Iterator[Step]:
    """Do something that may take long; what it is done within may count up the step's `done`."""
    step = Step(name, total, unit)
    listener = _LISTENER.get()
    with nullcontext() if listener is None else listener(step):
        yield step
