"""Any model of transformers as a frozen backbone: its own forward pass, with deltas at its linear layers.

Deltas are put in by hooks on the linear layers of the blocks, which are found by role. Passes run in several threads,
so what a pass adds is kept for each thread by itself.

S = R * B sequences, L tokens, H hidden size.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from xpe_core.backbones.changed_layer import change_linear
from xpe_core.backbones.hub_attention import inserting
from xpe_core.backbones.hub_dropout import HubDropout, make_places
from xpe_core.backbones.insertion import NOTHING, Insertion
from xpe_core.backbones.shape import find_first_position, find_linears


class HubModel:
    """A model's hidden states, computed by its own code."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Put a hook on every linear layer that has a role."""
        make_places(model)
        self._model = model
        self._pass = threading.local()
        for name, (_, linear) in find_linears(model).items():
            linear.register_forward_hook(self._make_hook(name))

    def __call__(self, embeddings: Tensor, mask: Tensor | None, precision: str, insertion: Insertion) -> Tensor:
        """Return last hidden states [S, L, H] of embeddings [S, L, H]; mask is [S, L], or None without padding.

        With deltas or dropout, each run has a pass of its own: a model may use a linear layer for more than the texts,
        as DeBERTa does for its relative positions.
        """
        num_runs = insertion.num_runs_in_layers
        if num_runs == 1 or not (insertion.deltas or insertion.dropout):
            return self._run(embeddings, mask, precision, insertion)
        masks = [None] * num_runs if mask is None else mask.chunk(num_runs)
        return torch.cat(
            [
                self._run(part, own_mask, precision, insertion.take_layers(run))
                for run, (part, own_mask) in enumerate(zip(embeddings.chunk(num_runs), masks, strict=True))
            ]
        )

    def _run(self, embeddings: Tensor, mask: Tensor | None, precision: str, insertion: Insertion) -> Tensor:
        mixed = torch.autocast(embeddings.device.type, torch.bfloat16, enabled=precision == "bfloat16")
        dropout = None if insertion.dropout is None else HubDropout(insertion.dropout)
        self._pass.insertion, self._pass.dropout, self._pass.shape = insertion, dropout, embeddings.shape[:2]
        try:
            with mixed, dropout or nullcontext(), inserting(self._model, insertion):
                hidden: Tensor = self._model(
                    inputs_embeds=embeddings, attention_mask=mask, **self._move(embeddings, insertion.num_positions)
                ).last_hidden_state
        finally:
            self._pass.insertion, self._pass.dropout = NOTHING, None
        return hidden

    def _move(self, embeddings: Tensor, num_positions: int) -> dict[str, Tensor]:
        """Return the positions of a text [1, L] that stands behind others, by the name of the model's argument."""
        if num_positions == 0:
            return {}
        first = find_first_position(self._model) + num_positions
        return {"position_ids": torch.arange(first, first + embeddings.shape[1], device=embeddings.device)[None]}

    def drop_again(self) -> AbstractContextManager[object]:
        """Return a context in which is dropped, once more, what this thread's pass drops from here on."""
        dropout: HubDropout | None = self._pass.dropout
        return nullcontext() if dropout is None else dropout.from_here()

    def _make_hook(self, name: str) -> Callable[..., Tensor | None]:
        def change(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            delta = getattr(self._pass, "insertion", NOTHING).deltas.get(name)
            if delta is None:
                return None
            weight = module.get_parameter("weight").to(output.dtype)
            if delta.dropout is not None and not _are_texts(inputs[0], self._pass.shape):
                delta = replace(delta, dropout=None)
            return change_linear(output, inputs[0].to(output.dtype), weight, delta)

        return change


def _are_texts(inputs: Tensor, shape: torch.Size) -> bool:
    """Whether a linear layer's inputs are the texts of a pass of this shape [S, L].

    DeBERTa's relative positions [1, K, H] go through the same layers. Where K is L, they are known as a view of their
    table [K, H].
    """
    table = inputs._base
    return inputs.shape[:2] == shape and not (len(inputs) == 1 and table is not None and table.ndim == 2)
