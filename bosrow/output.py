"""Makes standard output and standard error robust: a missing reader or an odd terminal does not end a command.

A character that the terminal's encoding lacks (a bar on an ASCII terminal, a word of a document, a name that is not
UTF-8) is shown as "?". If nobody reads the output any more (`bosrow inspect DIR | head -2`, a closed terminal), it is
dropped, and the command runs to its own end and exit status. A full disk under `> file` is an error if the output is
what the command was asked for; if it only shows progress, the output is dropped.
"""

import errno
import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Unread(io.FileIO):
    """A file descriptor that drops what is written after its reader has left; with `watched`, after any error."""

    def __init__(self, descriptor: int, watched: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.watched = watched

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            closed_terminal = error.errno == errno.EIO and stat.S_ISCHR(os.fstat(self.fileno()).st_mode)
            if not (self.watched or isinstance(error, ConnectionError) or closed_terminal):
                error.filename = "standard output" if self.fileno() == 1 else "standard error"
                raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        return memoryview(data).nbytes


@contextmanager
def robust_streams(*, watched: bool) -> Iterator[None]:
    """Make sys.stdout and sys.stderr robust in this block, unless the caller has already replaced them.

    `watched`: the output only shows progress, so it is not an error if it cannot be written.
    """
    former = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_robust(stream, watched) for stream in former)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = former


def _robust(stream: Any, watched: bool) -> Any:
    if stream is None:  # closed by the caller
        return open(os.devnull, "w")
    if stream not in (sys.__stdout__, sys.__stderr__):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Unread(stream.fileno(), watched)),
        encoding=stream.encoding,
        errors="backslashreplace" if stream is sys.__stderr__ else "replace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
