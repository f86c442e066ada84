"""Keeps files open between reads, within one limit for the whole process that is well below the system's.

Promise: everything that reads rows (data sets, mixtures, validation, several loaders) shares one table of open files.
The least recently used file is closed first, but never during a read. Threads may share the table; a forked process
begins with an empty one. `mapped` is for files that are read as a whole; a map takes no file descriptor. Cost: about a
microsecond per lookup.
"""

import errno
import os
import resource
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

MOST_OPEN = 256
CAN_ADVISE = hasattr(os, "posix_fadvise")  # macOS cannot
SHARE_OF_LIMIT = 8  # we take this fraction of the limit; the rest is for reads in progress and for other code

Identity = tuple[int, int, int]  # inode, size in bytes, modification time in nanoseconds


def identity_of(status: os.stat_result) -> Identity:
    """What changes when a file is replaced, cut or rewritten."""
    return status.st_ino, status.st_size, status.st_mtime_ns


def most_open() -> int:
    """How many open files the table may hold."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_OPEN if limit == resource.RLIM_INFINITY else max(4, min(MOST_OPEN, limit // SHARE_OF_LIMIT))


class OpenFile:
    """A file open for reading at any offset; closed when the last reference to it is gone."""

    def __init__(self, path: str) -> None:
        self._descriptor = -1  # for __del__, if os.open fails
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.path = path
        self.identity = identity_of(os.fstat(self._descriptor))
        _, self.bytes, _ = self.identity

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def will_read(self, offset: int, length: int) -> None:
        """Tell the system to start reading exactly these bytes, without waiting for them."""
        if CAN_ADVISE:
            os.posix_fadvise(self._descriptor, offset, length, os.POSIX_FADV_WILLNEED)

    def read_into(self, array: npt.NDArray[Any], offset: int) -> None:
        """Fill a contiguous array with the bytes from `offset` on. Raises EOFError if the file ends too early."""
        read = os.preadv(self._descriptor, [array.data], offset)
        if read == array.nbytes:
            return
        rest = array.data.cast("B")
        while read < len(rest):  # the kernel reads at most 2 GiB at once
            more = os.preadv(self._descriptor, [rest[read:]], offset + read)
            if not more:
                raise EOFError
            read += more


class _Table:
    """The open files by path, the most recently used last."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[str, OpenFile] = {}

    def get(self, path: str, identity: Identity) -> OpenFile:
        with self._lock:
            file = self._files.pop(path, None)
            if file is None or file.identity != identity:
                file = self._opened(path)
            self._files[path] = file
            return file

    def _opened(self, path: str) -> OpenFile:
        while len(self._files) >= most_open():
            del self._files[next(iter(self._files))]
        try:
            return OpenFile(path)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
        self._files.clear()  # other code has used up the limit
        return OpenFile(path)

    def __len__(self) -> int:
        return len(self._files)


_table = _Table()
os.register_at_fork(after_in_child=_table.forget)  # another thread of the parent may have held the lock


def open_file(path: str, identity: Identity) -> OpenFile:
    """The file at `path`, opened again if the open one does not have this `identity`. Raises OSError."""
    return _table.get(path, identity)


def mapped(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """The bytes of a file as a memory map without a descriptor: shape (bytes,), read-only. Raises OSError."""
    import pyarrow as pa  # only here: reading rows does not need it, and it takes time to import

    with pa.memory_map(os.fsencode(path)) as file:  # numpy's map would keep a descriptor open
        return np.frombuffer(file.read_buffer(), np.uint8)
