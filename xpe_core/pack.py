"""A pack: runs that share one frozen backbone and its forward pass, each with a prompt and a head of its own.

The modules are written for one run; a pack holds every run's parameters stacked along a first dimension and calls the
modules over it (torch.func), so that a pack of ten costs as many launches as a run alone. What a run computes does not
depend on who else is in the pack: its weights and its dropout come from its own seed, and no operation mixes runs.

R runs, B examples of each, P virtual tokens, T text tokens, H hidden size, C classes.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from xpe_core.backbones.backbone import Backbone
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.seeds import stream_seed
from xpe_core.tunings.prompt.encoders import Masks
from xpe_core.tunings.prompt.prompts import build_prompt, mask_shapes

SHARED_FIELDS = (
    "backbone",
    "dataset",
    "dataset_config",
    "columns",
    "on_bad_rows",
    "num_virtual_tokens",
    "encoder_ratio",
    "encoder_hidden_size",
    "encoder_num_layers",
    "encoder_type",
    "encoder_num_heads",
    "encoder_input_size",
    "optimizer",
    "batch_size",
    "max_steps",
    "eval_steps",
    "max_validation_examples",
    "max_length",
    "precision",
    "pooling",
)
"""Fields that must be equal in all runs of a pack, since they share the backbone's batch, the shapes of the stacked
parameters, and the evaluations' steps.
"""

_MODULES = threading.Lock()
"""functional_call puts parameters into the module for the time of a call, so one thread at a time may make one."""

Parameters = dict[str, Tensor]
"""Parameters of several runs by name, each [R, ...]."""


class ClassificationHead(nn.Module):
    """XLM-R's own head, from scratch: dropout, dense, tanh, dropout, out; weights from N(0, 0.02), biases from 0."""

    def __init__(self, hidden_size: int, num_classes: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, num_classes)
        for layer in (self.dense, self.out):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, pooled: Tensor, masks: Masks) -> Tensor:
        """Return logits [B, C] of pooled hidden states [B, H], with two dropout masks [B, H] or none."""
        if masks:
            pooled = pooled * masks[0]
        states = torch.tanh(self.dense(pooled))
        if masks:
            states = states * masks[1]
        return self.out(states)


class PromptAndHead(nn.Module):
    """What is trained in one run."""

    def __init__(self, config: RunConfig, hidden_size: int, num_classes: int) -> None:
        """Draw the weights from the run's own seed, on the CPU, so that they are the same on any machine."""
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_seed(config.seed, "weights"))
            self.prompt = build_prompt(config, hidden_size)
            self.head = ClassificationHead(hidden_size, num_classes)


