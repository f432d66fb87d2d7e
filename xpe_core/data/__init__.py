"""The one reader of data: for training, testing and predicting alike.

`load_dataset` reads a data set whole, `open_rows` a single file as a stream, and `fingerprint_dataset` says what a data
set is, wherever it lies.
"""

from xpe_core.data.columns import find_text
from xpe_core.data.dataset import Dataset, load_dataset
from xpe_core.data.fingerprints import dataset_fingerprints, fingerprint_dataset
from xpe_core.data.rows import open_rows
from xpe_core.data.source import DataSource, as_source
from xpe_core.data.table import EMPTY_LINE, Nested, Row, Table

__all__ = [
    "EMPTY_LINE",
    "DataSource",
    "Dataset",
    "Nested",
    "Row",
    "Table",
    "as_source",
    "dataset_fingerprints",
    "find_text",
    "fingerprint_dataset",
    "load_dataset",
    "open_rows",
]
