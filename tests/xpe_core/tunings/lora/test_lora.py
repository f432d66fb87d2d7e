"""LoRA against stock peft: its logits, its steps, its numbers of parameters."""

from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from torch import Tensor
from transformers import AutoModel, PreTrainedModel, XLMRobertaConfig

from tests.making.encoders import ENCODERS, save_encoder
from tests.making.runs import compute_outputs
from xpe_core.backbones.backbone import Backbone, load_backbone, measure
from xpe_core.backbones.shape import find_linears
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.pack import Pack, count_trained_parameters
from xpe_core.tunings.lora.config import LoraConfig

BERT_ROLES = "query,key,value,attention_output,up,down"
NUM_CLASSES = 3


def build_pack(name: str, **values: Any) -> Pack:
    """Return a pack of two runs whose updates are not zero."""
    settings = {"tuning": "lora", "rank": 4, "alpha": 6.0, "max_length": 8, "precision": "float32", "backbone": name}
    config = RunConfig(**{**settings, **values})
    pack = Pack(load_backbone(name), [config, config.with_seed(2)], NUM_CLASSES)
    draw = torch.Generator().manual_seed(0)
    for key, value in pack.parameters.items():
        if key.startswith("lora."):
            value.copy_(0.3 * torch.randn(value.shape, generator=draw))
    return pack


def build_peft(backbone: Backbone, pack: Pack, run: int) -> Any:
    """Return the backbone's own model under peft, with the updates of a run."""
    config = pack.configs[run].tuning
    assert isinstance(config, LoraConfig)
    linears = {key: name for key, (name, _) in find_linears(backbone.model).items()}
    chosen = [name for key, name in linears.items() if config.roles is None or key.split(".")[1] in config.roles]
    fresh = AutoModel.from_pretrained(backbone.name, dtype=torch.float32)
    settings = peft.LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules=chosen)
    model = peft.get_peft_model(fresh, settings).eval()
    modules = dict(model.base_model.model.named_modules())
    for key, name in linears.items():
        if name in chosen:
            own = {part: pack.run_parameters(run)[f"lora.layers.{key}.{part}"] for part in ("down", "up")}
            modules[name].lora_A["default"].weight.data.copy_(own["down"])
            modules[name].lora_B["default"].weight.data.copy_(own["up"])
    return model


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("roles", ["query,value", BERT_ROLES, "all", "down"])
@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_logits_are_pefts(kind: str, roles: str, pooling: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    name = save_encoder(tmp_path / "made", ENCODERS[kind]())
    pack = build_pack(name, target_modules=roles, pooling=pooling)
    token_ids = torch.randint(4, 12, (1, 3, 8), generator=torch.Generator().manual_seed(1))
    lengths = np.array([8, 5, 3])
    mask = torch.arange(8) < torch.tensor(lengths)[:, None]
    logits = compute_outputs(pack, token_ids, lengths)
    for run in range(2):
        model = build_peft(pack.backbone, pack, run)
        with torch.no_grad():
            embeddings = pack.backbone.embed(token_ids[0])
            hidden = model(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state
            plain = pack.backbone.model(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state
        assert (hidden - plain).abs().max() > 1e-2, "the updates must show"
        weights = mask[..., None] / mask.sum(1)[:, None, None]
        pooled = hidden[:, 0] if pooling == "first" else (hidden * weights).sum(1)
        expected = pack.answer({key: value[run : run + 1] for key, value in pack.parameters.items()}, pooled[None])
        torch.testing.assert_close(logits[run], expected[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["xlm-roberta", "mdeberta-v3"])
def test_gradients_are_pefts(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    name = save_encoder(tmp_path / "made", ENCODERS[kind]())
    pack = build_pack(name, target_modules="all", pooling="mean")
    token_ids = torch.randint(4, 12, (1, 3, 8), generator=torch.Generator().manual_seed(1))
    parameters = {key: value.clone().requires_grad_() for key, value in pack.parameters.items()}
    insertion = pack.insert(parameters, [0, 1])
    pack.read(insertion, token_ids, np.full(3, 8), 2).square().sum().backward()
    keys = {key: name for key, (name, _) in find_linears(pack.backbone.model).items()}
    for run in range(2):
        model = build_peft(pack.backbone, pack, run)
        embeddings = pack.backbone.embed(token_ids[0])
        hidden = model(inputs_embeds=embeddings).last_hidden_state
        hidden.mean(1).square().sum().backward()
        modules = dict(model.base_model.model.named_modules())
        for key, module in keys.items():
            for part, own in (("down", modules[module].lora_A), ("up", modules[module].lora_B)):
                gradient = parameters[f"lora.layers.{key}.{part}"].grad
                assert gradient is not None and gradient[run].abs().max() > 0
                torch.testing.assert_close(gradient[run], own["default"].weight.grad, atol=1e-5, rtol=1e-3)


def build_large() -> PreTrainedModel:
    sizes = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
    with torch.device("meta"):
        model: PreTrainedModel = AutoModel.from_config(XLMRobertaConfig(**sizes, max_position_embeddings=514))
    return model


@pytest.mark.parametrize(
    ("roles", "rank", "updates"),
    [
        ("query,value", 8, 786_432),  # the paper's 0.8 M for RoBERTa large (arXiv:2106.09685, table 2)
        ("query,value", 1, 98_304),
        ("up", 4, 24 * 4 * (1024 + 4096)),
        ("all", 8, 24 * 8 * (4 * 2048 + 2 * 5120)),
    ],
)
def test_on_xlmr_large_the_updates_have_the_published_number_of_parameters(roles: str, rank: int, updates: int) -> None:
    shape = measure("large", build_large())
    head = 1024 * 1024 + 1024 + 1024 * 7 + 7
    config = RunConfig(tuning="lora", target_modules=roles, rank=rank)
    assert count_trained_parameters(config, shape, 7) == updates + head
    assert count_trained_parameters(RunConfig(tuning="none"), shape, 7) == head


def test_updates_start_as_pefts_at_nothing(backbone: str) -> None:
    config = RunConfig(tuning="lora", backbone=backbone, max_length=8, precision="float32")
    pack = Pack(load_backbone(backbone), [config], NUM_CLASSES)
    down, up = (pack.run_parameters(0)[f"lora.layers.1.value.{part}"] for part in ("down", "up"))
    assert down.shape == (8, 32) and up.shape == (32, 8)
    assert not up.any() and 0 < down.abs().max() <= (6 / ((1 + 5) * 32)) ** 0.5
    plain = Pack(load_backbone(backbone), [config], NUM_CLASSES)
    token_ids: Tensor = torch.randint(4, 40, (1, 2, 8), generator=torch.Generator().manual_seed(0))
    hidden = plain.backbone.model(inputs_embeds=plain.backbone.embed(token_ids[0])).last_hidden_state
    read = pack.read(pack.insert(pack.parameters, [0]), token_ids, np.full(2, 8), 1)
    torch.testing.assert_close(read[0], hidden[:, 0], atol=1e-5, rtol=0)


def test_a_role_that_the_backbone_lacks_is_refused_with_those_that_there_are(backbone: str) -> None:
    config = RunConfig(tuning="lora", backbone=backbone, max_length=8, target_modules="gate")
    with pytest.raises(InputError, match="no linear layers of the role gate; allowed are query, key, value"):
        Pack(load_backbone(backbone), [config], NUM_CLASSES)
