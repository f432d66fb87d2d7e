"""Where an adapter lies, and in which format."""

from collections.abc import Sequence
from pathlib import Path

from xpe_core.adapters.adapter import Adapter
from xpe_core.adapters.safetensors_file import read_file
from xpe_core.errors import InputError

CONFIG = "adapter_config.json"
"""What makes a folder an adapter of peft or of micm-nlp."""
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def read_adapter(source: str | Path, label_names: Sequence[str] | None = None) -> Adapter:
    """Return an adapter from a file of this project, or a folder of peft's or micm-nlp's; nothing in it is executed.

    Raises InputError where there is none, it is damaged, or it is not a prompt with a classification head.
    """
    path = Path(source).expanduser()
    if path.is_file():
        if path.suffix in PICKLED:
            raise InputError(f"adapter {source}: a pickle is never opened; adapters are read from safetensors only")
        return read_file(path)
    if not path.is_dir():
        raise InputError(f"adapter {source}: there is no such file or folder")
    if (path / CONFIG).is_file():
        raise InputError(f"adapter {source}: not yet")
    files = sorted(path.glob("*.safetensors"))
    if len(files) == 1:
        return read_file(files[0])
    if files:
        names = ", ".join(file.name for file in files[:3])
        raise InputError(f"adapter {source}: the folder holds {len(files)} adapters ({names}, ...); name one of them")
    if pickles := [file.name for file in sorted(path.iterdir()) if file.suffix in PICKLED]:
        raise InputError(f"adapter {source}: it holds only a pickle ({pickles[0]}); adapters are read from safetensors")
    raise InputError(f"adapter {source}: the folder holds neither {CONFIG} nor a .safetensors file")
