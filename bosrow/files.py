"""Files that survive a crash: atomic replacement, fsync, checksums, and one lock per folder.

Promise: after `replace_file` returns, a reader sees the old bytes or the new ones, never a mixture,
and the new ones outlive a power cut. Cost: two fsyncs a call.
"""

import hashlib
import json
import os
import socket
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from bosrow.errors import DataSetError, MachineError

CHUNK_BYTES = 1 << 20
MAX_JSON_BYTES = 64 << 20  # a manifest is untrusted input; a real one takes about 200 bytes a shard


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable (fsync of the directory itself)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, *chunks: bytes | memoryview) -> None:
    """Write `chunks` to `path`: temporary file, flush, fsync, replace, fsync of the folder."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        for chunk in chunks:
            file.write(chunk)
    replace_with(temporary, path)


def replace_with(temporary: Path, path: Path) -> None:
    """Put the complete file `temporary` in the place of `path`: fsync, replace, fsync of the folder."""
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def sha256_of(path: Path, length: int | None = None) -> "hashlib._Hash":
    """SHA-256 of a file's first `length` bytes (default: all). Raises DataSetError if it is shorter."""
    digest = hashlib.sha256()
    remaining = path.stat().st_size if length is None else length
    with open(path, "rb") as file:
        while remaining:
            chunk = file.read(min(CHUNK_BYTES, remaining))
            if not chunk:
                raise DataSetError(f"{path} ends {remaining} bytes too early; it was changed from outside")
            digest.update(chunk)
            remaining -= len(chunk)
    return digest


def parse_json(data: bytes, name: str) -> dict:
    """Parse an untrusted JSON object: no NaN, no endless nesting. Raises DataSetError, naming `name`."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        value = json.loads(data, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise DataSetError(f"{name} is not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise DataSetError(f"{name} holds a JSON {type(value).__name__}, an object was required")
    return value


def read_untrusted(path: Path, limit_bytes: int = MAX_JSON_BYTES) -> bytes:
    """Read a regular file of at most `limit_bytes` that is not a link. Raises DataSetError."""
    if path.is_symlink() or not path.is_file():
        raise DataSetError(f"{path} is not a regular file")
    size = path.stat().st_size
    if size > limit_bytes:
        raise DataSetError(f"{path} has {size:,} bytes; at most {limit_bytes:,} are read")
    return path.read_bytes()


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; a second one gets a MachineError that says who holds it.

    The lock itself is the operating system's (it ends with the process, so it is never stale); the
    owner file beside it only tells people who it is.
    """
    owner = folder / ".owner.json"
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        try:
            held_by = json.loads(owner.read_bytes())
            who = f"process {held_by['pid']} on {held_by['host']} since {held_by['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            who = "another process"
        raise MachineError(f"{folder} is in use by {who}; wait for it, or stop it, or choose another folder") from None
    try:
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        owner.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": since}))
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


class AppendFile:
    """A file that only grows, and can be cut back to a length that a state file recorded.

    What was written is durable after `sync()`. `digest` is the SHA-256 of all that was written.
    """

    def __init__(self, path: Path, length: int = 0) -> None:
        self.path = path
        self.length = length
        self.digest = sha256_of(path, length) if length else hashlib.sha256()
        self._file = open(path, "r+b" if length else "wb", buffering=0)  # noqa: SIM115 - closed by close(),
        weakref.finalize(self, self._file.close)  # or, where a run ends by an error, with this object
        self._file.truncate(length)
        self._file.seek(length)

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`."""
        view = memoryview(data)
        if not view.nbytes:  # which cast() would refuse
            return
        view = view.cast("B")
        self.digest.update(view)
        self.length += len(view)
        while view:
            view = view[self._file.write(view) :]

    def sync(self) -> None:
        """Make everything written so far durable."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close without making durable."""
        self._file.close()
