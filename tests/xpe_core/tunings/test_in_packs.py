"""Every tuning in a pack: what a run does must not depend on who else is trained."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.making.encoders import build_deberta, build_modernbert
from tests.xpe_core.training.test_training import train_pack
from xpe_core.backbones.backbone import load_backbone, load_tokenizer
from xpe_core.config import RunConfig
from xpe_core.data.tokens import load_tokens
from xpe_core.pack import Pack
from xpe_core.training.training import Training
from xpe_core.tunings import TUNINGS

CASES: dict[str, dict[str, Any]] = {
    "prompt": {"num_virtual_tokens": 6, "encoder_ratio": 0.5, "encoder_hidden_size": 16},
    "lora": {"tuning": "lora", "rank": 3, "lora_dropout": 0.2, "alpha": 32},
    "lora of all layers": {"tuning": "lora", "rank": 2, "target_modules": "all"},
    "prefix": {"tuning": "prefix", "num_virtual_tokens": 3, "prefix_init": "normal"},
    "prefix of a text": {"tuning": "prefix", "num_virtual_tokens": 4, "prefix_init": "text", "prefix_layers": 1},
    "projected prefix": {"tuning": "prefix", "num_virtual_tokens": 3, "prefix_projection": 8, "prefix_init": "normal"},
    "ia3": {"tuning": "ia3"},
    "full": {"tuning": "full"},
    "none": {"tuning": "none"},
}
IDLE = "attention.self.key.bias"
"""It changes no output, so its gradient is rounding error, of which optimizers make whole updates."""
SHARED = ("dataset", "source_set", "batch_size", "max_length", "learning_rate", "precision")
STEPS = {"max_steps": 15, "eval_steps": 5}


def test_every_tuning_is_tried_here() -> None:
    assert {case.get("tuning", "prompt") for case in CASES.values()} == set(TUNINGS)


HUB = {case: build_modernbert if "prefix" in case else partial(build_deberta, False) for case in CASES}
"""What is computed by its own code: DeBERTa, whose attention takes no prefix, or ModernBERT."""


@pytest.fixture(params=["fast", "hub"])
def encoder(request: pytest.FixtureRequest, backbone: str, tmp_path: Path) -> str:
    """Give a backbone that is computed the fast way, and one by its own code."""
    if request.param == "fast":
        return backbone
    folder = shutil.copytree(backbone, tmp_path / "hub")
    model = HUB[request.node.callspec.params["case"]]()
    model.resize_token_embeddings(len(load_tokenizer(backbone)))
    model.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
@pytest.mark.parametrize("rate", [0.0, 0.2], ids=["no dropout in the backbone", "dropout in the backbone"])
def test_a_run_ends_with_the_same_weights_alone_and_in_a_pack(
    base: dict[str, Any], encoder: str, case: str, optimizer: str, rate: float
) -> None:
    values = {
        **{name: base[name] for name in SHARED},
        **STEPS,
        **CASES[case],
        "pooling": "mean",
        "optimizer": optimizer,
    }
    values["backbone_dropout"] = rate
    config = RunConfig(**{**values, "backbone": encoder})
    alone, _, _ = train_pack([config.with_seed(3)])
    pack, _, _ = train_pack([config.with_seed(seed) for seed in (1, 2, 3, 4)])
    for name, value in alone.run_parameters(0).items():
        if name.endswith(IDLE):
            continue
        assert (value - pack.run_parameters(2)[name]).abs().max() <= 1e-5, name
        assert not torch.equal(value, pack.run_parameters(0)[name]), name


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rate", [0.0, 0.2], ids=["no dropout in the backbone", "dropout in the backbone"])
def test_a_batch_in_parts_gives_the_same_weights(
    base: dict[str, Any], encoder: str, case: str, rate: float, monkeypatch: Any
) -> None:
    values = {**{name: base[name] for name in SHARED}, **STEPS, **CASES[case], "backbone_dropout": rate}
    config = RunConfig(**{**values, "backbone": encoder})
    whole, _, _ = train_pack([config])
    monkeypatch.setattr("xpe_core.training.passes.CPU_POSITIONS", 40)
    parts, _, _ = train_pack([config])
    for name, value in whole.run_parameters(0).items():
        if name.endswith(IDLE):
            continue
        assert (value - parts.run_parameters(0)[name]).abs().max() <= 1e-5, name


@pytest.mark.parametrize("case", CASES)
def test_a_training_with_dropout_in_the_backbone_goes_on_from_a_checkpoint(
    base: dict[str, Any], encoder: str, case: str
) -> None:
    values = {**{name: base[name] for name in SHARED}, **STEPS, **CASES[case], "backbone_dropout": 0.2}
    config = RunConfig(**{**values, "backbone": encoder, "max_steps": 9, "eval_steps": 9})
    data = load_tokens(config.source, config.backbone, config.data.max_length)

    def build() -> Training:
        runs = [config.with_seed(seed) for seed in (1, 2)]
        return Training(Pack(load_backbone(config.backbone), runs, len(data.label_names)), data)

    whole, left, resumed = build(), build(), build()
    for _ in range(4):
        left.advance(0)
    resumed.restore(left.save())
    for training in (whole, resumed):
        while not training.ended:
            training.advance()
    for name, value in whole.model.parameters.items():
        assert torch.equal(value, resumed.model.parameters[name]), name
