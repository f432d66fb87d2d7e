"""Tiny real encoders, and their files on disk."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertModel,
    DebertaV2Config,
    DebertaV2Model,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaModel,
)

WORDS = ["<s>", "<pad>", "</s>", "<unk>", *"abcdefgh"]
SIZES = {"vocab_size": 20, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}


def build_xlmr() -> PreTrainedModel:
    return XLMRobertaModel(XLMRobertaConfig(**SIZES, max_position_embeddings=34, hidden_dropout_prob=0.5))


def build_bert() -> PreTrainedModel:
    return BertModel(BertConfig(**SIZES, max_position_embeddings=32, pad_token_id=1))


def build_deberta(position_biased_input: bool) -> PreTrainedModel:
    """Build a DeBERTa-v2, as mDeBERTa-v3 without absolute positions in its input."""
    config = DebertaV2Config(
        **SIZES,
        max_position_embeddings=32,
        relative_attention=True,
        position_buckets=8,
        pos_att_type=["p2c", "c2p"],
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        position_biased_input=position_biased_input,
        pad_token_id=1,
    )
    return DebertaV2Model(config)


def build_modernbert() -> PreTrainedModel:
    """Build a ModernBERT of three layers, of which two see a window of two tokens to either side."""
    config = ModernBertConfig(
        **{**SIZES, "num_hidden_layers": 3},
        max_position_embeddings=32,
        local_attention=4,
        global_attn_every_n_layers=3,
        pad_token_id=1,
        **dict.fromkeys(("bos_token_id", "cls_token_id"), 0),
        **dict.fromkeys(("eos_token_id", "sep_token_id"), 2),
    )
    return ModernBertModel(config)


def build_relu_bert() -> PreTrainedModel:
    """Build a BERT that is computed by its own code, for its activation."""
    return BertModel(BertConfig(**SIZES, max_position_embeddings=32, pad_token_id=1, hidden_act="relu"))


ENCODERS: dict[str, Callable[[], PreTrainedModel]] = {
    "xlm-roberta": build_xlmr,
    "bert": build_bert,
    "deberta-v2": partial(build_deberta, True),
    "mdeberta-v3": partial(build_deberta, False),
}


def save_encoder(folder: Path, model: PreTrainedModel) -> str:
    """Write an encoder's files with a tokenizer of single letters and return its folder as a backbone's name."""
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>")
    fast.save_pretrained(folder)
    model.save_pretrained(folder)
    return str(folder)
