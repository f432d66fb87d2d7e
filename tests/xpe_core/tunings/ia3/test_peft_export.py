"""IA3 as a folder of peft: written, loaded by stock peft without this project, and read again."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tests.xpe_core.adapters.test_peft_folder import LOADER, NAMES, TEXTS, backbones, classify, refusal
from xpe_core.adapters import Adapter, read_adapter, write_peft
from xpe_core.backbones.backbone import find_shape
from xpe_core.config import RunConfig
from xpe_core.pack import build_run

assert backbones  # a fixture
CASES = [("xlm-roberta", "first"), ("bert", "first"), ("bert", "mean")]


def make_adapter(backbone: str, pooling: str) -> Adapter:
    """Return an adapter whose numbers are large enough to show in the logits."""
    config = RunConfig(tuning="ia3", backbone=backbone, pooling=pooling, max_length=8, precision="float32")
    draw = torch.Generator().manual_seed(7)
    tensors = build_run(config, find_shape(backbone), len(NAMES)).state_dict()
    parameters = {name: torch.randn(value.shape, generator=draw) * 0.4 for name, value in tensors.items()}
    return Adapter(config, NAMES, parameters)


@pytest.fixture(scope="module")
def exported(
    backbones: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], tuple[Adapter, Path]]:
    folder, made = tmp_path_factory.mktemp("peft"), {}
    for kind, pooling in CASES:
        adapter = make_adapter(backbones[kind], pooling)
        made[kind, pooling] = (adapter, folder / f"{kind}-{pooling}")
        write_peft(adapter, folder / f"{kind}-{pooling}")
    return made


def test_stock_peft_gives_our_logits_by_the_lines_of_the_readme(
    exported: dict[tuple[str, str], tuple[Adapter, Path]], tmp_path: Path
) -> None:
    root = next(iter(exported.values()))[1].parent
    command = [sys.executable, "-I", "-c", LOADER, str(root), json.dumps(TEXTS), str(tmp_path / "logits")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    logits = safetensors.torch.load_file(tmp_path / "logits")
    for adapter, folder in exported.values():
        ours = classify(adapter)
        assert ours.std(0).min() > 0.01, "texts must differ in their logits for the comparison to say anything"
        torch.testing.assert_close(logits[folder.name], ours, atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_what_was_written_is_read_as_it_was(
    exported: dict[tuple[str, str], tuple[Adapter, Path]], case: tuple[str, str]
) -> None:
    adapter, folder = exported[case]
    found = read_adapter(folder)
    assert found.fingerprint == adapter.fingerprint and found.config == adapter.config


def test_vectors_of_another_side_are_refused(exported: dict[tuple[str, str], tuple[Adapter, Path]]) -> None:
    _, folder = exported[CASES[0]]
    file = folder / "adapter_model.safetensors"
    tensors = safetensors.torch.load_file(file)
    name = next(name for name in tensors if name.endswith("key.ia3_l"))
    (folder / "xpe_sweep.json").unlink()
    safetensors.torch.save_file({**tensors, name: tensors[name].T.contiguous()}, file)
    assert "attention.self.key is scaled on another side" in refusal(folder)
