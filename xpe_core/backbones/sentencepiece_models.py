"""Tokenizers out of a SentencePiece model alone: AfriBERTa, Glot500, mDeBERTa-v3, XLM-R and others come without a
tokenizer.json.

transformers reads such a model in two ways, by a tokenizer class and by an older converter, and neither is right for
every class: in 5.23 the class of DeBERTa-v2 forgets the model's normaliser (a full-width comma becomes unknown), and
that of RemBERT takes [CLS] for the unknown token. So what was read is compared with SentencePiece itself.
"""

import json
from pathlib import Path

from sentencepiece import SentencePieceProcessor
from transformers import AddedToken, AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import SLOW_TO_FAST_CONVERTERS, convert_slow_tokenizer

PROBES = ("abc def", "ａｂｃ", "한국 中文", "\N{NAZAR AMULET}", "x\u00a0y")
"""Texts that tell a wrong reading: of the normaliser, of unknown characters, and of spaces.

Small letters without accents or punctuation, since ALBERT's tokenizer makes all letters such before SentencePiece sees
them, and DeBERTa's may cut at punctuation.
"""


def find_model(folder: Path) -> Path | None:
    """Return the SentencePiece model that a folder's tokenizer is, None where it has a tokenizer.json or no model."""
    if (folder / "tokenizer.json").is_file():
        return None
    return next(iter(sorted(folder.glob("*.model"))), None)


def load_from_model(folder: Path, model: Path) -> PreTrainedTokenizerBase:
    """Return the first of transformers' readings of a folder's SentencePiece model that agrees with the model.

    Raises ValueError where the file is no such model or no reading agrees, else what transformers raises.
    """
    try:
        processor = SentencePieceProcessor(model_file=str(model))
    except (RuntimeError, OSError) as error:
        raise ValueError(f"{model.name} is no SentencePiece model ({error})") from error
    readings: list[str] = []
    failure: Exception | None = None
    for tokenizer_type in (None, read_model_type(folder)):  # the class that the folder names, or that of its backbone
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, tokenizer_type=tokenizer_type, trust_remote_code=False)
            if not isinstance(tokenizer, PreTrainedTokenizerFast) or agrees(tokenizer, processor):
                return tokenizer
            readings.append(type(tokenizer).__name__)
            if type(tokenizer).__name__ in SLOW_TO_FAST_CONVERTERS:
                converted = _convert(tokenizer)
                if agrees(converted, processor):
                    return converted
        except Exception as error:  # an unknown class, a model under another name than the class looks for, and more
            failure = failure or error
    if failure is not None and not readings:
        raise failure
    expected = tokenizer.vocab_files_names.get("vocab_file", model.name)
    if expected != model.name and not (folder / expected).is_file():
        raise ValueError(f"{readings[-1]} reads {expected}, and there is {model.name} instead: give it that name")
    raise ValueError(
        f"{readings[-1]} cuts texts otherwise than SentencePiece itself does with {model.name}; "
        "a tokenizer.json beside it, as a fast tokenizer's save_pretrained writes it, would be read instead"
    )


def read_model_type(folder: Path) -> str | None:
    """Return the kind of backbone that a folder's config.json names."""
    model_type: str | None = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    return model_type


def agrees(tokenizer: PreTrainedTokenizerFast, processor: SentencePieceProcessor) -> bool:
    """Whether a tokenizer gives the pieces that SentencePiece gives; ids may be counted otherwise."""
    for text in PROBES:
        expected = [
            tokenizer.unk_token if processor.is_unknown(token_id) else processor.id_to_piece(token_id)
            for token_id in processor.encode(text)
        ]
        if tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False)["input_ids"]) != expected:
            return False
    return True


def _convert(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """Return a tokenizer made by transformers' older converter, with the same special and added tokens."""
    backend = convert_slow_tokenizer(tokenizer)
    size = backend.get_vocab_size()
    added = sorted((token_id, token) for token_id, token in tokenizer.added_tokens_decoder.items() if token_id >= size)
    backend.add_tokens([AddedToken(str(token), special=token.special) for _, token in added])
    names = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
    special = {name: token for name, token in tokenizer.special_tokens_map.items() if name in names}
    length = {"model_max_length": tokenizer.model_max_length, "model_input_names": tokenizer.model_input_names}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special, **length)
