"""The three prompts, each for one run: a table of virtual tokens, an encoder over one, or some of both.

Every prompt is called with dropout masks and returns the virtual tokens' embeddings [B, P, H], which stand before the
texts' own (arXiv:2508.10352, section 3). They differ from example to example by the encoder's dropout alone, so
without masks, or without an encoder, there is one row for all examples: [1, P, H].

B examples, P virtual tokens, H the backbone's hidden size, W the encoder's.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from xpe_core.config import RunConfig

Masks = Sequence[Tensor]
"""What dropout multiplies its inputs with: 0, or 1 / (1 - probability); none in evaluation."""


class SoftPrompt(nn.Module):
    """SPT: the virtual tokens are the rows of one table, trained directly."""

    def __init__(self, num_virtual_tokens: int, hidden_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_virtual_tokens, hidden_size)

    def forward(self, masks: Masks) -> Tensor:
        """Return the embeddings [1, P, H]."""
        return self.embedding.weight[None]


class CrossPromptEncoder(nn.Module):
    """XPE: input embeddings go through an MLP that all virtual tokens share."""

    def __init__(self, config: RunConfig, num_tokens: int, hidden_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_tokens, hidden_size)
        widths = [hidden_size] + [config.encoder_hidden_size] * config.encoder_num_layers
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in zip(widths, widths[1:], strict=False))
        self.out = nn.Linear(widths[-1], hidden_size)

    def forward(self, masks: Masks) -> Tensor:
        """Return the embeddings [B, P, H], with one mask [B, P, W] a hidden layer, or [1, P, H] without masks."""
        states = self.embedding.weight[None]
        for place, layer in enumerate(self.layers):
            states = functional.relu(layer(states))
            if masks:
                states = states * masks[place]
        return self.out(states)


class DualPrompt(nn.Module):
    """DUAL: directly trained tokens first, then the encoder's."""

    def __init__(self, soft: SoftPrompt, encoded: CrossPromptEncoder) -> None:
        super().__init__()
        self.soft = soft
        self.encoded = encoded

    def forward(self, masks: Masks) -> Tensor:
        """Return the embeddings [B, P, H], or [1, P, H] without masks."""
        encoded = self.encoded(masks)
        return torch.cat([self.soft(masks).expand(len(encoded), -1, -1), encoded], dim=1)


def build_prompt(config: RunConfig, hidden_size: int) -> nn.Module:
    """Return the prompt that `encoder_ratio` means; its weights come from torch's global generator."""
    num_encoded = config.num_encoder_tokens
    if config.method == "spt":
        return SoftPrompt(config.num_virtual_tokens, hidden_size)
    encoded = CrossPromptEncoder(config, num_encoded, hidden_size)
    if config.method == "xpe":
        return encoded
    return DualPrompt(SoftPrompt(config.num_virtual_tokens - num_encoded, hidden_size), encoded)


def mask_shapes(config: RunConfig, num_examples: int) -> list[tuple[int, ...]]:
    """Return the shapes of the masks that the run's prompt takes."""
    if config.method == "spt":
        return []
    return [(num_examples, config.num_encoder_tokens, config.encoder_hidden_size)] * config.encoder_num_layers
