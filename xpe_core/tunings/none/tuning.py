"""Nothing is inserted, so the backbone's states are the same for all runs, seeds and steps."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from xpe_core.fields import FieldValues
from xpe_core.tunings.none.config import NoConfig
from xpe_core.tunings.peft_format import PeftFormat
from xpe_core.tunings.tuning import TuningConfig
from xpe_core.tunings.words import Words

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xpe_core.backbones.backbone import Backbone
    from xpe_core.backbones.insertion import Insertion
    from xpe_core.backbones.shape import Shape
    from xpe_core.config import RunConfig
    from xpe_core.tunings.tuning import Output


class NoTuning:
    """See `Tuning`."""

    Config: ClassVar[type[TuningConfig]] = NoConfig
    methods: ClassVar[Mapping[str, str]] = {"head": "head only"}
    sharing: ClassVar[Literal["pack", "alone"]] = "pack"
    inserts: ClassVar[bool] = False
    baselines: ClassVar[Mapping[str, FieldValues]] = {}
    peft: ClassVar[PeftFormat | None] = None
    drops_in_layers: ClassVar[bool] = False

    def check(self, config: "RunConfig", shape: "Shape") -> None:
        """Fits every backbone."""

    def num_tokens(self, config: "RunConfig") -> int:
        """Return 0."""
        return 0

    def num_keys(self, config: "RunConfig", num_layers: int) -> "Sequence[int]":
        """Return none."""
        return ()

    def build(self, config: "RunConfig", shape: "Shape") -> "nn.Module":
        """Return a module without parameters."""
        from xpe_core.tunings.none.nothing import Nothing

        return Nothing()

    def start(self, config: "RunConfig", backbone: "Backbone") -> "Mapping[str, Tensor]":
        """Return none."""
        return {}

    def dropout_rate(self, config: "RunConfig") -> float:
        """Return 0."""
        return 0.0

    def mask_shapes(self, config: "RunConfig", num_examples: int, shape: "Shape") -> "Sequence[tuple[int, ...]]":
        """Return none."""
        return []

    def insert(self, output: "Output", configs: "Sequence[RunConfig]", seeds: "Tensor | None" = None) -> "Insertion":
        """Insert nothing."""
        from xpe_core.backbones.insertion import Insertion

        return Insertion()

    def linears(self, parameters: "Mapping[str, Tensor]") -> Mapping[str, tuple[int, int]]:
        """Return nothing."""
        return {}

    def rate_and_decay(self, parameter: str, config: "RunConfig") -> tuple[float, float]:
        """Is not asked: there are no parameters."""
        raise KeyError(parameter)

    def describe(self, config: "RunConfig") -> Words:
        """Return that the head is all."""
        return Words(
            title="classification head alone",
            size="",
            sentence="Nothing but the head is trained; the encoder is not changed, and no token is added.",
            tags=("linear-probing",),
            why_unpublished="tuning is none",
        )
