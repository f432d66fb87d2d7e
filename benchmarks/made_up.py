"""A backbone of random weights and a data set of made-up words: nothing is downloaded, and the work is the real one's.

Speed and memory depend on shapes alone. The shape is that of XLM-R large, with its full embedding table. The texts are
about as long as SIB-200's in XLM-R's tokens, and stand in the 205 languages of SIB-200, in its layout.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

from xpe_core.languages import load_languages

SOURCE = ("eng_Latn", "arb_Arab", "zho_Hans")
"""The languages with training texts: `enarzho`."""
NUM_CLASSES = 7
"""SIB-200's topics."""
NUM_WORDS = 4_000
MEDIAN_WORDS, SPREAD, MOST_WORDS = 36, 0.4, 160
"""Of a text: its words are drawn from a log-normal distribution, whose spread is on the logarithm."""
SPECIAL = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}


@dataclass(frozen=True)
class Shape:
    """What decides how much a backbone computes and holds."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    vocab_size: int


LARGE = Shape(1_024, 4_096, 24, 16, 250_002)
"""XLM-R large."""
TOY = Shape(32, 64, 2, 2, NUM_WORDS + len(SPECIAL))


def write_backbone(folder: Path, shape: Shape, device: str) -> None:
    """Write the files of an XLM-R with random weights, drawn on a device, and a tokenizer of whole words."""
    vocabulary = {token: number for number, token in enumerate(SPECIAL.values())}
    vocabulary |= {f"w{number}": len(vocabulary) + number for number in range(NUM_WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", vocabulary["<s>"]), ("</s>", vocabulary["</s>"])]
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL).save_pretrained(folder)
    config = XLMRobertaConfig(
        **vars(shape),
        max_position_embeddings=514,
        type_vocab_size=1,
        bos_token_id=vocabulary["<s>"],
        pad_token_id=vocabulary["<pad>"],
        eos_token_id=vocabulary["</s>"],
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = XLMRobertaModel(config, add_pooling_layer=False)
    model.save_pretrained(folder)


def write_dataset(folder: Path, source: Sequence[str], num_train: int, num_test: int) -> tuple[str, ...]:
    """Write test texts in every language and training texts in those of `source`; return all languages."""
    generator = np.random.default_rng(0)
    languages = tuple(language.code for language in load_languages())
    for language in languages:
        sizes = {"test": num_test}
        if language in source:
            sizes |= {"train": num_train, "dev": NUM_CLASSES}
        (folder / language).mkdir(parents=True)
        for split, size in sizes.items():
            (folder / language / f"{split}.tsv").write_text(_draw_rows(generator, size), encoding="utf-8")
    return languages


def _draw_rows(generator: np.random.Generator, size: int) -> str:
    """Return a table of `size` texts with their topics, all topics equally often."""
    lengths = np.exp(generator.normal(np.log(MEDIAN_WORDS), SPREAD, size)).round().clip(4, MOST_WORDS).astype(int)
    rows = ["index_id\tcategory\ttext"]
    for number, length in enumerate(lengths):
        words = " ".join(f"w{word}" for word in generator.integers(NUM_WORDS, size=length))
        rows.append(f"{number}\ttopic{number % NUM_CLASSES}\t{words}")
    return "\n".join([*rows, ""])
