"""A pack: runs that share one frozen backbone and its forward pass, each with a prompt and a head of its own.

What a run computes does not depend on who else is in the pack: its weights and its dropout come from its own seed, and
no operation of the backbone mixes rows of a batch.

R runs, B examples of each, P virtual tokens, T text tokens, H hidden size, C classes.
"""

import contextlib
import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from xpe_core.backbones import Backbone
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.prompts import SeededDropout, build_prompt

SHARED_FIELDS = (
    "backbone",
    "dataset",
    "num_virtual_tokens",
    "batch_size",
    "max_steps",
    "eval_steps",
    "max_length",
    "precision",
    "pooling",
)
"""Fields that must be equal in all runs of a pack, since they share the backbone's batch and the evaluations' steps."""


class ClassificationHead(nn.Module):
    """XLM-R's own head, from scratch: dropout, dense, tanh, dropout, out; weights from N(0, 0.02), biases from 0."""

    def __init__(self, hidden_size: int, num_classes: int, dropout: float, generator: torch.Generator) -> None:
        super().__init__()
        self.dropout = SeededDropout(dropout, generator)
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, num_classes)
        for layer in (self.dense, self.out):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        """Return logits [B, C] of pooled hidden states [B, H]."""
        return self.out(self.dropout(torch.tanh(self.dense(self.dropout(pooled)))))


class PromptAndHead(nn.Module):
    """What is trained in one run."""

    def __init__(self, config: RunConfig, hidden_size: int, num_classes: int, device: torch.device) -> None:
        super().__init__()
        self.config = config
        dropout_stream = torch.Generator(device).manual_seed(stream_seed(config.seed, "dropout"))
        with torch.random.fork_rng(devices=[]):
            # on the CPU whatever the device, so that a run starts from the same weights on any machine
            torch.manual_seed(stream_seed(config.seed, "weights"))
            self.prompt = build_prompt(config, hidden_size, dropout_stream)
            self.head = ClassificationHead(hidden_size, num_classes, config.head_dropout, dropout_stream)
        self.to(device)


class PromptClassifier(nn.Module):
    """One frozen backbone and a pack of runs on it."""

    def __init__(self, backbone: Backbone, configs: Sequence[RunConfig], num_classes: int) -> None:
        """Build every run's prompt and head; raise InputError where the configs cannot share a backbone's batch."""
        super().__init__()
        _check_pack(configs)
        check_positions(configs[0], backbone.max_positions)
        self.backbone = backbone
        self.device = next(backbone.parameters()).device
        runs = [PromptAndHead(config, backbone.hidden_size, num_classes, self.device) for config in configs]
        self.runs: Sequence[PromptAndHead] = nn.ModuleList(runs)  # type: ignore[assignment]
        self.pooling = configs[0].pooling
        self.precision = configs[0].precision

    def forward(self, token_ids: Tensor, mask: Tensor, places: Sequence[int]) -> Tensor:
        """Return the logits [R, B, C] of the runs at `places`.

        `token_ids` and `mask` are [R, B, T], one batch a run, or [1, B, T], the same batch for every run.
        """
        runs = [self.runs[place] for place in places]
        num_runs, num_examples = len(runs), token_ids.shape[1]
        prompts = torch.stack([run.prompt(num_examples) for run in runs])  # [R, B, P, H]
        text = self.backbone.embed(token_ids.flatten(0, 1)).unflatten(0, token_ids.shape[:2])
        text = text.expand(num_runs, -1, -1, -1)  # [R, B, T, H]
        mask = mask.expand(num_runs, -1, -1).flatten(0, 1)  # [RB, T]
        mask = torch.cat([mask.new_ones(len(mask), prompts.shape[2]), mask], dim=1)  # [RB, P + T]
        embeddings = torch.cat([prompts.to(text.dtype), text], dim=2).flatten(0, 1)  # [RB, P + T, H]
        with self._autocast():
            hidden = self.backbone(embeddings, mask)  # [RB, P + T, H]
        pooled = self._pool(hidden.float(), mask).unflatten(0, (num_runs, num_examples))  # [R, B, H]
        return torch.stack([run.head(states) for run, states in zip(runs, pooled, strict=True)])

    def _pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        if self.pooling == "first":
            return hidden[:, 0]
        weights = mask[:, :, None].to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1)

    def _autocast(self) -> contextlib.AbstractContextManager[None]:
        if self.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


def stream_seed(seed: int, name: str) -> int:
    """Return the seed of one named stream of random numbers (weights, dropout, order) of the run with `seed`."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:7], "big")


def check_positions(config: RunConfig, max_positions: int) -> None:
    """Raise InputError where prompt and text together are longer than what the backbone can see."""
    needed = config.num_virtual_tokens + config.max_length
    if needed > max_positions:
        raise InputError(
            f"num_virtual_tokens={config.num_virtual_tokens} and max_length={config.max_length} need {needed} "
            f"positions; {config.backbone} has {max_positions}"
        )


def _check_pack(configs: Sequence[RunConfig]) -> None:
    for field in SHARED_FIELDS:
        if len({getattr(config, field) for config in configs}) > 1:
            raise InputError(f"runs of one pack must share {field}")
