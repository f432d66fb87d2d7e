"""Tunings: what is trained inside or in front of the backbone. A new one is a folder here and an entry below."""

from xpe_core.tunings.ia3.tuning import Ia3Tuning
from xpe_core.tunings.lora.tuning import LoraTuning
from xpe_core.tunings.none.tuning import NoTuning
from xpe_core.tunings.prompt.tuning import PromptTuning
from xpe_core.tunings.tuning import Tuning

TUNINGS: dict[str, Tuning] = {
    "prompt": PromptTuning(),
    "lora": LoraTuning(),
    "ia3": Ia3Tuning(),
    "none": NoTuning(),
}
METHOD_NAMES = {method: name for tuning in TUNINGS.values() for method, name in tuning.methods.items()}
"""All methods in the order of tables, with what a person reads."""
