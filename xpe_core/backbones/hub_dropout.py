"""The dropout of any model of transformers, drawn from seeds instead of by torch.

A model stays in evaluation mode. While it runs, its calls of torch's dropout and of attention that may drop are taken
over, in this thread alone; their order in the model numbers the places.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from xpe_core.backbones.backbone_dropout import BackboneDropout, Place, attend_at, drop_at
from xpe_core.backbones.files import silence_libraries

DROPOUTS = (functional.dropout, torch.dropout, torch.dropout_)
"""What a model calls with numbers to be dropped, as the first argument."""


class HubDropout(TorchFunctionMode):
    """Drops within `with`, at the places where the model calls for it, whatever rate it has there."""

    def __init__(self, dropout: BackboneDropout, first: int = 0) -> None:
        """`dropout` is that of one run: a pass of the model is of one run; places count from `first`."""
        super().__init__()
        self._dropout = dropout
        self._next = first
        self.num_attentions = 0
        """Layers of attention whose weights were dropped so far."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch, or what stands in for it here."""
        named = dict(kwargs or {})
        if function in DROPOUTS:
            return self._drop(args[0] if args else named["input"])
        if function is functional.scaled_dot_product_attention:
            return self._attend(*args, **named)
        return function(*args, **named)

    def from_here(self) -> "HubDropout":
        """Return what drops, once more, what is dropped from here on."""
        return HubDropout(self._dropout, self._next)

    def _count(self) -> int:
        number, self._next = self._next, self._next + 1
        return number

    def _drop(self, inputs: Tensor) -> Tensor:
        number = self._count()
        if inputs.ndim < 3:  # no texts: DeBERTa's relative positions [L, H]
            return drop_at(self._dropout.beside_texts(number), inputs[None])[0]
        self.num_attentions += inputs.ndim == 4  # [B, A, Q, L]
        return drop_at(self._dropout.at(number), inputs)

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Return what torch's function of these arguments returns, with weights dropped; encoders are not causal."""
        place: Place = self._dropout.at(self._count())
        self.num_attentions += 1
        if enable_gqa:
            key, value = (part.repeat_interleave(query.shape[1] // part.shape[1], 1) for part in (key, value))
        bias = attn_mask
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            lowest = torch.finfo(query.dtype).min
            bias = torch.zeros(attn_mask.shape, dtype=query.dtype, device=query.device).masked_fill(~attn_mask, lowest)
        return attend_at(place, query, key, value, bias, query.shape[-1] ** -0.5 if scale is None else scale)


def make_places(model: nn.Module) -> None:
    """Put dropout where a model has an identity in its stead, since nothing is dropped there by its config."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Identity) and "drop" in name:
                setattr(module, name, nn.Dropout(0.0))


def reaches_dropout(model: PreTrainedModel) -> bool:
    """Return whether every layer's attention drops here; a model without weights that cannot be run is believed to."""
    weight = model.get_input_embeddings().weight
    seeds = torch.zeros(1, 1, dtype=torch.int32, device=weight.device)
    mode = HubDropout(BackboneDropout(0.5, seeds, seeds[0]))
    try:
        with torch.no_grad(), silence_libraries(), mode:
            model(inputs_embeds=weight[None, :2])
    except Exception:  # whatever a model's own code raises
        return bool(weight.is_meta)
    return mode.num_attentions >= int(model.config.num_hidden_layers)
