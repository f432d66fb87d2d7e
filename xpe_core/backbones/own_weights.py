"""A model of transformers computed with weights of a run's own, in the place of its frozen ones, which stay so.

Passes run in several threads, so each thread has a copy of the model's modules; its tensors are the model's, and a
pass puts others into their places for its own time.

R runs, S = R * B sequences, L tokens, H hidden size.
"""

import copy
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from xpe_core.backbones.embeddings import embed_tokens
from xpe_core.backbones.hub_model import HubModel
from xpe_core.backbones.insertion import Insertion


class OwnWeights:
    """A model's embeddings and hidden states by its own code, with the weights of an insertion."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Take the model whose modules are copied."""
        self._model = model
        self._of_thread = threading.local()

    def embed(self, token_ids: Tensor, token_types: Tensor | None, insertion: Insertion) -> Tensor:
        """Return the word embeddings [S, T, H] of token ids and types [S, T], of every run by its own weights."""
        copied, num_runs = self._copy(), insertion.num_runs_in_layers
        types = [None] * num_runs if token_types is None else token_types.chunk(num_runs)
        parts = []
        for run, (part, own_types) in enumerate(zip(token_ids.chunk(num_runs), types, strict=True)):
            with copied.holding(_take(insertion, run)):
                parts.append(embed_tokens(copied.model, part, own_types))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def __call__(self, embeddings: Tensor, mask: Tensor | None, precision: str, insertion: Insertion) -> Tensor:
        """Return last hidden states [S, L, H] of embeddings [S, L, H]; mask is [S, L], or None without padding."""
        copied, num_runs = self._copy(), insertion.num_runs_in_layers
        copied.repeat_layers(insertion.checkpointing and torch.is_grad_enabled())
        parts, masks = embeddings.chunk(num_runs), [None] * num_runs if mask is None else mask.chunk(num_runs)
        hidden = [
            copied.run(part, own_mask, precision, insertion.take_layers(run), _take(insertion, run))
            for run, (part, own_mask) in enumerate(zip(parts, masks, strict=True))
        ]
        return hidden[0] if num_runs == 1 else torch.cat(hidden)

    def _copy(self) -> "_Copy":
        if not hasattr(self._of_thread, "copy"):
            self._of_thread.copy = _Copy(self._model)
        copied = self._of_thread.copy
        assert isinstance(copied, _Copy)
        return copied


class _Copy:
    """The modules of a model, with places into which weights are put."""

    def __init__(self, model: PreTrainedModel) -> None:
        tensors = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
        self.model: PreTrainedModel = copy.deepcopy(model, tensors)
        self._hub_model = HubModel(self.model)
        names = {id(tensor): name for name, tensor in model.named_parameters()}
        self._places: list[tuple[dict[str, Any], str, str]] = [
            (module._parameters, place, names[id(tensor)])
            for module in self.model.modules()
            for place, tensor in module._parameters.items()
            if tensor is not None
        ]
        self._held: Mapping[str, Tensor] = {}

    def run(
        self,
        embeddings: Tensor,
        mask: Tensor | None,
        precision: str,
        insertion: Insertion,
        weights: Mapping[str, Tensor],
    ) -> Tensor:
        """Return last hidden states [B, L, H] of one run, with its `weights`."""
        with self.holding(weights):
            return self._hub_model(embeddings, mask, precision, insertion)

    @contextmanager
    def holding(self, weights: Mapping[str, Tensor]) -> Iterator[None]:
        """Have these weights in the places of the model's, by their names there, as long as the context lasts."""
        before, held = [places[place] for places, place, _ in self._places], self._held
        try:
            self._held = weights
            for places, place, name in self._places:
                places[place] = weights[name]
            yield
        finally:
            self._held = held
            for (places, place, _), tensor in zip(self._places, before, strict=True):
                places[place] = tensor

    def repeat_layers(self, repeats: bool) -> None:
        """Keep no states within layers for the backward pass, which computes the layers again, or do."""
        for module in self.model.modules():
            if isinstance(module, GradientCheckpointingLayer):
                module.training = module.gradient_checkpointing = repeats
                module._gradient_checkpointing_func = self._run_again

    def _run_again(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """Call a layer, and call it again in the backward pass, with the same weights and dropout."""
        dropouts: Iterator[AbstractContextManager[object]] = iter([nullcontext(), self._hub_model.drop_again()])
        weights = self._held

        def call(*again: Any) -> Any:
            with self.holding(weights), next(dropouts):
                return function(*again)

        return checkpoint(call, *inputs, use_reentrant=False, preserve_rng_state=False)


def _take(insertion: Insertion, run: int) -> dict[str, Tensor]:
    """Return one run's weights; of a run alone without a copy of their gradients."""
    alone = insertion.num_runs_in_layers == 1
    return {name: value.squeeze(0) if alone else value[run] for name, value in insertion.weights.items()}


def can_repeat_layers(model: nn.Module) -> bool:
    """Whether a model's layers can be computed again in the backward pass."""
    return any(isinstance(module, GradientCheckpointingLayer) for module in model.modules())
