"""The README.md of a fully fine-tuned run's folder: what it is, and lines that load it without this project."""

from xpe_core.adapters.adapter import Adapter
from xpe_core.adapters.layout import name_base
from xpe_core.adapters.peft_readme import READ, name_training, quote
from xpe_core.readouts.readout import States

TEMPLATE = """\
# {base}, fine-tuned with a classification head

All weights of the encoder `{base}` were trained: {method}; made by xpe-sweep, in the format of the
library transformers.

The {num_classes} classes, in the order of the logits: {classes}.

## How to use it

{note}

```bash
pip install torch transformers
```

Then, in this folder:

```python
{code}
```

Numbers are those of float32, without dropout. `xpe_sweep.json` has the configuration of the run, and is needed by no
other tool.
"""
WHOLE_NOTE = "The head is that of transformers' own class: all is loaded into `AutoModelForSequenceClassification`."
BESIDE_NOTE = """\
**The head is not part of what transformers loads**: its class has another one. It lies beside the encoder in
`head.safetensors`, and the lines below apply it."""
WHOLE_CODE = """\
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder = "."  # this one
base = folder
model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
names = [model.config.id2label[index] for index in range(model.config.num_labels)]
{tokenize}
with torch.inference_mode():
    logits = model(**batch).logits
print([names[index] for index in logits.argmax(-1)])"""
BESIDE_CODE = """\
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

folder = "."  # this one
base = folder
names = {names}
model = AutoModel.from_pretrained(folder).eval()
head = load_file(f"{{folder}}/head.safetensors")
{tokenize}
with torch.inference_mode():
    mask = batch["attention_mask"]
    hidden = model(**batch).last_hidden_state
    {read}
    hidden = torch.tanh(pooled @ head["dense.weight"].T + head["dense.bias"])
    logits = hidden @ head["out.weight"].T + head["out.bias"]
print([names[index] for index in logits.argmax(-1)])"""


def write_readme(adapter: Adapter, tokenize: str, read: States, is_whole: bool) -> str:
    """Return the text; `is_whole` says whether the head is in the model, or in a file beside it."""
    names = f"[{', '.join(map(quote, adapter.label_names))}]"
    code = (WHOLE_CODE if is_whole else BESIDE_CODE).format(tokenize=tokenize, names=names, read=READ[read])
    return TEMPLATE.format(
        base=name_base(adapter.config.backbone),
        method=name_training(adapter),
        num_classes=len(adapter.label_names),
        classes=", ".join(f"`{name}`" for name in adapter.label_names),
        note=WHOLE_NOTE if is_whole else BESIDE_NOTE,
        code=code,
    )
