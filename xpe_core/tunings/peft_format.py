"""What a tuning has in the format of the library peft: settings and tensors, beside those of the readout.

Tensors have peft's names with `base_model.` before the names of the model's own modules. Where peft puts modules of its
own into the model, its files say `base_model.model.` instead, which is added and taken away when files are written and
read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PeftPart:
    """What is written of a tuning."""

    settings: Mapping[str, Any]
    """Keys of `adapter_config.json`."""
    tensors: "Mapping[str, Tensor]"
    title: str
    """What it is, as a title begins: `A prompt`."""
    words: str
    """The same in a sentence: `20 virtual tokens`."""
    name: str
    """The same in few words: `the prompt`."""
    wraps: bool
    """Whether peft puts modules of its own into the model."""


@dataclass(frozen=True)
class PeftFields:
    """What is read of a tuning."""

    values: Mapping[str, Any]
    """Fields of `RunConfig`, those of the tuning and what else is known of the run."""
    parameters: "Mapping[str, Tensor]"
    """By the names in the tuning's module."""
    is_whole: bool = True
    """Whether this is all that was trained: an encoder is no part of a written prompt."""
