"""The README.md of a fully fine-tuned run's folder: what it is, and lines that load it without this project."""

from xpe_core.adapters.adapter import Adapter
from xpe_core.adapters.layout import name_base
from xpe_core.adapters.peft_readme import fill, indent, name_training, say_answers
from xpe_core.pack import reads
from xpe_core.readouts.model_class import ModelClass

TEMPLATE = """\
# {base}, fine-tuned with {head}

All weights of the encoder `{base}` were trained: {method}; made by xpe-sweep, in the format of the
library transformers.

{answers}

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
WHOLE_NOTE = "The head is that of transformers' own class: all is loaded into `{name}`."
BESIDE_NOTE = """\
**The head is not part of what transformers loads**: its class has another one. It lies beside the encoder in
`head.safetensors`, and the lines below apply it."""
WHOLE_CODE = """\
import torch
from transformers import {name}, AutoTokenizer

folder = "."  # this one
base = folder
{names}model = {name}.from_pretrained(folder).eval()
{tokenize}
with torch.inference_mode():
    output = model(**batch)
{whole}
{show}"""
BESIDE_CODE = """\
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

folder = "."  # this one
base = folder
{names}model = AutoModel.from_pretrained(folder).eval()
head = load_file(f"{{folder}}/head.safetensors")
{tokenize}
with torch.inference_mode():
    mask = batch["attention_mask"]
    hidden = model(**batch).last_hidden_state
    {beside}
{show}"""


def write_readme(adapter: Adapter, found: ModelClass, is_whole: bool) -> str:
    """Return the text; `is_whole` says whether the head is in the model, or in a file beside it."""
    lines = fill(adapter, found)
    if is_whole:
        code = WHOLE_CODE.format(name=found.name, **lines)
    else:
        code = BESIDE_CODE.format(beside=indent(found.lines.beside[reads(adapter.config)]), **lines)
    return TEMPLATE.format(
        base=name_base(adapter.config.backbone),
        method=name_training(adapter),
        head=found.title,
        answers=say_answers(adapter, found),
        note=(WHOLE_NOTE if is_whole else BESIDE_NOTE).format(name=found.name),
        code=code,
    )
