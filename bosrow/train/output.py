"""Standard output and standard error of a run: for people to watch, and never a reason to end.

Promise: while `unfailing_output` lasts, a reader who leaves (`| head`), a terminal that is closed and a log's full disk
end nothing, and a character that the terminal's encoding lacks is written as its escape. Nothing is printed any more
where printing has failed once.
"""

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class UnfailingStream:
    """`stream`, whose writes never fail."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """As of any text file."""
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except OSError:
            _silence(self._stream)
        return len(text)

    def flush(self) -> None:
        """As of any text file."""
        try:
            self._stream.flush()
        except OSError:
            _silence(self._stream)


@contextmanager
def unfailing_output() -> Iterator[None]:
    """sys.stdout and sys.stderr whose failures end nothing, and which stay silent where nobody reads on."""
    before = sys.stdout, sys.stderr
    unfailing = [UnfailingStream(stream) for stream in before]
    sys.stdout, sys.stderr = unfailing  # they have all that print asks of a file
    try:
        yield
    finally:
        for guarded in unfailing:
            guarded.flush()
        sys.stdout, sys.stderr = before
        for stream in before:
            if _nobody_reads(stream):
                _silence(stream)


def _nobody_reads(stream: TextIO) -> bool:
    """Whether it is a pipe whose reader has left."""
    try:
        poll = select.poll()
        poll.register(stream, select.POLLOUT)
    except (OSError, ValueError, io.UnsupportedOperation):  # it has no file descriptor
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _silence(stream: TextIO) -> None:
    """Let what is written to the file behind `stream` go nowhere, what it still holds included."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
