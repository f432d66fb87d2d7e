"""Trained prompts with their heads, to and from disk, in this project's format and in those of other tools."""

from xpe_core.adapters.adapter import Adapter, build_classifier, check_backbone, take_adapter
from xpe_core.adapters.micm_folder import read_micm, write_micm
from xpe_core.adapters.peft_folder import read_peft, write_peft
from xpe_core.adapters.reading import read_adapter
from xpe_core.adapters.safetensors_file import write_adapter
from xpe_core.adapters.transformers_folder import write_transformers

__all__ = [
    "Adapter",
    "build_classifier",
    "check_backbone",
    "read_adapter",
    "read_micm",
    "read_peft",
    "take_adapter",
    "write_adapter",
    "write_micm",
    "write_peft",
    "write_transformers",
]
