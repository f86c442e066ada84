"""Files that stay open between reads: one budget for the whole process, well below its limit of open files.

Promise: all that reads rows (data sets, mixtures, validation, several loaders) shares one table of descriptors; the one
used longest ago is closed first, but never during a read. Any thread may ask; a forked process begins with an empty
table. Files that are looked at as a whole are `mapped`, which takes no descriptor. Cost: about a microsecond a lookup.
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
SHARE_OF_LIMIT = 8  # the others are for threads in the middle of a read, and for the rest of the process

Identity = tuple[int, int, int]  # inode, bytes, time of the last change in nanoseconds


def identity_of(status: os.stat_result) -> Identity:
    """What changes when a file is replaced, cut or rewritten."""
    return status.st_ino, status.st_size, status.st_mtime_ns


def most_open() -> int:
    """How many descriptors the table may hold."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_OPEN if limit == resource.RLIM_INFINITY else max(4, min(MOST_OPEN, limit // SHARE_OF_LIMIT))


class OpenFile:
    """A file open for reading at any place; closed when nobody holds it any more."""

    def __init__(self, path: str) -> None:
        self._descriptor = -1  # for __del__, where it cannot be opened
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.path = path
        self.identity = identity_of(os.fstat(self._descriptor))
        _, self.bytes, _ = self.identity

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def will_read(self, offset: int, length: int) -> None:
        """Let the disk begin to fetch a stretch, and exactly that one, without waiting for it."""
        if CAN_ADVISE:
            os.posix_fadvise(self._descriptor, offset, length, os.POSIX_FADV_WILLNEED)

    def read_into(self, array: npt.NDArray[Any], offset: int) -> None:
        """Fill a contiguous array from `offset` on. Raises EOFError if the file ends before."""
        read = os.preadv(self._descriptor, [array.data], offset)
        if read == array.nbytes:
            return
        rest = array.data.cast("B")
        while read < len(rest):  # the kernel hands out at most 2 GiB at once
            more = os.preadv(self._descriptor, [rest[read:]], offset + read)
            if not more:
                raise EOFError
            read += more


class _Table:
    """The open files by path, the one used last at the end."""

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
        self._files.clear()  # the rest of the process has taken its share and more
        return OpenFile(path)

    def __len__(self) -> int:
        return len(self._files)


_table = _Table()
os.register_at_fork(after_in_child=_table.forget)  # another thread of the parent may have held the lock


def open_file(path: str, identity: Identity) -> OpenFile:
    """The file at `path`, opened anew where the open one is not the file of this `identity`. Raises OSError."""
    return _table.get(path, identity)


def mapped(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """The bytes of a file as a memory map that holds no descriptor: shape (bytes,), read-only. Raises OSError."""
    import pyarrow as pa  # only here: who reads rows alone need not wait for it

    with pa.memory_map(os.fsencode(path)) as file:  # numpy's map would hold a descriptor as long as it lives
        return np.frombuffer(file.read_buffer(), np.uint8)