def count_trained_parameters(config: RunConfig, hidden_size: int, num_classes: int) -> int:
    """Return how many numbers a run trains, without making them."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in PromptAndHead(config, hidden_size, num_classes).parameters())


class PromptClassifier:
    """One frozen backbone and a pack of runs on it."""

    def __init__(self, backbone: Backbone, configs: Sequence[RunConfig], num_classes: int) -> None:
        """Build every run's prompt and head; raise InputError where the configs cannot share a backbone's batch."""
        _check_pack(configs)
        check_encoder(configs[0], backbone.hidden_size)
        check_positions(configs[0], backbone.max_positions)
        backbone.prepare(configs[0].precision)  # not within a pass, whose memory and time are measured
        self.backbone = backbone
        self.configs = tuple(configs)
        self.device = next(backbone.parameters()).device
        runs = [PromptAndHead(config, backbone.hidden_size, num_classes) for config in configs]
        stacked, _ = stack_module_state(runs)
        self.parameters: Parameters = {name: value.detach().to(self.device) for name, value in stacked.items()}
        """Of all runs, by the names in `PromptAndHead`; each [R, ...]."""
        self._modules = runs[0].to("meta")
        self._dropout_streams = [
            torch.Generator(self.device).manual_seed(stream_seed(config.seed, "dropout")) for config in configs
        ]

    def run_parameters(self, place: int) -> Parameters:
        """Return views of the parameters of the run at `place`, as `PromptAndHead.state_dict()` names them."""
        return {name: value[place] for name, value in self.parameters.items()}

    def draw_masks(self, places: Sequence[int], num_examples: int) -> tuple[Masks, Masks]:
        """Draw one training step's dropout masks for the runs at `places`: the prompts' and the heads', each [R, ...].

        There are none where nothing is to be dropped in any run of the pack.
        """
        config = self.configs[0]
        in_prompt = mask_shapes(config, num_examples, self.backbone.hidden_size)
        in_head = [(num_examples, self.backbone.hidden_size)] * 2
        prompt_rates = [self.configs[place].encoder_dropout for place in places]
        head_rates = [self.configs[place].head_dropout for place in places]
        generators = [self._dropout_streams[place] for place in places]
        return (
            [_draw_mask(shape, prompt_rates, generators) for shape in in_prompt] if any(prompt_rates) else [],
            [_draw_mask(shape, head_rates, generators) for shape in in_head] if any(head_rates) else [],
        )

    def dropout_states(self) -> dict[str, Tensor]:
        """Return where every run's stream of dropout masks stands, for a checkpoint."""
        return {str(place): stream.get_state() for place, stream in enumerate(self._dropout_streams)}

    def restore_dropout(self, states: dict[str, Tensor]) -> None:
        """Go on drawing masks where another pack of the same runs stood."""
        for place, state in states.items():
            self._dropout_streams[int(place)].set_state(state)

    def embed_prompts(self, parameters: Parameters, masks: Masks = ()) -> Tensor:
        """Return the virtual tokens of the runs whose `parameters` are given: [R, B, P, H], or [R, 1, P, H]."""
        return _call_stacked(self._modules.prompt, "prompt.", parameters, masks)

    def classify(
        self,
        parameters: Parameters,
        prompts: Tensor,
        token_ids: Tensor,
        lengths: np.ndarray,
        masks: Masks = (),
    ) -> Tensor:
        """Return logits [R, B, C], with dropout only where `masks` are given.

        `prompts` are [R, B, P, H] or [R, 1, P, H]; `token_ids` [R, B, T], one batch a run, or [1, B, T], the same
        batch for every run; `lengths` say how many of the T are no padding, for the examples of all batches in turn.
        """
        num_runs, num_examples = len(prompts), token_ids.shape[1]
        text = self.backbone.embed(token_ids.flatten(0, 1)).unflatten(0, token_ids.shape[:2])
        text = text.expand(num_runs, -1, -1, -1)  # [R, B, T, H]
        prompts = prompts.expand(-1, num_examples, -1, -1)
        embeddings = torch.cat([prompts.to(text.dtype), text], dim=2).flatten(0, 1)  # [RB, P + T, H]
        mask = self._mask(lengths, num_runs * num_examples, embeddings.shape[1])
        only_first = self.configs[0].pooling == "first"
        hidden = self.backbone(embeddings, mask, self.configs[0].precision, only_first).float()
        pooled = hidden[:, 0] if only_first else _average(hidden, mask)  # [RB, H]
        return _call_stacked(self._modules.head, "head.", parameters, pooled.unflatten(0, (num_runs, -1)), masks)

    def _mask(self, lengths: np.ndarray, num_sequences: int, width: int) -> Tensor | None:
        """Return which positions of prompt and text are no padding [RB, P + T], or None where none is."""
        num_virtual_tokens = self.configs[0].num_virtual_tokens
        if int(lengths.min()) + num_virtual_tokens == width:
            return None
        totals = torch.from_numpy(lengths).to(self.device) + num_virtual_tokens
        mask = torch.arange(width, device=self.device) < totals[:, None]
        return mask.repeat(num_sequences // len(mask), 1)


def check_positions(config: RunConfig, max_positions: int) -> None:
    """Raise InputError where prompt and text together are longer than what the backbone can see."""
    needed = config.num_virtual_tokens + config.max_length
    if needed > max_positions:
        raise InputError(
            f"num_virtual_tokens={config.num_virtual_tokens} and max_length={config.max_length} need {needed} "
            f"positions; {config.backbone} has {max_positions}"
        )


def check_encoder(config: RunConfig, hidden_size: int) -> None:
    """Raise InputError where a prompt's encoder cannot be built for a backbone's hidden size."""
    if config.method == "spt":
        return
    size = config.encoder_input_size or hidden_size
    if config.encoder_type == "attention" and size % config.encoder_num_heads:
        raise InputError(
            f"encoder_num_heads={config.encoder_num_heads}: must divide the size of the encoder's input embeddings, "
            f"which is {size}"
        )
    if config.encoder_type == "none" and size != hidden_size:
        raise InputError(
            f"encoder_input_size={size}: must be {hidden_size}, the hidden size of {config.backbone}, "
            "with encoder_type=none"
        )


def _check_pack(configs: Sequence[RunConfig]) -> None:
    for field in SHARED_FIELDS:
        if len({getattr(config, field) for config in configs}) > 1:
            raise InputError(f"runs of one pack must share {field}")


def _call_stacked(module: nn.Module, prefix: str, parameters: Parameters, *inputs: Any) -> Tensor:
    """Call one run's module for every run, with those of the stacked `parameters` whose names have the prefix."""
    own = {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}

    def call(values: Parameters, *arguments: Any) -> Tensor:
        return functional_call(module, values, arguments)

    stacked: Callable[..., Tensor] = vmap(call)
    with _MODULES:
        return stacked(own, *inputs)


def _draw_mask(shape: tuple[int, ...], rates: Sequence[float], generators: Sequence[torch.Generator]) -> Tensor:
    """Return a dropout mask [R, *shape]: per run 0 at its `rate` of the places, 1 / (1 - rate) at the others.

    Each run's numbers come from its own generator, so that they do not depend on who else is trained.
    """
    mask = torch.ones((len(rates), *shape), device=generators[0].device)
    for place, (rate, generator) in enumerate(zip(rates, generators, strict=True)):
        if rate:
            mask[place].bernoulli_(1 - rate, generator=generator).div_(1 - rate)
    return mask


def _average(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean [RB, H] of hidden states [RB, L, H] over prompt and text."""
    if mask is None:
        return hidden.mean(1)
    weights = mask[:, :, None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)
