"""What a readout is in transformers: the class of models that has it, and lines of Python that use it there.

Lines are templates of `str.format`. They are put together in this order: names, the model, `tokenize`, `whole` (where
transformers' class has the readout) or `beside` (where it lies in a file of its own), and `show`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xpe_core.readouts.readout import States


@dataclass(frozen=True)
class Output:
    """The layers of a readout in the class for one kind of encoder."""

    encoder: str
    """What the encoder is called there, such as `roberta`."""
    layers: Mapping[str, str]
    """What our layers are called there, such as `classifier.out_proj`."""
    modules_to_save: tuple[str, ...]
    """The modules that peft must load with an adapter, so that no layer is left as the base model has it."""


@dataclass(frozen=True)
class Lines:
    """What uses a readout, in Python. The run's fields are filled in, and `names`, `texts` and `pairs`."""

    names: str
    """What comes before the model; it has `names`, a list of the classes."""
    keywords: str
    """Further arguments of the class's `from_pretrained`."""
    tokenize: str
    """From texts to `batch`; `base` is where the tokenizer is."""
    whole: str
    """From `output`, the class's, to answers' logits."""
    beside: "Mapping[States, str]"
    """From `hidden` [B, P + T, H] and `head`, the tensors of the file, to the same, by the states that are read."""
    show: str
    """What prints answers."""


@dataclass(frozen=True)
class ModelClass:
    """A class of transformers' whose outputs are those of a readout."""

    name: str
    """Such as `AutoModelForSequenceClassification`."""
    task: str
    """peft's `task_type` of adapters with such outputs."""
    pipeline_tag: str
    """What the hub calls it."""
    title: str
    """What it puts on the encoder, in a sentence: `a classification head`."""
    reads: "States"
    """The states that it reads."""
    takes_types: bool
    """Whether peft tells it, too, which text of a pair a token is of."""
    outputs: Mapping[str, Output]
    """By the `model_type` of encoders whose class has the readout's layers, and no others."""
    answers: str
    """What is answered; `num_classes` and `classes` are filled in."""
    lines: Lines

    @property
    def ending(self) -> str:
        """How the names of the classes for kinds of encoders end."""
        return self.name.removeprefix("AutoModel")
