"""The start of a prefix: the keys and values that the frozen backbone has for the tokens of a real text.

P virtual tokens, N numbers in a layer's keys.
"""

import torch
from torch import Tensor

from xpe_core.backbones.backbone import Backbone, load_tokenizer
from xpe_core.errors import InputError
from xpe_core.tunings.prefix.config import PARTS, PrefixConfig


def read_text(config: PrefixConfig, backbone: Backbone) -> dict[str, Tensor]:
    """Return the parameters that a prefix begins with, of all layers of the backbone, each [P, N]."""
    token_ids = tokenise(config, backbone.name)
    device = next(backbone.parameters()).device
    layers = enumerate(backbone.read_keys(token_ids.to(device)))
    return {
        f"layers.{layer}.{part}": values[0]
        for layer, read in layers
        for part, values in zip(PARTS, (read.keys, read.values), strict=True)
    }


def tokenise(config: PrefixConfig, backbone: str) -> Tensor:
    """Return the first P token ids [1, P] of the text, which is repeated where it is shorter.

    InputError where it has no token but those that stand around every text.
    """
    tokenizer, text = load_tokenizer(backbone), config.prefix_text
    around = len(tokenizer("")["input_ids"])
    if len(tokenizer(text)["input_ids"]) <= around:
        raise InputError(f"prefix_text={text!r}: the tokenizer of {backbone} finds no token in it")
    num_times = 1
    while len(ids := tokenizer(" ".join([text] * num_times))["input_ids"]) - around < config.num_virtual_tokens:
        num_times *= 2
    return torch.tensor(ids[: config.num_virtual_tokens])[None]
