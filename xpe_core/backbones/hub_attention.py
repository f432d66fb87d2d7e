"""Attention of the models of transformers, with what an insertion puts before a layer's keys and values.

A function of ours stands in the place of `sdpa`, for masks too: for a name that it does not know, transformers makes
no mask at all. It computes what `sdpa` does where nothing is inserted. Layers are told apart by the order of their
calls, since models that share weights between layers have one module for all. Passes run in several threads, so what a
pass inserts is kept for each thread by itself.

S sequences, A attention heads, L tokens, P inserted keys, D head size, N = A * D.
"""

import inspect
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from xpe_core.backbones.changed_layer import put_before
from xpe_core.backbones.insertion import NOTHING, Insertion, KeysValues

NAME = "keys_values_before"
"""What the function is called among those of transformers."""


@dataclass
class _Pass:
    """A pass through a model's layers: what is inserted, and what was seen."""

    insertion: Insertion = NOTHING
    num_calls: int = 0
    """Layers that have attended so far."""
    seen: list[KeysValues] | None = None
    """The layers' own keys and values, where they are asked for."""


@dataclass
class _Passes(threading.local):
    """The pass of this thread; None outside of one."""

    current: _Pass | None = field(default=None)


_PASSES = _Passes()


def takes_keys(model: PreTrainedModel) -> bool:
    """Whether keys and values can be put into this model's layers, which computes attention in transformers' way."""
    is_sdpa = model.config._attn_implementation in (NAME, "sdpa")
    return is_sdpa and model._supports_attention_backend and "position_ids" in _list_arguments(model)


def takes_past(model: PreTrainedModel) -> bool:
    """Whether this model's own class can be given keys and values, as peft does."""
    return "past_key_values" in _list_arguments(model)


def count_keys(model: PreTrainedModel) -> list[int]:
    """Return N of every layer of a model that `takes_keys`."""
    config = model.config
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads: int = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return [heads * head_size] * config.num_hidden_layers


@contextmanager
def inserting(model: PreTrainedModel, insertion: Insertion) -> Iterator[None]:
    """Put the keys and values of an insertion into one pass of the model, in this thread."""
    with _passing(_Pass(insertion)) as current:
        yield
    if insertion.keys_values and current.num_calls != model.config.num_hidden_layers:
        raise RuntimeError(f"{type(model).__name__} attended {current.num_calls} times: keys are not where they belong")


def read_keys(model: PreTrainedModel, embeddings: Tensor) -> list[KeysValues]:
    """Return the keys and values of every layer, for embeddings [1, L, H]: each [1, L, N]."""
    seen: list[KeysValues] = []
    with _passing(_Pass(seen=seen)), torch.no_grad():
        model(inputs_embeds=embeddings)
    return seen


def use_attention(model: PreTrainedModel) -> None:
    """Let a model that `takes_keys` compute its attention here."""
    model.set_attn_implementation(NAME)


@contextmanager
def _passing(current: _Pass) -> Iterator[_Pass]:
    _PASSES.current = current
    try:
        yield current
    finally:
        _PASSES.current = None


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **arguments: object,
) -> tuple[Tensor, None]:
    """Return [S, L, A, D]; arguments and result are those of transformers' own functions."""
    if (current := _PASSES.current) is not None:
        layer, current.num_calls = current.num_calls, current.num_calls + 1
        if current.seen is not None:
            current.seen.append(KeysValues(*(part.transpose(1, 2).flatten(2) for part in (key, value))))
        if keys_values := current.insertion.keys_values.get(layer):
            key, value, attention_mask = put_before(key, value, attention_mask, keys_values)
    output: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **arguments)
    return output


def _list_arguments(model: PreTrainedModel) -> set[str]:
    return set(inspect.signature(model.forward).parameters)


AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
