"""Frozen encoders: from the hub, from a folder, or the bundled `e5-small`.

A backbone gives last hidden states and nothing above them: a pooler is dropped, since transformers fills
one that is missing with random numbers without a word. For the same reason a backbone that lacks any other weight is
refused.

N sequences, T text tokens, L tokens of prompt and text, H hidden size.
"""

import hashlib
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from xpe_core.backbones.embeddings import check_embeddings, embed_tokens
from xpe_core.backbones.files import find_folder, first_line, silence_libraries
from xpe_core.backbones.frozen_encoder import FrozenEncoder, can_encode
from xpe_core.backbones.hub_attention import count_keys, read_keys, takes_keys, takes_past, use_attention
from xpe_core.backbones.hub_dropout import reaches_dropout
from xpe_core.backbones.hub_model import HubModel
from xpe_core.backbones.insertion import NOTHING, Insertion, KeysValues
from xpe_core.backbones.own_weights import OwnWeights, can_repeat_layers
from xpe_core.backbones.sentencepiece_models import find_model, load_from_model
from xpe_core.backbones.shape import Shape, find_first_position, find_linears, find_position_embeddings, measure_linears
from xpe_core.errors import InputError
from xpe_core.steps import long_step

POOLER = "pooler."
"""How the names of weights begin that are not used."""


