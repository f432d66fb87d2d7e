"""The three prompts, each for one run: a table of virtual tokens, an encoder over one, or some of both.

Every prompt is called with dropout masks and returns the virtual tokens' embeddings [B, P, H], which stand before the
texts' own (arXiv:2508.10352, section 3). They differ from example to example by the encoder's dropout alone, so
without masks, or without an encoder, there is one row for all examples: [1, P, H].

B examples, P virtual tokens, H the backbone's hidden size.
"""

import torch
from torch import Tensor, nn

from xpe_core.tunings.prompt.config import PromptConfig
from xpe_core.tunings.prompt.encoders import Masks, build_encoder, encoder_mask_shapes


class SoftPrompt(nn.Module):
    """SPT: the virtual tokens are the rows of one table, trained directly."""

    def __init__(self, num_virtual_tokens: int, hidden_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_virtual_tokens, hidden_size)

    def forward(self, masks: Masks) -> Tensor:
        """Return the embeddings [1, P, H]."""
        return self.embedding.weight[None]


class CrossPromptEncoder(nn.Module):
    """XPE: input embeddings go through an encoder that all virtual tokens share."""

    def __init__(self, config: PromptConfig, num_tokens: int, hidden_size: int) -> None:
        super().__init__()
        input_size = config.encoder_input_size or hidden_size
        self.embedding = nn.Embedding(num_tokens, input_size)
        self.encoder = build_encoder(config, input_size, hidden_size)

    def forward(self, masks: Masks) -> Tensor:
        """Return the embeddings [B, P, H], or [1, P, H] without masks."""
        return self.encoder(self.embedding.weight[None], masks)


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


def build_prompt(config: PromptConfig, hidden_size: int) -> nn.Module:
    """Return the prompt that `encoder_ratio` means; its weights come from torch's global generator."""
    num_encoded = config.num_encoder_tokens
    if config.method == "spt":
        return SoftPrompt(config.num_virtual_tokens, hidden_size)
    encoded = CrossPromptEncoder(config, num_encoded, hidden_size)
    if config.method == "xpe":
        return encoded
    return DualPrompt(SoftPrompt(config.num_virtual_tokens - num_encoded, hidden_size), encoded)


def mask_shapes(config: PromptConfig, num_examples: int, hidden_size: int) -> list[tuple[int, ...]]:
    """Return the shapes of the masks that the run's prompt takes."""
    if config.method == "spt":
        return []
    return encoder_mask_shapes(config, num_examples, config.encoder_input_size or hidden_size)
