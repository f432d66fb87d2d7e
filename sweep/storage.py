"""A folder that may lie on this machine, on NFS, or in object storage (`s3://bucket/path`), with whole-file writes.

A file is either as it was or as it is written now, never half: on a file system by a temporary sibling and a rename, in
object storage because one PUT is.
"""

import errno
import os
import tempfile
from pathlib import Path, PurePosixPath
from typing import Union

import pyarrow as pa
from pyarrow import fs

from xpe_core.errors import InputError

Place = Union[str, Path, "Folder"]


class Folder:
    """One folder; names of files in it may have parts (`runs/part-0000.parquet`)."""

    def __init__(self, place: Place) -> None:
        """Take a path or a URI that pyarrow knows; InputError where it knows none such. Nothing is made."""
        self._system: fs.FileSystem | None
        self._root: str
        self._shown: str
        if isinstance(place, Folder):
            self._system, self._root, self._shown = place._system, place._root, place._shown
        elif isinstance(place, str) and "://" in place:
            try:
                self._system, self._root = fs.FileSystem.from_uri(place)
            except (pa.ArrowInvalid, OSError) as error:
                raise InputError(f"storage {place}: {str(error).splitlines()[0]}") from None
            self._shown = place.rstrip("/")
        else:
            self._system, self._root = None, str(Path(place))
            self._shown = self._root
        self._appended: dict[str, bytes] = {}

    def __str__(self) -> str:
        return self._shown

    def __truediv__(self, name: str) -> "Folder":
        below = Folder(self)
        below._root, below._shown = f"{self._root}/{name}", f"{self._shown}/{name}"
        return below

    @property
    def parent(self) -> "Folder":
        """The folder that it lies in."""
        above = Folder(self)
        above._root, above._shown = (text.rpartition("/")[0] or "." for text in (self._root, self._shown))
        return above

    @property
    def name(self) -> str:
        """The last part of its path."""
        return PurePosixPath(self._root).name

    @property
    def path(self) -> Path | None:
        """Its path on this machine, None in object storage."""
        return Path(self._root) if self._system is None else None

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None where there is no such file."""
        try:
            if self._system is None:
                return Path(self._root, name).read_bytes()
            with self._system.open_input_stream(f"{self._root}/{name}") as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Put a file in its place, whole; OSError where that fails, and then the old one is still there."""
        if self._system is not None:
            with self._system.open_output_stream(f"{self._root}/{name}") as stream:
                stream.write(content)
            return
        path = Path(self._root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            os.fchmod(handle, 0o644)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)

    def append(self, name: str, content: bytes) -> None:
        """Add to a file's end and wait until it is on the disk; OSError where that fails, the file is cut back then.

        Object storage knows no append: the file is kept in memory and put whole, so one writer must be the only one.
        """
        if self._system is not None:
            before = self._appended[name] if name in self._appended else self.read(name) or b""
            self.write(name, before + content)
            self._appended[name] = before + content
            return
        path = Path(self._root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            written = os.write(handle, content)
            if written < len(content):  # a disk that fills up takes a part
                os.ftruncate(handle, os.fstat(handle).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(handle)
        finally:
            os.close(handle)

    def delete(self, name: str) -> None:
        """Remove a file, or do nothing where there is none."""
        try:
            if self._system is None:
                Path(self._root, name).unlink()
            else:
                self._system.delete_file(f"{self._root}/{name}")
        except FileNotFoundError:
            pass

    def names(self, suffix: str = "") -> list[str]:
        """Return the sorted names of the folder's files with a suffix, without hidden ones."""
        if self._system is None:
            found = [entry.name for entry in Path(self._root).glob("*") if entry.is_file()]
        else:
            selector = fs.FileSelector(self._root, allow_not_found=True)
            found = [info.base_name for info in self._system.get_file_info(selector) if info.is_file]
        return sorted(name for name in found if name.endswith(suffix) and not name.startswith("."))

    def folders(self) -> list[str]:
        """Return the sorted names of the folders in it."""
        if self._system is None:
            return sorted(entry.name for entry in Path(self._root).glob("*") if entry.is_dir())
        selector = fs.FileSelector(self._root, allow_not_found=True)
        infos = self._system.get_file_info(selector)
        return sorted(info.base_name for info in infos if info.type == fs.FileType.Directory)

    def check_writable(self) -> None:
        """Raise InputError where the folder, or the first above it that exists, cannot be written."""
        if self.path is None:
            return  # the first write says so
        above = next(path for path in (self.path, *self.path.absolute().parents) if path.exists())
        if not above.is_dir() or not os.access(above, os.W_OK):
            raise InputError(
                f"storage {self} cannot be written ({above} is no writable folder); say where with --storage DIR"
            )
