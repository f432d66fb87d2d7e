"""The three prompts, each for one run: a table of virtual tokens, an encoder over one, or some of both.

Every prompt is called with a number of examples and returns the virtual tokens' embeddings [B, P, H], which stand
before the texts' own (arXiv:2508.10352, section 3). They differ from example to example by the encoder's dropout alone.

B examples, P virtual tokens, H the backbone's hidden size.
"""

import torch
from torch import Tensor, nn

from xpe_core.config import RunConfig


class SeededDropout(nn.Module):
    """Dropout whose masks come from a generator of the run's own, so that they do not depend on who else is trained."""

    def __init__(self, probability: float, generator: torch.Generator) -> None:
        super().__init__()
        self.probability = probability
        self.generator = generator

    def forward(self, values: Tensor) -> Tensor:
        """Return `values` with some set to 0 and the rest scaled up; unchanged in evaluation."""
        if not self.training or self.probability == 0:
            return values
        keep = torch.empty_like(values).bernoulli_(1 - self.probability, generator=self.generator)
        return values * keep / (1 - self.probability)


class SoftPrompt(nn.Module):
    """SPT: the virtual tokens are the rows of one table, trained directly."""

    def __init__(self, num_virtual_tokens: int, hidden_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_virtual_tokens, hidden_size)

    def forward(self, num_examples: int) -> Tensor:
        """Return the embeddings [B, P, H]."""
        return self.embedding.weight.expand(num_examples, -1, -1)


class CrossPromptEncoder(nn.Module):
    """XPE: input embeddings go through an MLP that all virtual tokens share."""

    def __init__(self, config: RunConfig, num_tokens: int, hidden_size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_tokens, hidden_size)
        layers: list[nn.Module] = []
        width = hidden_size
        for _ in range(config.encoder_num_layers):
            layers += [nn.Linear(width, config.encoder_hidden_size), nn.ReLU()]
            layers += [SeededDropout(config.encoder_dropout, generator)]
            width = config.encoder_hidden_size
        self.encoder = nn.Sequential(*layers, nn.Linear(width, hidden_size))

    def forward(self, num_examples: int) -> Tensor:
        """Return the embeddings [B, P, H]."""
        if self.training:  # every example has dropout masks of its own
            return self.encoder(self.embedding.weight.expand(num_examples, -1, -1))
        return self.encoder(self.embedding.weight).expand(num_examples, -1, -1)


class DualPrompt(nn.Module):
    """DUAL: directly trained tokens first, then the encoder's."""

    def __init__(self, soft: SoftPrompt, encoded: CrossPromptEncoder) -> None:
        super().__init__()
        self.soft = soft
        self.encoded = encoded

    def forward(self, num_examples: int) -> Tensor:
        """Return the embeddings [B, P, H]."""
        return torch.cat([self.soft(num_examples), self.encoded(num_examples)], dim=1)


def build_prompt(config: RunConfig, hidden_size: int, generator: torch.Generator) -> nn.Module:
    """Return the prompt that `encoder_ratio` means; weights from torch's global generator, dropout from `generator`."""
    num_encoded = config.num_encoder_tokens
    if config.method == "spt":
        return SoftPrompt(config.num_virtual_tokens, hidden_size)
    encoded = CrossPromptEncoder(config, num_encoded, hidden_size, generator)
    if config.method == "xpe":
        return encoded
    return DualPrompt(SoftPrompt(config.num_virtual_tokens - num_encoded, hidden_size), encoded)
