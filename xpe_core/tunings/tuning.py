"""What a tuning is: the part of a run that is trained inside or in front of the frozen backbone.

R runs, B examples, P virtual tokens, H the backbone's hidden size.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from xpe_core.fields import FieldValues, Part

if TYPE_CHECKING:  # Torch takes seconds to import, and a report needs none of it
    from torch import Tensor, nn

    from xpe_core.backbones.backbone import Backbone
    from xpe_core.backbones.insertion import Insertion
    from xpe_core.backbones.shape import Shape
    from xpe_core.config import RunConfig
    from xpe_core.tunings.peft_format import PeftFormat
    from xpe_core.tunings.words import Words

    Output = Tensor | Mapping[str, Tensor]
    """What a tuning's module returns, each tensor [R, ...] when it is called for a pack."""


class TuningConfig(Part):
    """The fields of a tuning."""

    tuning: str
    """Which it is."""

    @property
    def method(self) -> str:
        """The name in tables: the tuning's, where it is one method."""
        return self.tuning

    @property
    def shares(self) -> Mapping[str, float]:
        """Fields that tell runs of one method apart, as a mixture does; few have any."""
        return {}


class Tuning(Protocol):
    """How a part of a run is built, called and trained; stateless, one object a tuning."""

    Config: ClassVar[type[TuningConfig]]
    """A field name means one thing over all parts."""
    methods: ClassVar[Mapping[str, str]]
    """What `TuningConfig.method` may be, in the order of tables, with what a person reads."""
    sharing: ClassVar[Literal["pack", "alone"]]
    """`alone`: each run owns its backbone's weights, so no pass of the backbone serves two."""
    inserts: ClassVar[bool]
    """False: the backbone computes the same for all runs and steps, so its states are computed once."""

    baselines: ClassVar[Mapping[str, FieldValues]]
    """By method: the fields that make a configuration the one that a search and a replication set beside it."""
    peft: "ClassVar[PeftFormat | None]"
    """How it is written and read in peft's format; None where peft has none."""
    drops_in_layers: ClassVar[bool]
    """Whether the backbone's layers draw dropout of their own."""

    def check(self, config: "RunConfig", shape: "Shape") -> None:
        """Raise InputError where the tuning cannot be built for a backbone of this shape."""

    def num_tokens(self, config: "RunConfig") -> int:
        """Return how many positions stand before the text."""

    def num_keys(self, config: "RunConfig", num_layers: int) -> "Sequence[int]":
        """Return how many keys stand before the text's own in each layer, the lowest first; empty: in none."""

    def build(self, config: "RunConfig", shape: "Shape") -> "nn.Module":
        """Return the module of one run, drawn from torch's generator.

        It is called with dropout masks or none, and returns what `insert` takes.
        """

    def start(self, config: "RunConfig", backbone: "Backbone") -> "Mapping[str, Tensor]":
        """Return the parameters of one run's module whose start the backbone itself decides; few have any."""

    def dropout_rate(self, config: "RunConfig") -> float:
        """Return the probability of a zero in the masks."""

    def mask_shapes(self, config: "RunConfig", num_examples: int, shape: "Shape") -> "Sequence[tuple[int, ...]]":
        """Return the shapes of one run's dropout masks; the first dimension is the examples."""

    def insert(self, output: "Output", configs: "Sequence[RunConfig]", seeds: "Tensor | None" = None) -> "Insertion":
        """Return what goes into the backbone, of the module's output for the runs of `configs` (tensors [R, ...]).

        `seeds` [R, B] are what layers draw their dropout from, in training, where `drops_in_layers` is true.
        """

    def linears(self, parameters: "Mapping[str, Tensor]") -> Mapping[str, tuple[int, int]]:
        """Return what one run's parameters say of the backbone's linear layers: numbers in and out by `layer.role`.

        A number that they do not say is 0.
        """

    def rate_and_decay(self, parameter: str, config: "RunConfig") -> tuple[float, float]:
        """Return the learning rate and the weight decay of a parameter of the module."""

    def describe(self, config: "RunConfig") -> "Words":
        """Return what tables, cards and READMEs say of a run."""
