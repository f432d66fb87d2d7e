"""Backbones whose only vocabulary is a SentencePiece model, in the layouts that the hub has."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sentencepiece

SENTENCES = (
    "the bank raised its prices, and the market fell",
    "the team won the league on sunday",
    "bankin ya kara farashi, kasuwa ta fadi",
    "银行提高了价格, 市场下跌",
    "abc abd abe bcd cde def efg fgh",
)
ON_HUB = {"pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1, "control_symbols": ["[CLS]", "[SEP]"]}
"""Trained as ALBERT's and RemBERT's models are."""


def same(piece: int) -> int:
    return piece


@dataclass(frozen=True)
class Layout:
    """Where a kind of backbone has its SentencePiece model, and how its token ids follow from the model's."""

    model_type: str
    file: str
    tokenizer_class: str | None
    inserted: tuple[list[str], list[str]]
    """Tokens before and after every text."""
    training: dict[str, Any] = field(default_factory=dict)
    to_token_id: Callable[[int], int] = same
    """Of a piece that is known."""
    unknown: int = 0


BERT = (["[CLS]"], ["[SEP]"])
XLMR = (["<s>"], ["</s>"])
DEBERTA: dict[str, Any] = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3}
DEBERTA |= {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"}
LAYOUTS = {
    "XLM-R": Layout("xlm-roberta", "sentencepiece.bpe.model", None, XLMR, {}, lambda piece: piece + 1, 3),
    "AfriBERTa": Layout(
        "xlm-roberta", "sentencepiece.bpe.model", "XLMRobertaTokenizer", XLMR, {}, lambda piece: piece + 1, 3
    ),
    "unknown class": Layout(
        "xlm-roberta", "sentencepiece.bpe.model", "OwnTokenizer", XLMR, {}, lambda piece: piece + 1, 3
    ),
    "mDeBERTa-v3": Layout("deberta-v2", "spm.model", None, BERT, DEBERTA, same, 3),
    "DeBERTa-v2": Layout("deberta-v2", "spm.model", "DebertaV2Tokenizer", BERT, DEBERTA, same, 3),
    "ALBERT": Layout("albert", "spiece.model", "AlbertTokenizer", BERT, ON_HUB, same, 1),
    "RemBERT": Layout("rembert", "sentencepiece.model", "RemBertTokenizer", BERT, ON_HUB, same, 1),
    "CamemBERT": Layout(
        "camembert", "sentencepiece.bpe.model", "CamembertTokenizer", XLMR, {}, lambda piece: piece + 4, 3
    ),
    "T5's vocabulary": Layout(
        "bert", "spiece.model", "T5Tokenizer", ([], ["</s>"]), {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
    ),
}


def train_sentencepiece(file: Path, **settings: Any) -> None:
    """Train a unigram model on a few sentences."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 4),
        model_writer=model,
        vocab_size=120,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
        **settings,
    )
    file.write_bytes(model.getvalue())


def write_layout(folder: Path, layout: Layout) -> Path:
    """Write the tokenizer of a backbone, and a config.json, without weights."""
    folder.mkdir(parents=True, exist_ok=True)
    train_sentencepiece(folder / layout.file, **layout.training)
    (folder / "config.json").write_text(json.dumps({"model_type": layout.model_type, "vocab_size": 200}))
    if layout.tokenizer_class is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": layout.tokenizer_class}))
    (folder / "model.safetensors").write_bytes(b"")
    return folder
