"""Tunings: what is trained inside or in front of the backbone. A new one is a folder here and an entry below."""

from typing import TYPE_CHECKING

from xpe_core.readouts import READOUTS
from xpe_core.tunings.full.tuning import FullTuning
from xpe_core.tunings.ia3.tuning import Ia3Tuning
from xpe_core.tunings.lora.tuning import LoraTuning
from xpe_core.tunings.none.tuning import NoTuning
from xpe_core.tunings.prefix.tuning import PrefixTuning
from xpe_core.tunings.prompt.tuning import PromptTuning
from xpe_core.tunings.tuning import Tuning
from xpe_core.tunings.words import Words

if TYPE_CHECKING:
    from xpe_core.config import RunConfig

TUNINGS: dict[str, Tuning] = {
    "prompt": PromptTuning(),
    "lora": LoraTuning(),
    "prefix": PrefixTuning(),
    "ia3": Ia3Tuning(),
    "full": FullTuning(),
    "none": NoTuning(),
}
METHOD_NAMES = {method: name for tuning in TUNINGS.values() for method, name in tuning.methods.items()} | {
    readout.method: readout.title for readout in READOUTS.values() if readout.method is not None
}
"""All methods in the order of tables, with what a person reads."""
BASELINES = tuple(method for tuning in TUNINGS.values() for method in tuning.baselines)
"""Methods that others are compared with, that of tables first."""


def describe(config: "RunConfig") -> Words:
    """Return what tables, cards and READMEs say of a run."""
    readout = READOUTS[config.readout.readout]
    if readout.trains:
        return TUNINGS[config.tuning.tuning].describe(config)
    return Words(readout.title, "", readout.sentence, (), why_unpublished=f"readout is {config.readout.readout}")


def is_alone(config: "RunConfig") -> bool:
    """Return whether a run shares no pass of the backbone with another one."""
    return TUNINGS[config.tuning.tuning].sharing == "alone"