class Backbone(nn.Module):
    """A frozen encoder: no weight has a gradient, and it drops what an insertion says, whatever mode is asked for."""

    def __init__(self, name: str, model: PreTrainedModel) -> None:
        """Freeze `model` in place and drop its pooler."""
        super().__init__()
        self.name = name
        self.model = model.requires_grad_(False)
        if isinstance(getattr(model, "pooler", None), nn.Module):
            self.model.pooler = None
        self.shape = measure(name, model)
        self._own_weights = OwnWeights(model)
        self._encoders: dict[str, FrozenEncoder] = {}
        if self.shape.keys:
            use_attention(model)
        self._hub_model = None if can_encode(model) else HubModel(model)
        self.eval()

    @cached_property
    def weights_fingerprint(self) -> str:
        """16 hex digits of the weights: of each tensor its name, its shape and a sample of its numbers.

        The same for a copy in another folder or on the hub, whatever the format of its files.
        """
        sha = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            sample = value if value.ndim < 2 else value[:: max(1, len(value) // 8)]
            sha.update(f"{name} {tuple(value.shape)}".encode())
            sha.update(sample.float().flatten()[: 8 * 1024].cpu().numpy().tobytes())
        return sha.hexdigest()[:16]

    def embed(self, token_ids: Tensor, token_types: Tensor | None = None, insertion: Insertion = NOTHING) -> Tensor:
        """Return the word embeddings [N, T, H] of token ids [N, T], without positions: what `forward` takes.

        `token_types` [N, T] say which text of a pair a token is of. `forward` takes all positions for the first text's,
        so what the others' embeddings have more is added here; virtual tokens are the first text's, as in peft.
        """
        if insertion.weights:
            return self._own_weights.embed(token_ids, token_types, insertion)
        return embed_tokens(self.model, token_ids, token_types)

    def read_keys(self, token_ids: Tensor) -> list[KeysValues]:
        """Return the keys and values of a text's token ids [1, T] in every layer: each [1, T, N]."""
        return read_keys(self.model, self.embed(token_ids))

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.shape.hidden_size

    @property
    def max_positions(self) -> int:
        """Most tokens of prompt and text together."""
        return self.shape.max_positions

    def forward(
        self,
        embeddings: Tensor,
        attention_mask: Tensor | None,
        precision: str = "float32",
        only_first: bool = False,
        insertion: Insertion = NOTHING,
    ) -> Tensor:
        """Return last hidden states [N, L, H] of embeddings [N, L, H] and mask [N, L] (None where nothing is padding).

        With `only_first`, those at the first position alone: [N, 1, H]. Positions count from the first row on through
        prompt and text, so padding belongs at the end. In precision `bfloat16` matrix products and what passes between
        them are of that type. Of `insertion`, what is for the layers is put in here; its tokens are in the embeddings.
        """
        if (num_positions := embeddings.shape[1] + insertion.num_positions) > self.max_positions:
            raise InputError(
                f"{num_positions} tokens of prompt and text are too many for backbone {self.name}, "
                f"which has {self.max_positions} positions"
            )
        if insertion.weights:
            hidden = self._own_weights(embeddings, attention_mask, precision, insertion)
            return hidden[:, :1] if only_first else hidden
        if self._hub_model is not None:
            hidden = self._hub_model(embeddings, attention_mask, precision, insertion)
            return hidden[:, :1] if only_first else hidden
        self.prepare(precision)
        return self._encoders[precision](embeddings, attention_mask, only_first, insertion)

    def prepare(self, precision: str) -> None:
        """Cast the layers' weights to a precision, if that has not been done: the first `forward` would."""
        if precision not in self._encoders and self._hub_model is None:
            self._encoders[precision] = FrozenEncoder(self.model, getattr(torch, precision))

    def train(self, mode: bool = True) -> "Backbone":
        """Stay in evaluation mode, so that a surrounding module's `train()` does not switch dropout on."""
        return super().train(False)


def load_backbone(name: str, device: str | torch.device = "cpu") -> Backbone:
    """Return a backbone with float32 weights on a device; a process holds each of the last two only once.

    Raises InputError where it cannot be found, is no encoder, or lacks weights.
    """
    device = torch.device(device)
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    return _load_backbone(name, device)


@lru_cache(maxsize=4)
def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Return a backbone's tokenizer, without its weights; it is shared, so leave its settings alone."""
    folder = find_folder(name)
    try:
        with silence_libraries():
            if model := find_model(folder):
                tokenizer = load_from_model(folder, model)
            else:
                tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises plain Exception
        raise InputError(f"backbone {name}: no tokenizer can be read from {folder}: {first_line(error)}") from error
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # transformers makes one of these where it finds no vocabulary
        files = " and ".join(sorted({*tokenizer.vocab_files_names.values()} - {"tokenizer.json"}))
        raise InputError(
            f"backbone {name}: {type(tokenizer).__name__} finds no vocabulary in {folder}; "
            f"it reads tokenizer.json, or else {files}"
        )
    return tokenizer


def read_config(name: str) -> PreTrainedConfig:
    """Return a backbone's configuration as transformers reads it; InputError where it is no encoder's."""
    return _read_config(name, find_folder(name))


@lru_cache(maxsize=4)
def find_shape(name: str) -> Shape:
    """Return a backbone's sizes without loading its weights; InputError where it is no encoder."""
    config = read_config(name)
    with torch.device("meta"):
        return measure(name, AutoModel.from_config(config))


def find_module_names(name: str) -> dict[str, str]:
    """Return the names of a backbone's linear layers in transformers' class with a head, by `layer.role`."""
    with torch.device("meta"):
        model = AutoModel.from_config(read_config(name))
    return {key: module for key, (module, _) in find_linears(model).items()}


def measure(name: str, model: PreTrainedModel) -> Shape:
    """Return the sizes of a model."""
    linears, keys = measure_linears(model), count_keys(model) if takes_keys(model) else ()
    weights = {key: tuple(value.shape) for key, value in model.named_parameters() if not key.startswith(POOLER)}
    return Shape(
        name,
        model.config.hidden_size,
        count_positions(model),
        linears,
        drops=can_encode(model) or reaches_dropout(model),
        keys=tuple(linears.get(f"{layer}.key", (0, size))[1] for layer, size in enumerate(keys)),
        takes_past=takes_past(model),
        weights=weights,
        can_repeat_layers=can_repeat_layers(model),
    )


def count_embeddings(name: str) -> int | None:
    """Return how many tokens a backbone has embeddings for, None where it has none for single tokens."""
    size: int | None = read_config(name).to_dict().get("vocab_size")
    return size


def count_positions(model: PreTrainedModel) -> int:
    """Return the most tokens a model can see: 512 for XLM-R, whose 514 positions start behind that of the padding."""
    limit: int = model.config.max_position_embeddings
    first = find_first_position(model)
    return min([limit, *(table.num_embeddings - first for table in find_position_embeddings(model))])


def forget_backbones() -> None:
    """Let go of the backbones that this process has loaded: each takes its memory for as long as it is kept."""
    _load_backbone.cache_clear()


@lru_cache(maxsize=2)
def _load_backbone(name: str, device: torch.device) -> Backbone:
    folder = find_folder(name)
    config = _read_config(name, folder)
    try:
        # a pooler that is not in the files is drawn at random
        with long_step(f"Loading {name}"), silence_libraries(), torch.random.fork_rng(devices=[]):
            model, report = AutoModel.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are refused below, in one sentence
            )
    except Exception as error:  # safetensors, pickle, zipfile and transformers each raise their own
        raise InputError(f"backbone {name}: the weights in {folder} cannot be read: {first_line(error)}") from error
    mismatched = {key: shapes for key, *shapes in report["mismatched_keys"]}
    if embeddings := [key for key in mismatched if key.endswith("word_embeddings.weight")]:
        rows, asked = (shape[0] for shape in mismatched[embeddings[0]])
        raise InputError(
            f"backbone {name}: the weights in {folder} have embeddings of {rows:,} tokens, and vocab_size in its "
            f"config.json is {asked:,}: if the weights were resized, write {rows} there"
        )
    lacking = sorted(key for key in {*report["missing_keys"], *mismatched} if not key.startswith(POOLER))
    if lacking:
        raise InputError(
            f"backbone {name}: the weights in {folder} lack {len(lacking)} tensors that its config.json asks for, "
            f"or have them in another shape: {', '.join(lacking[:3])}{', ...' if len(lacking) > 3 else ''}"
        )
    check_embeddings(name, model)
    return Backbone(name, model).to(device)


def _read_config(name: str, folder: Path) -> PreTrainedConfig:
    """Read config.json, and refuse what is not a bidirectional encoder of text."""
    try:
        with silence_libraries():
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # broken JSON, a wrong type, an unknown model type, or one that wants its own code run
        raise InputError(
            f"backbone {name}: {folder / 'config.json'} is no configuration that transformers knows: "
            f"{first_line(error)}"
        ) from error
    is_decoder = config.is_encoder_decoder or config.to_dict().get("is_decoder", False)
    has_sizes = hasattr(config, "hidden_size") and hasattr(config, "max_position_embeddings")
    if is_decoder or not has_sizes or type(config) not in MODEL_FOR_MASKED_LM_MAPPING:
        raise InputError(
            f"backbone {name}: {config.model_type!r} in {folder / 'config.json'} is no encoder; allowed are "
            "bidirectional encoders of text, such as BERT, XLM-R, DeBERTa and ModernBERT"
        )
    return config
