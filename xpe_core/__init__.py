"""Train small prompts in front of a frozen multilingual encoder, many runs at a time, and use what was trained.

What one needs to train, test, keep and use prompts is here by name; the modules hold the rest.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xpe_core.adapters import Adapter, read_adapter, take_adapter, write_adapter, write_micm, write_peft
    from xpe_core.answerer import QuestionAnswerer, load_answerer
    from xpe_core.backbones.backbone import load_backbone
    from xpe_core.classifier import TextClassifier, load
    from xpe_core.config import RunConfig
    from xpe_core.data.tokens import load_tokens
    from xpe_core.errors import InputError
    from xpe_core.pack import Pack
    from xpe_core.tasks.scores import mean_score
    from xpe_core.training.evaluation import evaluate
    from xpe_core.training.training import train

__all__ = [
    "Adapter",
    "InputError",
    "Pack",
    "QuestionAnswerer",
    "RunConfig",
    "TextClassifier",
    "evaluate",
    "load",
    "load_answerer",
    "load_backbone",
    "load_tokens",
    "mean_score",
    "read_adapter",
    "take_adapter",
    "train",
    "write_adapter",
    "write_micm",
    "write_peft",
]

LAZY = {
    **dict.fromkeys(
        ("Adapter", "read_adapter", "take_adapter", "write_adapter", "write_micm", "write_peft"), "xpe_core.adapters"
    ),
    "InputError": "xpe_core.errors",
    "Pack": "xpe_core.pack",
    "RunConfig": "xpe_core.config",
    **dict.fromkeys(("QuestionAnswerer", "load_answerer"), "xpe_core.answerer"),
    **dict.fromkeys(("TextClassifier", "load"), "xpe_core.classifier"),
    "evaluate": "xpe_core.training.evaluation",
    "mean_score": "xpe_core.tasks.scores",
    "load_backbone": "xpe_core.backbones.backbone",
    "load_tokens": "xpe_core.data.tokens",
    "train": "xpe_core.training.training",
}
"""Names that are looked up in a module when they are first used: Torch takes seconds to import."""


def __getattr__(name: str) -> object:
    if name not in LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return vars(import_module(LAZY[name]))[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *LAZY})
