"""IA3: what it trains, the states of stock peft, and adapters."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import IA3Config, get_peft_model

from xpe_core.adapters import read_adapter, take_adapter, write_adapter
from xpe_core.adapters.adapter import check_backbone
from xpe_core.backbones.backbone import load_backbone
from xpe_core.backbones.shape import Shape
from xpe_core.config import RunConfig
from xpe_core.data.tokens import load_tokens
from xpe_core.errors import InputError
from xpe_core.pack import Pack
from xpe_core.training.training import train
from xpe_core.tunings import TUNINGS

OF_PROMPTS = ("num_virtual_tokens", "encoder_ratio", "encoder_hidden_size", "encoder_prompt_learning_rate")
ROLES_IN_PEFT = {"key": r".*\.key", "value": r".*\.value", "down": r".*layer\.\d+\.output\.dense"}


@pytest.fixture
def config(base: dict[str, Any]) -> RunConfig:
    """Give a small IA3 run."""
    own = {name: value for name, value in base.items() if name not in OF_PROMPTS}
    return RunConfig(**{**own, "tuning": "ia3", "learning_rate": 1e-2})


def train_pack(configs: list[RunConfig]) -> Pack:
    """Train runs together to their end."""
    data = load_tokens(configs[0].data.dataset, configs[0].backbone, configs[0].data.max_length)
    pack = Pack(load_backbone(configs[0].backbone), configs, len(data.label_names))
    list(train(pack, data))
    return pack


def name_vectors(pack: Pack) -> list[str]:
    """Return the names of IA3's parameters."""
    return [name for name in pack.parameters if name.startswith("ia3.")]


def test_all_its_vectors_are_trained(config: RunConfig) -> None:
    pack = train_pack([config])
    assert len(name_vectors(pack)) == 6  # three in each of two layers
    for name in name_vectors(pack):
        assert (pack.parameters[name] - 1).abs().max() > 1e-3, name


def test_states_are_those_of_stock_peft(config: RunConfig) -> None:
    pack = Pack(load_backbone(config.backbone), [config], 3)
    generator = torch.Generator().manual_seed(0)
    for name in name_vectors(pack):
        pack.parameters[name].normal_(1, 0.3, generator=generator)
    token_ids = torch.tensor([[0, 5, 6, 7, 2]])
    ours = pack.read(pack.insert(pack.parameters, [0]), token_ids[None], np.array([5]), 1)[0, 0]

    peft_config = IA3Config(target_modules="|".join(ROLES_IN_PEFT.values()), feedforward_modules=ROLES_IN_PEFT["down"])
    model = get_peft_model(load_backbone(config.backbone).model, peft_config)
    vectors = [(name, value) for name, value in model.named_parameters() if "ia3_l" in name]
    assert len(vectors) == 6
    for name, value in vectors:
        block = name.split("layer.")[1].split(".")[0]
        role = next(role for role in ROLES_IN_PEFT if f".{role.replace('down', 'output')}." in name)
        value.data.copy_(pack.run_parameters(0)[f"ia3.layers.{block}.{role}"].view_as(value))
    with torch.no_grad():
        theirs = model(input_ids=token_ids).last_hidden_state[0].mean(0)
    assert (ours - theirs).abs().max() <= 1e-5


def test_three_vectors_a_layer_are_trained(config: RunConfig) -> None:
    shape = load_backbone(config.backbone).shape
    inner = shape.linears["0.down"][0]
    module = TUNINGS["ia3"].build(config, shape)
    assert sum(vector.numel() for vector in module.parameters()) == 2 * (2 * shape.hidden_size + inner)


def test_an_adapter_is_read_as_it_was_written(config: RunConfig, tmp_path: Path) -> None:
    adapter = take_adapter(train_pack([config]), 0, ("a", "b", "c"))
    write_adapter(adapter, tmp_path / "a.safetensors")
    again = read_adapter(tmp_path / "a.safetensors")
    assert again.fingerprint == adapter.fingerprint and again.config == adapter.config
    backbone = load_backbone(config.backbone)
    check_backbone(again, backbone)
    other = replace(again, parameters=again.parameters | {"ia3.layers.1.down": torch.ones(99)})
    with pytest.raises(InputError, match=r"linear layer 1.down has the size \(99, 0\); that of .* is \(\d+, 32\)"):
        check_backbone(other, backbone)


def test_a_backbone_without_a_role_is_refused(config: RunConfig) -> None:
    shape = Shape("mine", 32, 512, {"0.key": (32, 32), "0.value": (32, 32)})
    with pytest.raises(InputError, match="tuning=ia3: mine has no linear layers of the role down"):
        TUNINGS["ia3"].check(config, shape)
