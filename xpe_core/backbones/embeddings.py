"""What a model's layers start from: embeddings of tokens, and of the texts of a pair."""

from torch import Tensor, nn
from transformers import PreTrainedModel


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
