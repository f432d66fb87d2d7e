"""Pairs of texts with labels in a few languages, and tiny encoders whose tokenizers know pairs."""

import random
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from tests.making.encoders import ENCODERS

LABELS = ("contradiction", "entailment", "neutral")
LETTERS = "abcdefgh"
SIZES = {"train": 24, "dev": 9, "test": 12}
SPLITS = {"eng_Latn": ("train", "dev", "test"), "bzd_Latn": ("dev", "test"), "deu_Latn": ("test",)}
"""What each language has: training exists in English alone."""
PAIRS = [("a b c", "d"), ("d", "e f g h a b c d e f"), ("e f g h a b c d", "h h"), ("h h", "a")]


def write_pairs(folder: Path, header: str = "premise\thypothesis\tlabel") -> str:
    """Write a folder by language and return it; a hypothesis' first letter says its label."""
    for language, splits in SPLITS.items():
        (folder / language).mkdir(parents=True)
        for split in splits:
            draw = random.Random(f"{language} {split}")
            rows = [header]
            for number in range(SIZES[split]):
                label = LABELS[number % 3]
                premise = " ".join(draw.choices(LETTERS, k=draw.randint(2, 5)))
                hypothesis = " ".join([LETTERS[number % 3], *draw.choices(LETTERS[3:], k=draw.randint(1, 3))])
                rows.append(f"{premise}\t{hypothesis}\t{label}")
            (folder / language / f"{split}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return str(folder)


def make_encoder(kind: str, folder: Path, with_types: bool = True) -> str:
    """Write a tiny encoder of a kind whose outputs differ by text, and return its folder.

    `with_types`: its tokenizer says which text of a pair a token is of, as BERT's does, and XLM-R's does not.
    """
    import torch

    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model: PreTrainedModel = ENCODERS[kind]()
        for weight in model.parameters():
            if weight.ndim == 2:
                weight *= 10
        model.save_pretrained(folder)
    words = {word: number for number, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", *LETTERS])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    number = 1 if with_types else 0
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair=f"<s> $A </s> $B:{number} </s>:{number}", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = ["input_ids", *(["token_type_ids"] if with_types else []), "attention_mask"]
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=names, **special)
    fast.save_pretrained(folder)
    return str(folder)
