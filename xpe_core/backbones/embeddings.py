"""What a model's layers start from: embeddings of tokens, and of the texts of a pair."""

import inspect

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from xpe_core.backbones.files import first_line
from xpe_core.errors import InputError

PROBE = 6
"""Tokens that an encoder is tried with."""


def embed_tokens(model: PreTrainedModel, token_ids: Tensor, token_types: Tensor | None) -> Tensor:
    """Return the word embeddings [N, T, H] of token ids [N, T], and what types [N, T] but the first add to them."""
    words: Tensor = model.get_input_embeddings()(token_ids)
    if token_types is None or (table := find_type_embeddings(model)) is None:
        return words
    return words + (table.weight - table.weight[0])[token_types]


def find_type_embeddings(model: PreTrainedModel) -> nn.Embedding | None:
    """Return what a model adds to a token by the text of a pair that it is of; None where that is the same for all."""
    for name, module in model.named_modules():
        if name.split(".")[-1] == "token_type_embeddings" and isinstance(module, nn.Embedding):
            return module if module.num_embeddings > 1 else None
    return None


def check_embeddings(name: str, model: PreTrainedModel) -> None:
    """Refuse an encoder that cannot be given embeddings of its own hidden size, or computes something else of them."""
    kind, parameters = type(model).__name__, inspect.signature(model.forward).parameters
    if "inputs_embeds" not in parameters:
        raise InputError(f"backbone {name}: {kind} cannot be given embeddings in the place of tokens")
    size, width = model.get_input_embeddings().weight.shape
    if width != model.config.hidden_size:
        raise InputError(
            f"backbone {name}: word embeddings of size {width} under hidden states of size "
            f"{model.config.hidden_size}; the two must be equal"
        )
    padding = model.config.pad_token_id
    token_ids = torch.tensor([[number for number in range(min(size, PROBE + 1)) if number != padding][:PROBE]])
    asked = {"input_ids": token_ids}
    if "token_type_ids" in parameters and getattr(model.config, "type_vocab_size", 0) > 1:
        asked["token_type_ids"] = (torch.arange(token_ids.shape[1])[None] >= PROBE // 2).long()
    try:
        with torch.inference_mode():
            expected = model(**asked).last_hidden_state
            found = model(inputs_embeds=embed_tokens(model, token_ids, asked.get("token_type_ids"))).last_hidden_state
    except Exception as error:  # each model of transformers has its own
        raise InputError(f"backbone {name}: {kind} cannot be given embeddings: {first_line(error)}") from error
    if not torch.allclose(found, expected, atol=1e-3, rtol=1e-3):
        raise InputError(
            f"backbone {name}: {kind} computes something else of embeddings than of tokens, and virtual tokens are "
            "embeddings"
        )
