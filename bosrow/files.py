"""Files that survive a crash: atomic replacement, fsync, checksums.

Promise: during `replace_file` a reader sees the old bytes or the new ones, never a mixture; after it returns, the new
ones outlive a power cut. A full disk is a MachineError that names the file and the bytes that had no room. Cost: two
fsyncs a call.
"""

import errno
import functools
import hashlib
import io
import os
import shutil
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from bosrow.errors import DataSetError, MachineError

CHUNK_BYTES = 1 << 20
BESIDE_BYTES = 1 << 16  # from this size on another thread computes the checksum
MAX_JSON_BYTES = 64 << 20  # a manifest is untrusted input; a real one takes about 200 bytes a shard


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable (fsync of the directory itself)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make `folder`, and missing folders above it, durably."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync_folder(path.parent)


def replace_file(path: Path, *chunks: bytes | memoryview) -> None:
    """Write `chunks` to `path`: temporary file, flush, fsync, replace, fsync of the folder. Raises MachineError."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with _made(temporary, "wb") as file:
            for chunk in chunks:
                write_all(file, temporary, memoryview(chunk))
        replace_with(temporary, path)
    except MachineError:
        temporary.unlink(missing_ok=True)  # it would take room on a full disk
        raise


def replace_with(temporary: Path, path: Path) -> None:
    """Replace `path` by the complete file `temporary`: fsync, replace, fsync of the folder. Raises MachineError."""
    with open(temporary, "rb") as file:
        _sync(file.fileno(), temporary)
    os.replace(temporary, path)
    sync_folder(path.parent)


def write_all(file: io.FileIO, path: Path, data: memoryview) -> None:
    """Write `data` to the unbuffered `file` at `path`. Raises MachineError, naming the bytes that were not written."""
    while data:
        try:
            data = data[file.write(data) :]
        except OSError as error:
            raise _cannot_write(path, error, f"{len(data):,} more bytes were to be written") from error


def _made(path: Path, mode: Literal["wb", "r+b"]) -> io.FileIO:
    try:
        return open(path, mode, buffering=0)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _cannot_write(path, error, "there is no room for a new file") from error


def _sync(descriptor: int, path: Path) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:  # some disks report only now that they are full
        size = os.fstat(descriptor).st_size
        raise _cannot_write(path, error, f"its {size:,} bytes could not be made durable") from error


def _cannot_write(path: Path, error: OSError, what: str) -> MachineError:
    try:
        free = f"{shutil.disk_usage(path.parent).free:,} bytes are free there"
    except OSError:
        free = "how much is free there is not known"
    return MachineError(f"{path}: {error.strerror}; {what}, {free}. Make room and give the same command again")


def sha256_of(path: Path, length: int | None = None) -> "hashlib._Hash":
    """SHA-256 of a file's first `length` bytes (default: all). Raises DataSetError if it is missing or shorter."""
    digest = hashlib.sha256()
    if not path.is_file():
        raise DataSetError(f"{path} is missing; another program removed it")
    remaining = path.stat().st_size if length is None else length
    with open(path, "rb") as file:
        while remaining:
            chunk = file.read(min(CHUNK_BYTES, remaining))
            if not chunk:
                raise DataSetError(f"{path} ends {remaining} bytes too early; another program changed it")
            digest.update(chunk)
            remaining -= len(chunk)
    return digest


def read_untrusted(path: Path, limit_bytes: int = MAX_JSON_BYTES) -> bytes:
    """Read a regular file of at most `limit_bytes`. Raises DataSetError for a link or a larger file."""
    check_regular(path, limit_bytes)
    return path.read_bytes()


def check_regular(path: Path, limit_bytes: int) -> None:
    """Raise DataSetError unless `path` is a regular file, no link, of at most `limit_bytes`."""
    if path.is_symlink() or not path.is_file():
        raise DataSetError(f"{path} is not a regular file")
    size = path.stat().st_size
    if size > limit_bytes:
        raise DataSetError(f"{path} has {size:,} bytes; at most {limit_bytes:,} are read")


def check_size(path: Path, size: int) -> None:
    """Raise DataSetError unless `path`, which a state file names as complete, has `size` bytes."""
    found = f"{path.stat().st_size:,} bytes" if path.is_file() else "no such file"
    if found != f"{size:,} bytes":
        raise DataSetError(
            f"{path}: {size:,} bytes were recorded, {found} found; another program changed it, --fresh starts over"
        )


@functools.cache
def _beside() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "checksums")


class AppendFile:
    """A file that only grows, and can be truncated to a length that a state file recorded.

    After `sync()`, the bytes written so far and the file's name are durable. Checksums take longer than writing, so a
    thread computes that of a large block. The caller may change the block only after the next `write`.
    """

    def __init__(self, path: Path, length: int = 0) -> None:
        self.path = path
        self.length = length
        self._named = length > 0
        self._digest = sha256_of(path, length) if length else hashlib.sha256()
        self._beside: Future[None] | None = None
        self._file = _made(path, "r+b" if length else "wb")
        weakref.finalize(self, self._file.close)  # if an error ends the run without close()
        self._file.truncate(length)
        self._file.seek(length)

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`. Raises MachineError if there is no room for it."""
        view = memoryview(data)
        if view.nbytes:  # cast() would raise for an empty view
            view = view.cast("B")
            digest = self.digest
            if len(view) < BESIDE_BYTES:
                digest.update(view)
            else:
                self._beside = _beside().submit(digest.update, view)
            self.length += len(view)
            write_all(self._file, self.path, view)

    @property
    def digest(self) -> "hashlib._Hash":
        """SHA-256 of all that was written."""
        if self._beside:
            self._beside.result()
            self._beside = None
        return self._digest

    def sync(self) -> None:
        """Make everything written so far durable."""
        _sync(self._file.fileno(), self.path)
        if not self._named:
            sync_folder(self.path.parent)
            self._named = True

    def close(self) -> None:
        """Close the file. Does not make it durable."""
        self._file.close()
