"""What turns an encoder's input embeddings into virtual tokens: an MLP, an LSTM, attention, or nothing.

The kinds and their layers are those of the authors' package micm-nlp (`encoder_reparameterization_type`), whose
adapters are read and written. LSTM and attention keep their weights in torch's own modules and are written out as plain
products here, since torch.func can stack these over the runs of a pack.

B examples, P virtual tokens, I size of the input embeddings, W the encoder's hidden size, H the backbone's.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from xpe_core.tunings.prompt.config import PromptConfig

Masks = Sequence[Tensor]
"""What dropout multiplies its inputs with: 0, or 1 / (1 - probability); none in evaluation."""


class MlpEncoder(nn.Module):
    """XPE's own encoder: every virtual token by itself through the same linear layers with ReLU between."""

    def __init__(self, config: PromptConfig, input_size: int, hidden_size: int) -> None:
        super().__init__()
        widths = [input_size] + [config.encoder_hidden_size] * config.encoder_num_layers
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in zip(widths, widths[1:], strict=False))
        self.out = nn.Linear(widths[-1], hidden_size)

    def forward(self, states: Tensor, masks: Masks) -> Tensor:
        """Return [B, P, H] of states [1, P, I], with one mask [B, P, W] a hidden layer, or [1, P, H] without masks."""
        for number, layer in enumerate(self.layers):
            states = functional.relu(layer(states))
            if masks:
                states = states * masks[number]
        return self.out(states)


class LstmEncoder(nn.Module):
    """A bidirectional LSTM over the virtual tokens, then one hidden linear layer."""

    def __init__(self, config: PromptConfig, input_size: int, hidden_size: int) -> None:
        super().__init__()
        width = config.encoder_hidden_size
        self.lstm = nn.LSTM(input_size, width, config.encoder_num_layers, bidirectional=True, batch_first=True)
        self.dense = nn.Linear(2 * width, width)
        self.out = nn.Linear(width, hidden_size)

    def forward(self, states: Tensor, masks: Masks) -> Tensor:
        """Return [B, P, H] of states [1, P, I], or [1, P, H] without masks.

        Masks are [B, P, 2W] after each of the LSTM's layers but the last, and [B, P, W] after the linear one.
        """
        for layer in range(self.lstm.num_layers):
            states = self._run_layer(states, layer)  # [B, P, 2W]
            if masks and layer < self.lstm.num_layers - 1:
                states = states * masks[layer]
        states = functional.relu(self.dense(states))
        if masks:
            states = states * masks[-1]
        return self.out(states)

    def _run_layer(self, states: Tensor, layer: int) -> Tensor:
        """Return one layer's output [B, P, 2W] of states [B, P, .]; both directions go together, in one loop."""
        into, again, bias_into, bias_again = (
            torch.stack([getattr(self.lstm, f"{kind}_l{layer}{direction}") for direction in ("", "_reverse")])
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        both = torch.stack([states, states.flip(1)])  # [2, B, P, .]
        inputs = both @ into.mT[:, None] + (bias_into + bias_again)[:, None, None]  # [2, B, P, 4W]
        cell = hidden = torch.zeros_like(inputs[:, :, 0, : self.lstm.hidden_size])  # [2, B, W]
        outputs = []
        for token in range(states.shape[1]):
            gates = inputs[:, :, token] + hidden @ again.mT
            new = gates.chunk(4, dim=2)[2].tanh()
            take, keep, _, show = gates.sigmoid().chunk(4, dim=2)
            cell = keep * cell + take * new
            hidden = show * cell.tanh()
            outputs.append(hidden)
        forth, back = torch.stack(outputs, dim=2)  # each [B, P, W]
        return torch.cat([forth, back.flip(1)], dim=2)


class AttentionEncoder(nn.Module):
    """One block of self-attention over the virtual tokens (residual, layer norm, projection), then a linear layer."""

    def __init__(self, config: PromptConfig, input_size: int, hidden_size: int) -> None:
        super().__init__()
        width = config.encoder_hidden_size
        self.attention = nn.MultiheadAttention(input_size, config.encoder_num_heads, batch_first=True)
        self.norm = nn.LayerNorm(input_size)
        self.projection = nn.Linear(input_size, input_size)
        self.dense = nn.Linear(input_size, width)
        self.out = nn.Linear(width, hidden_size)

    def forward(self, states: Tensor, masks: Masks) -> Tensor:
        """Return [B, P, H] of states [1, P, I], or [1, P, H] without masks.

        Masks are [B, P, I] on what attention gives, and [B, P, W] after the linear layer.
        """
        attended = self._attend(states)
        if masks:
            attended = attended * masks[0]
        states = functional.relu(self.dense(self.projection(self.norm(states + attended))))
        if masks:
            states = states * masks[1]
        return self.out(states)

    def _attend(self, states: Tensor) -> Tensor:
        """Return [1, P, I] of states [1, P, I], as `nn.MultiheadAttention` does."""
        heads = self.attention.num_heads
        projected = functional.linear(states, self.attention.in_proj_weight, self.attention.in_proj_bias)
        query, key, value = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in projected.chunk(3, dim=2))
        scores = query @ key.mT * query.shape[-1] ** -0.5  # [1, heads, P, P]
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
        return self.attention.out_proj(mixed)


class NoEncoder(nn.Module):
    """The input embeddings are the virtual tokens."""

    def forward(self, states: Tensor, masks: Masks) -> Tensor:
        """Return the states [1, P, H]."""
        return states


def build_encoder(config: PromptConfig, input_size: int, hidden_size: int) -> nn.Module:
    """Return the encoder of a run, from input embeddings [1, P, I] and masks to [B, P, H] or [1, P, H]."""
    if config.encoder_type == "none":
        return NoEncoder()
    kinds = {"mlp": MlpEncoder, "lstm": LstmEncoder, "attention": AttentionEncoder}
    return kinds[config.encoder_type](config, input_size, hidden_size)


def encoder_mask_shapes(config: PromptConfig, num_examples: int, input_size: int) -> list[tuple[int, ...]]:
    """Return the shapes of the masks that a run's encoder takes."""
    tokens, width = (num_examples, config.num_encoder_tokens), config.encoder_hidden_size
    hidden: tuple[int, ...] = (*tokens, width)
    if config.encoder_type == "none":
        return []
    if config.encoder_type == "attention":
        return [(*tokens, input_size), hidden]
    if config.encoder_type == "lstm":
        return [(*tokens, 2 * width)] * (config.encoder_num_layers - 1) + [hidden]
    return [hidden] * config.encoder_num_layers
