"""The encoders' kinds against torch's own modules, with dropout and without."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from xpe_core.config import RunConfig
from xpe_core.tunings.prompt.config import PromptConfig
from xpe_core.tunings.prompt.encoders import AttentionEncoder, LstmEncoder, build_encoder, encoder_mask_shapes

SIZE = 16


def configure(kind: str, **values: Any) -> PromptConfig:
    return PromptConfig(
        encoder_ratio=1.0,
        num_virtual_tokens=5,
        encoder_hidden_size=6,
        encoder_type=kind,
        encoder_num_heads=4,
        **values,
    )


def draw_masks(config: PromptConfig, num_examples: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = encoder_mask_shapes(config, num_examples, SIZE)
    return [2.0 * torch.empty(shape).bernoulli_(0.5, generator=generator) for shape in shapes]


def torch_lstm(encoder: LstmEncoder, states: Tensor, masks: Sequence[Tensor]) -> Tensor:
    """Run torch's LSTM, one of its layers at a time with a mask between two."""
    whole = encoder.lstm.state_dict()
    for layer in range(encoder.lstm.num_layers):
        single = nn.LSTM(states.shape[-1], encoder.lstm.hidden_size, bidirectional=True, batch_first=True)
        names = {name: name.replace(f"_l{layer}", "_l0") for name in whole if f"_l{layer}" in name}
        single.load_state_dict({new: whole[old] for old, new in names.items()})
        states = single(states)[0]
        if masks and layer < encoder.lstm.num_layers - 1:
            states = states * masks[layer]
    hidden = torch.relu(encoder.dense(states))
    return encoder.out(hidden * masks[-1] if masks else hidden)


def torch_attention(encoder: AttentionEncoder, states: Tensor, masks: Sequence[Tensor]) -> Tensor:
    attended = encoder.attention(states, states, states)[0]
    normed = encoder.norm(states + (attended * masks[0] if masks else attended))
    hidden = torch.relu(encoder.dense(encoder.projection(normed)))
    return encoder.out(hidden * masks[1] if masks else hidden)


@pytest.mark.parametrize("with_masks", [False, True])
@pytest.mark.parametrize(("kind", "num_layers"), [("lstm", 1), ("lstm", 3), ("attention", 2)])
def test_lstm_and_attention_compute_what_torchs_modules_do(kind: str, num_layers: int, with_masks: bool) -> None:
    torch.manual_seed(0)
    config = configure(kind, encoder_num_layers=num_layers)
    encoder, states = build_encoder(config, SIZE, 24), torch.randn(1, 5, SIZE)
    masks = draw_masks(config) if with_masks else []
    reference = {"lstm": torch_lstm, "attention": torch_attention}[kind]
    expected = reference(encoder, states.expand(3, -1, -1), masks)  # type: ignore[operator]
    found = encoder(states, masks)
    assert found.shape == (3 if with_masks else 1, 5, 24)
    torch.testing.assert_close(found.expand(3, -1, -1), expected)


def test_without_an_encoder_the_input_embeddings_are_the_virtual_tokens() -> None:
    states = torch.randn(1, 5, SIZE)
    assert torch.equal(build_encoder(configure("none"), SIZE, SIZE)(states, []), states)
    assert encoder_mask_shapes(configure("none"), 3, SIZE) == []


def test_ids_of_runs_are_those_they_had_before_there_were_kinds_of_encoders() -> None:
    assert RunConfig(encoder_type="mlp").run_id == RunConfig().run_id == "d0b9e1a48d9069c1"
    assert RunConfig(encoder_type="lstm").run_id != RunConfig().run_id
