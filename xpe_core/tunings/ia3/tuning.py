"""IA3 as a tuning: its vectors are what the backbone's linear layers are multiplied with."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from xpe_core.errors import InputError
from xpe_core.fields import FieldValues
from xpe_core.tunings.ia3.config import Ia3Config
from xpe_core.tunings.ia3.in_peft import Ia3InPeft
from xpe_core.tunings.ia3.sides import INPUT, SCALED
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


class Ia3Tuning:
    """See `Tuning`."""

    Config: ClassVar[type[TuningConfig]] = Ia3Config
    methods: ClassVar[Mapping[str, str]] = {"ia3": "IA3"}
    sharing: ClassVar[Literal["pack", "alone"]] = "pack"
    inserts: ClassVar[bool] = True
    baselines: ClassVar[Mapping[str, FieldValues]] = {}
    peft: ClassVar[PeftFormat | None] = Ia3InPeft()
    drops_in_layers: ClassVar[bool] = False

    def check(self, config: "RunConfig", shape: "Shape") -> None:
        """Raise InputError where the backbone lacks layers of a role."""
        if missing := [role for role in SCALED if role not in shape.roles]:
            raise InputError(f"tuning=ia3: {shape.name} has no linear layers of the role {missing[0]}")

    def num_tokens(self, config: "RunConfig") -> int:
        """Return 0."""
        return 0

    def num_keys(self, config: "RunConfig", num_layers: int) -> "Sequence[int]":
        """Return none."""
        return ()

    def build(self, config: "RunConfig", shape: "Shape") -> "nn.Module":
        """Return the vectors of one run."""
        from xpe_core.tunings.ia3.scales import Scales

        names = [name for name in shape.linears if _role(name) in SCALED]
        return Scales({name: shape.linears[name][SCALED[_role(name)]] for name in names})

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
        """Return the vectors as scales of inputs or outputs."""
        from xpe_core.backbones.insertion import Delta, Insertion

        assert isinstance(output, Mapping)
        return Insertion(
            deltas={
                name: Delta(input_scale=scale) if SCALED[_role(name)] == INPUT else Delta(scale=scale)
                for name, scale in output.items()
            }
        )

    def linears(self, parameters: "Mapping[str, Tensor]") -> Mapping[str, tuple[int, int]]:
        """Return the number that each vector says, that of the side which it scales."""
        sizes = {name.removeprefix("layers."): len(value) for name, value in parameters.items()}
        return {name: (size, 0) if SCALED[_role(name)] == INPUT else (0, size) for name, size in sizes.items()}

    def rate_and_decay(self, parameter: str, config: "RunConfig") -> tuple[float, float]:
        """Return the run's rate; towards ones, not towards zeros, so there is no decay."""
        return config.training.learning_rate, 0.0

    def describe(self, config: "RunConfig") -> Words:
        """Return what is multiplied."""
        return Words(
            title="set of scaling vectors (IA3)",
            size="",
            sentence="Keys, values and the inner states of every block are multiplied with trained vectors; the "
            "encoder's own weights are not changed.",
            tags=("ia3", "arxiv:2205.05638"),
            why_unpublished="tuning is ia3",
        )


def _role(name: str) -> str:
    return name.split(".")[1]
