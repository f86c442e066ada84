"""Standard output and standard error as a command needs them: no terminal and no reader can end its work.

A character that the terminal's encoding lacks (a bar on an ASCII one, a word of a document, a name that is no UTF-8) is
shown as "?". What nobody reads any more (`bosrow inspect DIR | head -2`, a terminal that was closed) is dropped, and
the command goes on to its own end and exit status. A disk that is full under `> file` is an error where the output is
what was asked for, and drops the output where it only shows how work goes on.
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
    """A file descriptor that takes everything once its reader has left; with `watched`, after any failure."""

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
    """While this lasts, sys.stdout and sys.stderr are such streams, unless somebody has replaced them already.

    `watched`: the output only shows how work goes on, so no failure to write it is an error.
    """
    former = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_robust(stream, watched) for stream in former)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = former


def _robust(stream: Any, watched: bool) -> Any:
    if stream is None:  # closed by who called us
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
