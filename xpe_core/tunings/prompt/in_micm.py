"""Prompts as micm-nlp, the package of XPE's authors, has them: the encoder is kept, not only what comes out of it.

`peft_type` is XPE; in adapters of the paper's time it is P_TUNING with an `encoder_ratio`. The tensors of the prompt,
E standing for `prompt_encoder.`, and our names for them (in DUAL behind `prompt.soft.` and `prompt.encoded.`):

    E embedding.weight        prompt.embedding.weight, the directly trained tokens
    E xpe_embedding.weight    prompt.embedding.weight, what goes into the encoder
    E xpe_head.*              prompt.encoder.*: MLP `0`, `3`, ...; LSTM `lstm`, `mlp.0`, `mlp.3`;
                              ATTN `0.self_attn`, `0.layernorm`, `0.out_proj`, `1.0`, `1.3`; NONE has none

It makes int(tokens x ratio) tokens come from the encoder, we make 29 of 100 x 0.29 where floating point falls short of
it: what is read has the ratio of its tensors, and what is written one that gives as many there.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from xpe_core.errors import InputError
from xpe_core.fields import FieldValue, FieldValues
from xpe_core.json_types import JsonObject
from xpe_core.tunings.peft_format import PeftSettings
from xpe_core.tunings.prompt.config import PromptConfig
from xpe_core.tunings.prompt.in_peft import LARGEST
from xpe_core.validation import build_config

if TYPE_CHECKING:
    from xpe_core.config import RunConfig

TYPE = "XPE"
"""The `peft_type` of its adapters."""
ENCODER_TYPES = {"MLP": "mlp", "LSTM": "lstm", "ATTN": "attention", "NONE": "none"}
SOFT = "prompt_encoder.embedding.weight"
ENCODED = "prompt_encoder.xpe_embedding.weight"
ENCODER = "prompt_encoder.xpe_head."
PARTS = ("weight", "bias")
TABLE = "prompt_embeddings"
"""The same prompt once more, as peft saves it; some adapters of the paper's time have it too."""
README = """\
# A prompt for {base}

{num_tokens} virtual tokens ({method}) and a classification head for the frozen encoder `{base}`; made by xpe-sweep, in
the format of micm-nlp. {answers}

```bash
pip install torch transformers micm-nlp
```
{base_note}
Then, in this folder:

```python
import torch
from micm_nlp.models.xpe import load_xpe_pretrained
from transformers import AutoModelForSequenceClassification

base = {base_literal}
{names}model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(names)).float()
model = load_xpe_pretrained(model, ".").eval()
{tokenize}
with torch.inference_mode():
    output = model(**batch)
{whole}
{show}
```
"""


class MicmSettings(PeftSettings):
    """The keys of `adapter_config.json` that decide a prompt of micm-nlp; the defaults are its own."""

    num_virtual_tokens: int = Field(ge=1, le=LARGEST)
    token_dim: int | None = Field(None, ge=1, le=LARGEST)
    """Of the virtual tokens; null is that of the tensors."""

    task_type: Literal["SEQ_CLS"]
    encoder_ratio: float = Field(0.7, ge=0, le=1)
    """Of all digits, since micm-nlp cuts off its product with the tokens."""
    encoder_reparameterization_type: Literal["MLP", "LSTM", "ATTN", "NONE"] = "MLP"
    encoder_hidden_size: int | None = Field(None, ge=1, le=LARGEST)
    encoder_num_layers: int = Field(2, ge=0, le=LARGEST)
    encoder_dropout: float = Field(0.0, ge=0, le=1)
    encoder_input_size: int | None = Field(None, ge=0, le=LARGEST)
    encoder_num_heads: int = Field(8, ge=1, le=LARGEST)


def is_micm(values: Mapping[str, object]) -> bool:
    """Whether the content of an `adapter_config.json` is of an adapter of micm-nlp."""
    return values.get("peft_type") == TYPE or (values.get("peft_type") == "P_TUNING" and "encoder_ratio" in values)


def take_prompt(config: "RunConfig") -> PromptConfig:
    """Return the fields of a run's prompt; InputError where it has none."""
    if not isinstance(config.tuning, PromptConfig):
        raise InputError(f"tuning={config.tuning.tuning}: micm-nlp has prompts only")
    return config.tuning


def write_settings(config: PromptConfig, hidden_size: int) -> JsonObject:
    """Return what micm-nlp's settings say of a prompt; InputError where it has no such prompt."""
    input_size = config.encoder_input_size or hidden_size
    if config.method == "dual" and input_size != hidden_size:
        raise InputError(
            f"encoder_input_size={input_size}: with DUAL, micm-nlp has directly trained tokens of that size too, "
            f"which must then be the backbone's, {hidden_size}"
        )
    names = {ours: theirs for theirs, ours in ENCODER_TYPES.items()}
    return {
        "num_virtual_tokens": config.num_virtual_tokens,
        "token_dim": hidden_size,
        "num_transformer_submodules": 1,
        "encoder_ratio": find_ratio(config),
        "encoder_reparameterization_type": names[config.encoder_type],
        "encoder_hidden_size": config.encoder_hidden_size,
        "encoder_num_layers": config.encoder_num_layers,
        "encoder_dropout": config.encoder_dropout,
        "encoder_input_size": config.encoder_input_size if config.method == "xpe" else None,
        "encoder_num_heads": config.encoder_num_heads,
    }


