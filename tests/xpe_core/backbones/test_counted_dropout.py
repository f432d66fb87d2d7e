"""Dropout from counters: right on average, the same in a repeated pass and in any batch."""

from pathlib import Path

import pytest
import torch

from tests.making.encoders import build_deberta, save_encoder
from xpe_core.backbones.backbone import load_backbone
from xpe_core.backbones.counted_dropout import LayerDropout, drop
from xpe_core.backbones.insertion import Delta, Insertion


def make(rates: list[float], num_examples: int, salt: int = 1) -> LayerDropout:
    generator = torch.Generator().manual_seed(0)
    seeds = torch.randint(2**31 - 1, (len(rates), num_examples), generator=generator, dtype=torch.int32)
    return LayerDropout(torch.tensor(rates), seeds, salt)


def test_as_much_is_dropped_as_the_rate_says_and_the_mean_stays() -> None:
    dropout = make([0.1, 0.5], 4)
    masks = drop(torch.ones(8, 50, 200), dropout)
    for masks_of_run, rate in ((masks[:4], 0.1), (masks[4:], 0.5)):
        dropped = (masks_of_run == 0).float().mean().item()
        assert abs(dropped - rate) < 0.01
        torch.testing.assert_close(
            masks_of_run[masks_of_run > 0], torch.full((), 1 / (1 - rate)).expand(int((masks_of_run > 0).sum()))
        )


def test_places_texts_layers_and_rates_are_independent() -> None:
    one, other = (drop(torch.ones(2, 50, 200), make([0.5], 2, salt)) > 0 for salt in (1, 2))
    pairs = [(one[0], one[1]), (one[0], other[0]), (one[0, 1:], one[0, :-1]), (one[0, :, 1:], one[0, :, :-1])]
    for left, right in pairs:
        assert abs((left == right).float().mean().item() - 0.5) < 0.02


def test_a_part_of_a_batch_is_dropped_as_in_the_whole() -> None:
    dropout = make([0.3, 0.3], 3)
    whole = drop(torch.ones(6, 7, 5), dropout)
    part = LayerDropout(dropout.rates[1:], dropout.seeds[1:, 1:], dropout.salt)
    assert torch.equal(drop(torch.ones(2, 7, 5), part), whole[4:])


def test_the_backward_pass_drops_the_same() -> None:
    inputs = torch.randn(2, 7, 5, requires_grad=True)
    dropped = drop(inputs, make([0.4], 2))
    dropped.sum().backward()
    assert inputs.grad is not None
    torch.testing.assert_close(dropped, inputs * inputs.grad)
    assert 0 < (inputs.grad == 0).sum() < inputs.numel()


def test_a_rate_of_zero_changes_nothing() -> None:
    inputs = torch.randn(2, 7, 5)
    assert torch.equal(drop(inputs, make([0.0], 2)), inputs)


@pytest.mark.parametrize("length", [6, 16], ids=["fewer tokens than relative positions", "as many"])
def test_dropout_of_updates_on_deberta_is_the_same_however_a_batch_is_cut(length: int, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = load_backbone(save_encoder(tmp_path, build_deberta(False)))  # of 16 relative positions
    draw = torch.Generator().manual_seed(1)
    down, up = torch.randn(1, 4, 32, generator=draw), torch.randn(1, 32, 4, generator=draw)
    seeds = torch.randint(0, 2**31 - 1, (1, 4), dtype=torch.int32, generator=draw)
    token_ids = torch.randint(4, 12, (4, length), generator=draw)

    def run(rows: list[int], rate: float = 0.5) -> torch.Tensor:
        deltas = {
            f"{layer}.{role}": Delta(
                down=down, up=up, dropout=LayerDropout(torch.tensor([rate]), seeds[:, rows], 3 + layer)
            )
            for layer in range(2)
            for role in ("query", "key")
        }
        return backbone(backbone.embed(token_ids[rows]), None, "float32", False, Insertion(deltas=deltas))

    whole = run([0, 1, 2, 3])
    torch.testing.assert_close(torch.cat([run([row]) for row in range(4)]), whole, atol=1e-5, rtol=0)
    assert (run([0, 1, 2, 3], 0.0) - whole).abs().max() > 0.01
