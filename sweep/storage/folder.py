"""A folder that may lie on this machine, on NFS, or in object storage (`s3://bucket/path`), with whole-file writes.

A file is either as it was or as it is written now, never half: on a file system by a temporary sibling and a rename, in
object storage because one PUT is. Whatever fails is an InputError that names the folder and what to do.
"""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Union
from urllib.request import url2pathname

import pyarrow as pa
from pyarrow import fs

from sweep.storage.file_system import TEMPORARY, append_to_file, read_file, write_file
from sweep.storage.object_storage import Bucket, connect, describe_error, is_object_storage
from sweep.storage.pieces import Pieces, last_piece, read_pieces
from xpe_core.errors import InputError

Location = Union[str, Path, "Folder"]


def split_uri(uri: str) -> tuple["Folder", str]:
    """Return the folder that a file in object storage lies in, and the file's name."""
    head, mark, query = uri.partition("?")
    above, _, name = head.rstrip("/").rpartition("/")
    return Folder(f"{above}{mark}{query}"), name


class Folder:
    """One folder; names of files in it may have parts (`runs/part-0000.parquet`)."""

    def __init__(self, location: Location) -> None:
        """Take a path or the URI of object storage; InputError where it is neither. Nothing is made."""
        self._bucket: Bucket | None = None
        self._root: str
        if isinstance(location, Folder):
            self._bucket, self._root = location._bucket, location._root
        elif str(location).startswith("file:///"):
            self._root = url2pathname(str(location).removeprefix("file://"))
        elif is_object_storage(str(location)):
            self._bucket, self._root = connect(str(location))
        elif not str(location).strip():
            raise InputError("storage is empty: name a folder, or write . for the one that you are in")
        else:
            self._root = str(_without_tilde(location))
        self._growing: dict[str, Pieces] = {}

    def __str__(self) -> str:
        return self._root if self._bucket is None else self._bucket.name(self._root)

    def __truediv__(self, name: str) -> "Folder":
        below = Folder(self)
        below._root = f"{self._root}/{name}"
        return below

    @property
    def parent(self) -> "Folder":
        """The folder that it lies in."""
        above = Folder(self)
        above._root = self._root.rpartition("/")[0] or "."
        return above

    @property
    def name(self) -> str:
        """The last part of its path."""
        return PurePosixPath(self._root).name

    @property
    def path(self) -> Path | None:
        """Its path on this machine, None in object storage."""
        return Path(self._root) if self._bucket is None else None

    def with_attempts(self, attempts: int) -> "Folder":
        """Return the same folder, whose requests are tried so often where object storage does not answer."""
        folder = Folder(self)
        folder._bucket = self._bucket and replace(self._bucket, attempts=attempts)
        return folder

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None where there is no such file."""
        with self.explain("read"), suppress(FileNotFoundError):
            if self._bucket is None:
                return read_file(Path(self._root, name))
            return _read_object(self._bucket.system, f"{self._root}/{name}")
        return None

    def write(self, name: str, content: bytes) -> None:
        """Put a file in its place, whole; where that fails, the old one is still there."""
        with self.explain("written"):
            if self._bucket is None:
                write_file(Path(self._root, name), content)
                return
            with self._bucket.system.open_output_stream(f"{self._root}/{name}") as stream:
                stream.write(content)

    def append(self, name: str, content: bytes) -> None:
        """Add to a file's end and wait until it is kept; where that fails, nothing is added.

        There must be one writer only. In object storage, and where it was copied from there, the file is in pieces.
        """
        if self._bucket is None:
            with self.explain("written"):
                append_to_file(self._grown(name), content)
            return
        if name not in self._growing:
            self._growing[name] = Pieces(*self._pieces_of(name))
        self._growing[name].append(content)

    def tidy(self, name: str) -> None:
        """Delete what `append` has left over of a file's earlier pieces; there must be one writer only."""
        if name in self._growing:
            self._growing[name].tidy()

    def read_appended(self, name: str) -> bytes:
        """Return all that was appended to a file, in whatever storage that was."""
        return (self.read(name) or b"") + read_pieces(*self._pieces_of(name))

    def mend(self, name: str) -> None:
        """Remove what a killed writer left: half a line at a file's end, and temporary files.

        Object storage holds no half files.
        """
        if self._bucket is not None:
            return
        with self.explain("written"):
            path = self._grown(name)
            if path.is_file() and (content := path.read_bytes()) and not content.endswith(b"\n"):
                os.truncate(path, content.rfind(b"\n") + 1)
            for left in Path(self._root).rglob(f".*{TEMPORARY}"):
                left.unlink(missing_ok=True)

    def delete(self, name: str) -> None:
        """Remove a file, or do nothing where there is none."""
        with self.explain("written"), suppress(FileNotFoundError):
            if self._bucket is None:
                Path(self._root, name).unlink()
            else:
                self._bucket.system.delete_file(f"{self._root}/{name}")

    def names(self, suffix: str = "") -> list[str]:
        """Return the sorted names of the folder's files with a suffix, without hidden ones."""
        return sorted(
            name
            for name, is_folder in self._entries()
            if not is_folder and name.endswith(suffix) and not name.startswith(".")
        )

    def folders(self) -> list[str]:
        """Return the sorted names of the folders in it."""
        return sorted(name for name, is_folder in self._entries() if is_folder)

    def size(self, name: str) -> int:
        """Return a file's bytes, 0 where there is none."""
        with self.explain("read"):
            if self._bucket is None:
                path = Path(self._root, name)
                return path.stat().st_size if path.exists() else 0
            return self._bucket.system.get_file_info(f"{self._root}/{name}").size or 0

    def modified(self, name: str) -> float | None:
        """Return when a file was written, by the storage's own clock (seconds since 1970), None where there is none."""
        with self.explain("read"):
            if self._bucket is None:
                path = Path(self._root, name)
                return path.stat().st_mtime if path.exists() else None
            found: float | None = self._bucket.system.get_file_info(f"{self._root}/{name}").mtime_ns
            return None if found is None else found / 1e9

    def check_writable(self) -> None:
        """Raise InputError where the folder cannot be written.

        A file system is asked about the folder, or the first one above it that exists. Object storage is tried, in the
        folder above this one, so that nothing is left here.
        """
        if self.path is None:
            above = Folder(self)
            above._root = str(PurePosixPath(self._root).parent)
            probe = f".xpe-sweep-{uuid.uuid4().hex}"
            above.write(probe, b"")
            above.delete(probe)
            return
        above_path = next(path for path in (self.path, *self.path.absolute().parents) if path.exists())
        if not above_path.is_dir() or not os.access(above_path, os.W_OK):
            reason = f"{above_path} is no writable folder"
            raise InputError(f"storage {self} cannot be written ({reason}); say where with --storage DIR")

    @contextmanager
    def explain(self, verb: str) -> Iterator[None]:
        """Turn an error of the file system into one sentence."""
        try:
            yield
        except pa.ArrowInvalid as error:  # such as a name with two slashes, given by hand
            raise InputError(f"storage {self}: {str(error).splitlines()[0]}") from None
        except OSError as error:
            if self._bucket is not None:
                raise InputError(f"storage {self}: {describe_error(error, self._bucket.server)}") from None
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                way = "make room and start the same command again, it goes on from here"
                raise InputError(f"no space left for {self}: {way}") from None
            reason = error.strerror or str(error).splitlines()[0]
            raise InputError(f"storage {self} cannot be {verb} ({reason}); say where with --storage DIR") from None

    def _entries(self) -> list[tuple[str, bool]]:
        """Return the names of what is in the folder, and whether each is a folder."""
        with self.explain("read"), suppress(FileNotFoundError):
            if self._bucket is None:
                with os.scandir(self._root) as entries:
                    return [(entry.name, entry.is_dir()) for entry in entries]
            selector = fs.FileSelector(self._root, allow_not_found=True)
            infos = self._bucket.system.get_file_info(selector)
            if not infos:
                self._check_bucket(self._bucket)
            return [(info.base_name, info.type == fs.FileType.Directory) for info in infos]
        return []

    def _check_bucket(self, bucket: Bucket) -> None:
        """Raise InputError where there is no such bucket, which for pyarrow is an empty one."""
        name = self._root.partition("/")[0]
        if not name:  # a path of HDFS has no bucket
            return
        try:
            missing = bucket.system.get_file_info(name).type == fs.FileType.NotFound
        except OSError:  # there may be a right to list, and none to ask for this
            return
        if missing:
            raise InputError(f"storage {self}: there is no bucket {name!r}; make it, or say where with --storage")

    def _pieces_of(self, name: str) -> tuple["Folder", str]:
        path = PurePosixPath(name)
        return self / str(path.with_suffix("")), path.suffix

    def _grown(self, name: str) -> Path:
        """Return the file that is appended to: the last piece, where an experiment was copied from object storage."""
        below, suffix = self._pieces_of(name)
        last = last_piece(below, suffix)
        return Path(self._root, name) if last is None else Path(below._root, last)


def _without_tilde(location: Location) -> Path:
    """Return a path with a home folder in the place of `~`, which no shell replaces in `--storage=~/results`."""
    try:
        return Path(str(location)).expanduser()
    except RuntimeError:
        raise InputError(f"storage {location}: there is no such user, whose home folder ~ is to be") from None


def _read_object(system: fs.FileSystem, path: str) -> bytes:
    """Return an object's content; FileNotFoundError also where it is deleted between its opening and its reading."""
    with system.open_input_stream(path) as stream:
        try:
            return bytes(stream.read())
        except OSError:  # which of many errors depends on size and server
            if system.get_file_info(path).type == fs.FileType.NotFound:
                raise FileNotFoundError(path) from None
            raise
