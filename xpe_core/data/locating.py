"""Where a data set lies: a folder, a file, a pattern of files, or the hub, told apart by the name alone."""

import glob
import re
from pathlib import Path

from xpe_core.data.files import Files, find_files, find_pattern
from xpe_core.data.hub import choose_configs, find_configs, find_on_hub
from xpe_core.data.opening import ALLOWED, KINDS, WAYS, strip_suffixes
from xpe_core.data.source import DataSource
from xpe_core.errors import InputError


def find_sources(source: DataSource) -> Files:
    """Return a data set's files, fetched from the hub (or out of its cache) where they have to be.

    InputError where there are none.
    """
    name = source.name
    path = Path(name).expanduser()
    if path.is_dir():
        return find_configs(path, source) or choose_configs(find_files(path, name), source)
    if path.is_file():
        return _refuse_config(find_files(path, name), source)
    if glob.has_magic(name):
        return _refuse_config(find_pattern(name), source)
    is_table = strip_suffixes(name) != name or path.suffix.lower() in (*KINDS, *WAYS)
    if hub := re.fullmatch(r"(?:https?://huggingface\.co/datasets/|hf://(?:datasets/)?)([^/@]+/[^/@]+).*", name):
        raise InputError(f"dataset {name!r} is an address; write the data set's name on the hub: {hub[1]}")
    if is_table or name.startswith((".", "/", "~")) or name.count("/") != 1 or name != name.strip():
        raise InputError(
            f"dataset {name!r} is neither a folder nor a file here; allowed are 'cldr', a hub name such as "
            f"'Davlan/sib200', a folder <language>/train.tsv, a pattern such as 'data/*.csv', or one file ({ALLOWED})"
        )
    return find_on_hub(source)


def _refuse_config(files: Files, source: DataSource) -> Files:
    if source.config is not None:
        raise InputError(
            f"dataset_config={source.config!r} belongs to a data set of the hub, and {source.name} is none"
        )
    return files
