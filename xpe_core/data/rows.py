"""One table file of any format as a stream of rows, each with its number and all its columns as text."""

from collections.abc import Callable
from pathlib import Path

from xpe_core.data.columnar import open_arrow, open_parquet
from xpe_core.data.delimited import open_csv, open_lines, open_tsv
from xpe_core.data.json_rows import open_json, open_json_lines
from xpe_core.data.opening import check_kind
from xpe_core.data.table import Table


def open_rows(path: Path) -> Table:
    """Open a table file: .tsv, .csv, .jsonl, .json, .parquet, .arrow or .txt, also compressed.

    A .txt file has one text a line, in the column `text`. InputError where it cannot be opened or is of another kind.
    """
    openers: dict[str, Callable[[Path], Table]] = {
        **{"tsv": open_tsv, "csv": open_csv, "txt": open_lines},
        **{"json": open_json, "jsonl": open_json_lines, "parquet": open_parquet, "arrow": open_arrow},
    }
    return openers[check_kind(path)](path)
