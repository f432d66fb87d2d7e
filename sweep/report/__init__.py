"""What a person sees: plan, screen and short answer of an experiment, and the report on its results.

Plan and screen need Torch and Ray, which take seconds to import; a report needs neither, so they are imported when
asked for.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweep.report.ending import most_frequent_class, print_answer, print_replication, print_study
    from sweep.report.planned import print_estimate, print_plan
    from sweep.report.progress import Screen

__all__ = [
    "Screen",
    "most_frequent_class",
    "print_answer",
    "print_estimate",
    "print_plan",
    "print_replication",
    "print_study",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sweep.report import ending, planned, progress

    return {**vars(planned), **vars(progress), **vars(ending)}[name]
