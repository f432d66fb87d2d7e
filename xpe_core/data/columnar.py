"""Parquet and Arrow files as rows of text."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from xpe_core.data.json_rows import to_text
from xpe_core.data.opening import COMPRESSED, open_bytes
from xpe_core.data.table import Row, Table, find_twice
from xpe_core.errors import InputError

if TYPE_CHECKING:
    import pyarrow

BATCH_ROWS = 1024


def open_parquet(path: Path) -> Table:
    """Open a Parquet file."""
    import pyarrow.parquet

    with _refused(path, "parquet"), pyarrow.parquet.ParquetFile(_uncompressed(path)) as file:
        schema = file.schema_arrow
    return _make_table(path, schema, partial(_read, path, _parquet_batches))


def open_arrow(path: Path) -> Table:
    """Open an Arrow file, or a stream in a file as `datasets` writes it."""
    with _refused(path, "arrow"), _open_ipc(path) as reader:
        schema = reader.schema
    return _make_table(path, schema, partial(_read, path, _arrow_batches))


def _make_table(path: Path, schema: "pyarrow.Schema", read: Callable[[], Iterator[Row]]) -> Table:
    names = [str(name) for name in schema.names]
    return Table(
        path,
        tuple(dict.fromkeys(names)),
        find_twice(names),
        "row",
        (),
        read,
        may_nest=True,
        class_names=_class_names(schema),
        reads_anew=any("binary" in str(field.type) for field in schema),
    )


def _class_names(schema: "pyarrow.Schema") -> dict[str, list[str]]:
    """Return the names of classes that `datasets` keeps in a file's schema, by column."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            name: feature["names"]
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
        }
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def _uncompressed(path: Path) -> Path | io.BytesIO:
    if path.suffix.lower() not in COMPRESSED:
        return path
    with open_bytes(path) as file:
        return io.BytesIO(file.read())


def _parquet_batches(path: Path) -> Iterator["pyarrow.RecordBatch"]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(_uncompressed(path)) as file:
        yield from file.iter_batches(batch_size=BATCH_ROWS)


@contextmanager
def _open_ipc(path: Path) -> Iterator["pyarrow.RecordBatchFileReader | pyarrow.RecordBatchStreamReader"]:
    import pyarrow.ipc

    source = _uncompressed(path)
    try:
        reader = pyarrow.ipc.open_file(source if isinstance(source, io.BytesIO) else pyarrow.memory_map(str(path)))
    except pyarrow.ArrowInvalid:
        source = _uncompressed(path)
        reader = pyarrow.ipc.open_stream(source if isinstance(source, io.BytesIO) else pyarrow.memory_map(str(path)))
    with reader:
        yield reader


def _arrow_batches(path: Path) -> Iterator["pyarrow.RecordBatch"]:
    with _open_ipc(path) as reader:
        if hasattr(reader, "num_record_batches"):
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number)
        else:
            yield from reader


def _read(path: Path, read_batches: Callable[[Path], Iterator["pyarrow.RecordBatch"]]) -> Iterator[Row]:
    number = 0
    with _refused(path, path.suffix.lower()[1:]):
        for batch in read_batches(path):
            names = batch.schema.names
            others = [name for name, kind in zip(names, batch.schema.types, strict=True) if not _is_text(kind)]
            columns = [column.to_pylist() for column in batch.columns]
            for cells in zip(*columns, strict=True):
                number += 1
                values = dict(zip(names, cells, strict=True))
                try:
                    for name in others:
                        values[name] = to_text(values[name])
                except UnicodeDecodeError as error:
                    yield Row(number, {}, f"the byte 0x{error.object[error.start]:02x} is no UTF-8")
                    continue
                yield Row(number, values)


def _is_text(kind: "pyarrow.DataType") -> bool:
    import pyarrow.types

    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind))


@contextmanager
def _refused(path: Path, kind: str) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = (str(error).splitlines() or ["it is damaged"])[0]
        raise InputError(f"{path}: cannot be read as {kind}: {reason}") from None
