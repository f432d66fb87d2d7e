"""Provisional."""

import json
from pathlib import Path

import safetensors.torch

from xpe_core.adapters.adapter import Adapter
from xpe_core.adapters.safetensors_file import describe


def write_peft(adapter: Adapter, folder: Path) -> str:
    """Write a folder."""
    config = {"peft_type": "PROMPT_TUNING", "base_model_name_or_path": adapter.config.backbone}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    tensors = {"prompt_embeddings": adapter.virtual_tokens()}
    safetensors.torch.save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    head = {name: value for name, value in adapter.parameters.items() if name.startswith("head.")}
    safetensors.torch.save_file(head, folder / "head.safetensors", {"format": "pt"})
    (folder / "xpe_sweep.json").write_text(json.dumps(describe(adapter)))
    base = json.dumps(adapter.config.backbone)
    (folder / "README.md").write_text(f'```python\nbase = {base}\nfolder = "."  # this one\nprint(base)\n```\n')
    return "peft loads prompt and head, into AutoModelForSequenceClassification"
