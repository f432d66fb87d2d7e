"""What a readout is: the part of a run that turns hidden states into an answer.

R runs, B examples, H the backbone's hidden size, C classes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeAlias

from xpe_core.answers import AnswerKind
from xpe_core.fields import FieldValues, Part
from xpe_core.readouts.model_class import ModelClass

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from xpe_core.backbones.shape import Shape
    from xpe_core.config import RunConfig
    from xpe_core.data.asked import Asked
    from xpe_core.data.tokens import TokenisedData

    ReadStates = Callable[[Sequence[str]], Tensor]
    """Returns the states [N, H] that a readout reads of N texts."""

States: TypeAlias = Literal["first", "mean", "text"]
"""Which of the last hidden states are read: the first, the mean over prompt and text, or each of the text's."""


class ReadoutConfig(Part):
    """The fields of a readout."""

    readout: str
    """Which it is."""


class Readout(Protocol):
    """How an answer is read; stateless, one object a readout."""

    Config: ClassVar[type[ReadoutConfig]]
    """Field names are unique over all parts."""
    gives: ClassVar[AnswerKind]
    """What its answers are: it is a readout of tasks that ask for these."""
    hidden_weight: ClassVar[str]
    """The matrix of its module whose columns are as many as a state has numbers."""

    class_tensors: ClassVar[tuple[str, ...]]
    """The tensors of its module whose first dimension is the classes."""
    in_transformers: ClassVar[ModelClass | None]
    """The class of transformers' that has it; None where there is none."""
    trains: ClassVar[bool]
    """False: no step is taken, and what its module holds is what `fit` returns; the tuning must train nothing, too."""
    method: ClassVar[str | None]
    """The name in tables of what trains nothing; None: the tuning says it."""
    title: ClassVar[str]
    """What a person reads."""
    sentence: ClassVar[str]
    """How it works, in one sentence."""

    def read_as(self, reads: States) -> FieldValues:
        """Return the fields of a readout that reads these states."""

    def reads(self, config: "RunConfig") -> States:
        """Return which states are read: the first position's, the mean over all that is no padding, or the text's."""

    def build(self, config: "RunConfig", shape: "Shape", num_classes: int) -> "nn.Module":
        """Return one run's module, drawn from torch's generator: from states and masks to outputs [B, ...].

        The states are [B, H], or [B, T, H] where it reads those of all of the text's T tokens.
        """

    def fit(
        self, config: "RunConfig", data: "TokenisedData", rows: "np.ndarray", read: "ReadStates"
    ) -> "Mapping[str, Tensor]":
        """Return what the data, in training `rows`, and the backbone decide of one run's module; few have any."""

    def dropout_rate(self, config: "RunConfig") -> float:
        """Return the probability of a zero in the masks."""

    def mask_shapes(self, config: "RunConfig", num_examples: int, shape: "Shape") -> "Sequence[tuple[int, ...]]":
        """Return the shapes of one run's dropout masks; the first dimension is the examples."""

    def rate_and_decay(self, parameter: str, config: "RunConfig") -> tuple[float, float]:
        """Return the learning rate and the weight decay of a parameter of the module."""

    def losses(self, outputs: "Tensor", asked: "Asked") -> "Tensor":
        """Return one loss an example [R, B], in nats, of outputs [R, B, ...]."""

    def predictions(self, outputs: "Tensor", asked: "Asked", config: "RunConfig") -> "Tensor":
        """Return what is answered [R, B, ...] by outputs [R, B, ...]: ids of classes, or numbers that the task reads.

        `asked.targets` are not looked at.
        """
