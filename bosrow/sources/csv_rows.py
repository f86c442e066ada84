"""Rows of CSV (RFC 4180), cut out of a stream of bytes.

Promise: a row ends at a line end outside quotes (LF, with any number of CR before it). A cell that begins with a quote
ends with one; it may hold separators and line ends, and each quote in it is doubled. Any other cell is taken as it is,
with its quotes. Anything else is a wrong row. A wrong row is only its first line, so that a stray quote never swallows
the rows after it. Empty lines are not rows. Without quoting, a row is a line.

Cost: bytes are searched and never decoded, at several hundred MB a second if cells are long. A row that is not complete
in the buffer is parsed again from its start after as much again has been read. So memory is about three times the
longest row, and no row is longer than MAX_ROW_BYTES.

Example: the row `a,"b ""c"", d"` has the cells `a` and `b "c", d`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

BLOCK_BYTES = 1 << 20
MAX_ROW_BYTES = 128 << 20
TOO_LONG = "longer than 128 MiB, is a quote never closed?"


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How rows are written. `separator` and `quote` are one byte each; if `quote` is None, no cell is quoted."""

    separator: bytes = b","
    quote: bytes | None = b'"'


class CsvRow(NamedTuple):
    """A row's cells, and the byte at which the next row begins; `wrong` says why a row has no cells."""

    cells: list[bytes]
    end: int
    wrong: str | None = None


class _Wrong(Exception):
    """The bytes here are not a row; the message says why."""


def rows_of(read: Callable[[int], bytes], dialect: Dialect, data: bytes = b"", place: int = 0) -> Iterator[CsvRow]:
    """The rows of `data`, which begins at byte `place`, and of what `read(size)` gives after it (b"" at the end)."""
    at, final = 0, False
    while True:
        wrong = None
        try:
            cells, end = _row(data, at, dialect, final)
        except _Wrong as error:
            wrong, cells, end = str(error), [], data.find(b"\n", at) + 1
        if not end and not final and len(data) - at <= MAX_ROW_BYTES:
            more = read(max(BLOCK_BYTES, min(len(data) - at, MAX_ROW_BYTES + 1 - len(data) + at)))
            data, place, at, final = data[at:] + more, place + at, 0, not more
            continue
        if not end and not final:  # the row is too long: drop its first line, reading on if that is not complete either
            wrong, cells, end = TOO_LONG, [], data.find(b"\n", at) + 1
            while not end and not final:
                place, at = place + len(data), 0
                data = read(BLOCK_BYTES)
                end, final = data.find(b"\n") + 1, not data
        at = min(end or len(data), len(data))
        if wrong or cells:
            yield CsvRow(cells, place + at, wrong)
        elif final and at == len(data):
            return


def _row(data: bytes, at: int, dialect: Dialect, final: bool) -> tuple[list[bytes], int]:
    """The cells of the row at `at`, and where the next row begins.

    That is 0 if the row does not end in `data`; with `final`, the end of `data` ends a row. An empty line has no cells.
    Raises _Wrong.
    """
    end = data.find(b"\n", at)
    if end < 0:
        if not final:
            return [], 0
        end = len(data)
    if dialect.quote is None or data.find(dialect.quote, at, end) < 0:
        line = _unquoted(data[at:end])
        return line.split(dialect.separator) if line else [], end + 1
    cells = []
    while True:
        if data.startswith(dialect.quote, at):
            cell, at = _quoted(data, at + 1, dialect.quote, final)
            if not at:
                return [], 0
            cells.append(cell)
            if data.startswith(dialect.separator, at):
                at += 1
                continue
            while data.startswith(b"\r", at):
                at += 1
            if data.startswith(b"\n", at):
                return cells, at + 1
            if at < len(data):
                raise _Wrong("there is text after a closing quote")
            return (cells, at) if final else ([], 0)
        end = data.find(b"\n", at)
        if end < 0:
            if not final:
                return [], 0
            end = len(data)
        stop = data.find(dialect.separator, at, end)
        cells.append(data[at:stop] if stop >= 0 else data[at:end])
        if stop < 0:
            cells[-1] = _unquoted(cells[-1])
            return cells, end + 1
        if b"\r" in cells[-1]:
            raise _Wrong("a carriage return stands outside quotes")
        at = stop + 1


def _unquoted(line: bytes) -> bytes:
    """A line, or the last cell of one, without its line end. Raises _Wrong for any other carriage return."""
    line = line.rstrip(b"\r")
    if b"\r" in line:
        raise _Wrong("a carriage return stands outside quotes")
    return line


def _quoted(data: bytes, begin: int, quote: bytes, final: bool) -> tuple[bytes, int]:
    """The cell whose opening quote is just before `begin`, and the place after its closing quote (0: not in `data`)."""
    close = data.find(quote, begin)
    doubled = False
    while close >= 0 and data.startswith(quote, close + 1):
        doubled = True
        close = data.find(quote, close + 2)
    if close < 0 and final:
        raise _Wrong("a quote is never closed")
    if close < 0 or (close + 1 == len(data) and not final):
        return b"", 0
    cell = data[begin:close]
    return cell.replace(quote + quote, quote) if doubled else cell, close + 1
