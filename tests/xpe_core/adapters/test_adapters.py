"""Adapters in the project's own format: written, read, refused."""

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from xpe_core.adapters import Adapter, build_classifier, read_adapter, take_adapter, write_adapter
from xpe_core.backbones.backbone import load_backbone
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.pack import Pack

NAMES = ("sports", "travel", "health")


@pytest.fixture
def adapter(base: dict[str, Any]) -> Adapter:
    return make_adapter(base)


def make_adapter(base: dict[str, Any], **values: Any) -> Adapter:
    config = RunConfig(**{**base, **values})
    model = Pack(load_backbone(config.backbone), [config.with_seed(2), config], len(NAMES))
    return take_adapter(model, 1, NAMES, {"best_step": 20})


@pytest.mark.parametrize("encoder", ["mlp", "lstm", "attention", "none"])
@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_an_adapter_is_read_as_it_was_written(base: dict[str, Any], tmp_path: Path, ratio: float, encoder: str) -> None:
    adapter = make_adapter(base, encoder_ratio=ratio, encoder_type=encoder)
    write_adapter(adapter, tmp_path / "one.safetensors")
    for source in (tmp_path / "one.safetensors", str(tmp_path)):
        found = read_adapter(source)
        assert found.config == adapter.config and found.label_names == NAMES and found.facts == {"best_step": 20}
        assert found.fingerprint == adapter.fingerprint and found.backbone_weights == adapter.backbone_weights
        assert all(torch.equal(value, found.parameters[name]) for name, value in adapter.parameters.items())


def test_adapters_make_a_pack_that_computes_what_each_was_trained_to(base: dict[str, Any]) -> None:
    backbone = load_backbone(base["backbone"])
    configs = [RunConfig(**base).with_seed(seed) for seed in (1, 2)]
    model = Pack(backbone, configs, len(NAMES))
    adapters = [take_adapter(model, place, NAMES) for place in (1, 0)]
    pack = build_classifier(backbone, adapters)
    for name, value in pack.parameters.items():
        assert torch.equal(value, model.parameters[name][[1, 0]])


def test_the_virtual_tokens_are_the_table_that_the_prompt_gives(adapter: Adapter, base: dict[str, Any]) -> None:
    model = build_classifier(load_backbone(base["backbone"]), [adapter])
    tokens = model.insert(model.parameters, range(len(model.configs))).tokens
    assert tokens is not None
    assert torch.equal(adapter.virtual_tokens(), tokens[0, 0])


def test_the_backbones_weights_are_known_whatever_folder_they_lie_in(backbone: str, tmp_path: Path) -> None:
    from transformers import AutoModel

    copy = AutoModel.from_pretrained(backbone)
    copy.save_pretrained(tmp_path / "copy")
    for file in Path(backbone).glob("*token*"):
        (tmp_path / "copy" / file.name).write_bytes(file.read_bytes())
    fingerprint = load_backbone(backbone).weights_fingerprint
    assert load_backbone(str(tmp_path / "copy")).weights_fingerprint == fingerprint
    with torch.no_grad():
        copy.encoder.layer[1].output.dense.weight[0, 0] += 1
    copy.save_pretrained(tmp_path / "copy")
    load_backbone.__globals__["_load_backbone"].cache_clear()
    assert load_backbone(str(tmp_path / "copy")).weights_fingerprint != fingerprint


def refusal(source: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_adapter(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_truncated_a_damaged_and_a_pickled_file_are_refused(adapter: Adapter, tmp_path: Path) -> None:
    file = tmp_path / "one.safetensors"
    write_adapter(adapter, file)
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    assert "cannot be read as safetensors" in refusal(file)
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "it is damaged" in refusal(file)
    file.write_bytes(b"")
    assert "cannot be read as safetensors" in refusal(file)
    torch.save(adapter.parameters, file)
    assert "pickles are never opened" in refusal(file)
    torch.save(adapter.parameters, tmp_path / "one.bin")
    assert "a pickle is never opened" in refusal(tmp_path / "one.bin")


def test_tensors_that_are_not_the_configurations_are_refused(adapter: Adapter, tmp_path: Path) -> None:
    file = tmp_path / "one.safetensors"

    def write(**tensors: torch.Tensor | None) -> None:
        kept = {name: value for name, value in {**adapter.parameters, **tensors}.items() if value is not None}
        write_adapter(Adapter(adapter.config, NAMES, kept), file)

    write(**{"head.out.weight": torch.zeros(2, 32)})
    assert "head.out.weight has the shape [2, 32]; its configuration wants [3, 32]" in refusal(file)
    write(**{"head.out.bias": None})
    assert "the tensor head.out.bias is missing" in refusal(file)
    write(**{"head.other": torch.zeros(2)})
    assert "head.other belongs to no adapter" in refusal(file)
    write(**{"head.out.bias": torch.tensor([0.0, float("nan"), 0.0])})
    assert "head.out.bias holds numbers that are not finite" in refusal(file)


def test_what_is_no_adapter_is_refused_by_what_it_is(adapter: Adapter, tmp_path: Path) -> None:
    assert "there is no such file or folder" in refusal(tmp_path / "nothing")
    assert "holds neither adapter_config.json nor" in refusal(tmp_path)
    safetensors.torch.save_file({"x": torch.zeros(2)}, tmp_path / "model.safetensors")
    assert "of no adapter of this project" in refusal(tmp_path)
    write_adapter(adapter, tmp_path / "a.safetensors")
    assert "the folder holds 2 adapters" in refusal(tmp_path)


def test_an_adapter_is_refused_on_another_backbone(adapter: Adapter, bert: str, tmp_path: Path) -> None:
    from tests.conftest import make_backbone

    with pytest.raises(InputError, match="hidden size 32 .* has 64"):
        build_classifier(load_backbone(make_backbone(tmp_path / "wide", 64)), [adapter])
    with pytest.raises(InputError, match="was trained on a backbone with other weights|hidden size"):
        build_classifier(load_backbone(bert), [adapter])
