"""A pack's forward pass: what a run sees, and what it does not."""

from typing import Any

import pytest
import torch

from xpe_core.backbones import load_backbone
from xpe_core.config import RunConfig
from xpe_core.model import PromptClassifier, stream_seed


@pytest.fixture
def pack(values: dict[str, Any]) -> PromptClassifier:
    config = RunConfig(**values["base"], encoder_ratio=0.5)
    return PromptClassifier(load_backbone(config.backbone), [config.with_seed(seed) for seed in (1, 2, 3)], 3).eval()


def batch(rows: int = 2, width: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    token_ids = torch.randint(4, 40, (1, rows, width), generator=generator)
    return token_ids, torch.ones_like(token_ids)


def test_one_batch_for_all_runs_is_the_same_as_one_each(pack: PromptClassifier) -> None:
    token_ids, mask = batch()
    shared = pack(token_ids, mask, [0, 1, 2])
    assert shared.shape == (3, 2, 3)
    torch.testing.assert_close(shared, pack(token_ids.expand(3, -1, -1), mask.expand(3, -1, -1), [0, 1, 2]))


def test_places_choose_the_runs_and_their_order(pack: PromptClassifier) -> None:
    token_ids, mask = batch()
    every, some = pack(token_ids, mask, [0, 1, 2]), pack(token_ids, mask, [2, 0])
    torch.testing.assert_close(some, every[[2, 0]])
    assert not torch.allclose(every[0], every[1])


def test_padding_does_not_change_a_result(pack: PromptClassifier) -> None:
    token_ids, mask = batch()
    padded = torch.cat([token_ids, torch.ones_like(token_ids)], dim=2)
    hidden = torch.cat([mask, torch.zeros_like(mask)], dim=2)
    torch.testing.assert_close(pack(padded, hidden, [0]), pack(token_ids, mask, [0]))


def test_the_gradient_of_one_run_does_not_reach_another(pack: PromptClassifier) -> None:
    token_ids, mask = batch()
    pack(token_ids, mask, [0, 1, 2])[1].sum().backward()
    reached = [
        any(parameter.grad is not None and parameter.grad.any() for parameter in run.parameters()) for run in pack.runs
    ]
    assert reached == [False, True, False]


def test_bfloat16_stays_near_float32_and_gives_float32_logits(values: dict[str, Any]) -> None:
    backbone = load_backbone(values["base"]["backbone"])
    token_ids, mask = batch()
    logits = {}
    for precision in ("float32", "bfloat16"):
        config = RunConfig(**{**values["base"], "precision": precision})
        logits[precision] = PromptClassifier(backbone, [config], 3).eval()(token_ids, mask, [0])
    assert logits["bfloat16"].dtype == torch.float32
    assert not torch.equal(logits["bfloat16"], logits["float32"])
    torch.testing.assert_close(logits["bfloat16"], logits["float32"], atol=0.02, rtol=0)


def test_streams_of_a_seed_are_told_apart_and_never_change() -> None:
    assert stream_seed(1, "weights") == 40346441995714416
    assert len({stream_seed(seed, name) for seed in (1, 2) for name in ("weights", "dropout", "order")}) == 6