def find_ratio(config: PromptConfig) -> float:
    """Return a ratio with which micm-nlp has as many tokens come from the encoder as we do."""
    tokens, encoded, ratio = config.num_virtual_tokens, config.num_encoder_tokens, config.encoder_ratio
    if config.method == "dual" and _count_encoded(tokens, ratio) != encoded:
        ratio = encoded / tokens
        while _count_encoded(tokens, ratio) < encoded:
            ratio = math.nextafter(ratio, 1)
    return ratio


def read_fields(settings: MicmSettings, hidden_size: int, where: str) -> FieldValues:
    """Return what the settings say of the prompt; InputError that names `where`."""
    tokens, ratio = settings.num_virtual_tokens, settings.encoder_ratio
    fields: dict[str, FieldValue] = {"num_virtual_tokens": tokens, "encoder_ratio": ratio}
    fields |= _find_encoder(settings, hidden_size) if ratio else {}
    prompt = build_config(PromptConfig, fields, where)
    if 0 < ratio < 1 and prompt.num_encoder_tokens != _count_encoded(tokens, ratio):
        fields["encoder_ratio"] = _count_encoded(tokens, ratio) / tokens
    return fields


def _find_encoder(settings: MicmSettings, hidden_size: int) -> dict[str, FieldValue]:
    """Return the fields that decide the encoder; what its type does not read is left out."""
    encoder_type = ENCODER_TYPES[settings.encoder_reparameterization_type]
    values: dict[str, FieldValue] = {"encoder_type": encoder_type}
    if settings.encoder_input_size:
        values["encoder_input_size"] = settings.encoder_input_size
    if encoder_type != "none":
        values["encoder_hidden_size"] = settings.encoder_hidden_size or hidden_size
        values["encoder_dropout"] = settings.encoder_dropout
    if encoder_type == "attention":
        values["encoder_num_heads"] = settings.encoder_num_heads
    if encoder_type == "mlp":
        values["encoder_num_layers"] = max(settings.encoder_num_layers, 1)  # of 0, micm-nlp makes 1
    if encoder_type == "lstm":
        values["encoder_num_layers"] = settings.encoder_num_layers
    return values


def _count_encoded(num_tokens: int, ratio: float) -> int:
    """Return how many tokens of a DUAL prompt come from the encoder in micm-nlp."""
    return max(1, min(num_tokens - 1, int(num_tokens * ratio)))


def name_prompt(config: PromptConfig) -> dict[str, str]:
    """Return the names of a prompt's tensors in micm-nlp by ours."""
    if config.method == "spt":
        return {"prompt.embedding.weight": SOFT}
    prefix = "prompt." if config.method == "xpe" else "prompt.encoded."
    names = {"prompt.soft.embedding.weight": SOFT} if config.method == "dual" else {}
    names[f"{prefix}embedding.weight"] = ENCODED
    return names | {f"{prefix}encoder.{ours}": ENCODER + theirs for ours, theirs in _name_encoder(config).items()}


def _name_encoder(config: PromptConfig) -> dict[str, str]:
    """Return the names of an encoder's tensors in micm-nlp's `xpe_head` by those in our module."""
    layers: dict[str, str] = {}
    tensors: dict[str, str] = {}
    if config.encoder_type == "mlp":
        layers = {f"layers.{layer}": f"{3 * layer}" for layer in range(config.encoder_num_layers)}
        layers["out"] = f"{3 * config.encoder_num_layers}"
    elif config.encoder_type == "lstm":
        layers = {"dense": "mlp.0", "out": "mlp.3"}
        for layer in range(config.encoder_num_layers):
            for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                for name in (f"lstm.{part}_l{layer}", f"lstm.{part}_l{layer}_reverse"):
                    tensors[name] = name
    elif config.encoder_type == "attention":
        tensors = {f"attention.in_proj_{part}": f"0.self_attn.in_proj_{part}" for part in PARTS}
        layers = {"attention.out_proj": "0.self_attn.out_proj", "norm": "0.layernorm", "projection": "0.out_proj"}
        layers |= {"dense": "1.0", "out": "1.3"}
    return tensors | {f"{ours}.{part}": f"{theirs}.{part}" for ours, theirs in layers.items() for part in PARTS}


def name_modules(config: PromptConfig) -> list[str]:
    """Return the parts of a prompt that micm-nlp saves."""
    return {"spt": ["embedding"], "xpe": ["xpe_embedding", "xpe_head"]}.get(
        config.method, ["embedding", "xpe_embedding", "xpe_head"]
    )
