"""Texts to token ids with a backbone's tokenizer, and whether the backbone has an embedding for each of them.

Tokenizers on the hub often have more tokens than their backbone has embeddings: a mask that stands in no text does no
harm, so what is looked at is the tokens that occur.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.tokenization_utils_base import TruncationStrategy
from transformers.utils import PaddingStrategy

from xpe_core.errors import InputError

BATCH_SIZE = 1024
"""Texts at a time: about a language of SIB-200; few enough for Ctrl-C to be heard soon."""


class WindowPart(NamedTuple):
    """Which examples windows are of, and where their tokens stand in the passages."""

    owners: np.ndarray
    """int64, the example that each window is of, as a place among all."""
    starts: np.ndarray
    """int32, the place in the passage of each token's first character, -1 where it is no part of it."""
    ends: np.ndarray
    """int32, the place after its last one, likewise."""
    targets: np.ndarray
    """int64 [windows, 2], the first and the last token of the answer to learn."""


class Tokens(NamedTuple):
    """The tokens of some texts, one after another."""

    token_ids: np.ndarray
    """int32"""
    lengths: np.ndarray
    """int64, tokens of each text."""
    num_cut: int
    """Texts that were longer than allowed."""
    token_types: np.ndarray | None = None
    """uint8, which text of a pair each token is of; None where the tokenizer does not say it to the backbone."""
    windows: WindowPart | None = None
    """Where what is tokenised are windows of passages."""


def tokenise(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int, pairs: Sequence[str] | None = None
) -> Iterator[Tokens]:
    """Yield the tokens of texts, or of texts and `pairs`, in batches, cut to `max_length` with the special tokens kept.

    Of a pair the longer text is cut first, token by token, as `truncation=True` does in transformers.
    """
    is_fast = isinstance(tokenizer, PreTrainedTokenizerFast)
    for start in range(0, len(texts), BATCH_SIZE):
        rows = slice(start, start + BATCH_SIZE)
        yield (_encode_fast if is_fast else _encode)(tokenizer, texts[rows], pairs and pairs[rows], max_length)


def has_types(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer says which text of a pair a token is of, in what it makes for its backbone."""
    return "token_type_ids" in tokenizer.model_input_names


def choose_pad_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the token that fills up shorter texts; where there is none, any will do, since padding is masked."""
    choices = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    return next(choice for choice in choices if choice is not None)


def check_token_ids(name: str, tokenizer: PreTrainedTokenizerBase, largest: int, num_embeddings: int | None) -> None:
    """Raise InputError where a backbone has no embedding for the largest of its tokenizer's ids that occur."""
    if num_embeddings is None or largest < num_embeddings:
        return
    token = tokenizer.convert_ids_to_tokens(largest)
    named = "a token without a name" if token is None else f"the token {token!r}"
    raise InputError(
        f"backbone {name}: its tokenizer gives {named} (id {largest}), and the backbone has embeddings for "
        f"the ids below {num_embeddings:,} only (vocab_size in config.json); give it the tokenizer that it was trained "
        "with, or weights whose embeddings were resized to the tokenizer"
    )


def check_inserted_tokens(name: str, tokenizer: PreTrainedTokenizerBase, num_embeddings: int | None) -> None:
    """Raise InputError where a token that every text gets has no embedding."""
    inserted = [*tokenizer("")["input_ids"], choose_pad_token_id(tokenizer)]
    check_token_ids(name, tokenizer, max(inserted), num_embeddings)


def _encode_fast(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int
) -> Tokens:
    """Encode without offsets, masks and types that nobody reads.

    The model's cache of words takes no more when it is full, so it is emptied for what may be another language.
    """
    tokenizer.set_truncation_and_padding(
        padding_strategy=PaddingStrategy.DO_NOT_PAD,
        truncation_strategy=TruncationStrategy.LONGEST_FIRST,
        max_length=max_length,
        stride=0,
        pad_to_multiple_of=None,
        padding_side=None,
    )
    backend = tokenizer.backend_tokenizer
    if hasattr(backend.model, "_clear_cache"):
        backend.model._clear_cache()
    encoded = backend.encode_batch_fast(list(texts) if pairs is None else list(zip(texts, pairs, strict=True)))
    num_cut = sum(bool(encoding.overflowing) for encoding in encoded)
    types = [encoding.type_ids for encoding in encoded] if pairs is not None and has_types(tokenizer) else None
    return _join([encoding.ids for encoding in encoded], num_cut, types)


def _encode(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int
) -> Tokens:
    encoded = tokenizer(list(texts), None if pairs is None else list(pairs), truncation=True, max_length=max_length)
    rows = encoded["input_ids"]
    num_cut = sum(len(row) >= max_length for row in rows)  # a tokenizer in Python does not say which it cut
    return _join(rows, num_cut, encoded["token_type_ids"] if pairs is not None and has_types(tokenizer) else None)


def _join(rows: Sequence[Sequence[int]], num_cut: int, types: Sequence[Sequence[int]] | None) -> Tokens:
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    num_tokens = int(lengths.sum())
    token_ids = np.fromiter(chain.from_iterable(rows), dtype=np.int32, count=num_tokens)
    token_types = None if types is None else np.fromiter(chain.from_iterable(types), dtype=np.uint8, count=num_tokens)
    return Tokens(token_ids, lengths, num_cut, token_types)
