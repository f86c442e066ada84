"""What a worker reads at once, and what the readers of all formats share.

The readers are parquet, text, csv_files, token_files, stored and via_datasets; `reading` chooses among them.

One rule for all of them: what is provably wrong inside a file is a bad row (`damage`), whatever else goes wrong ends
the run and leaves nothing out (`check_machine`).
"""

import gzip
import lzma
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import zstandard

from bosrow.errors import BadRowError, MachineError, SourceError, first_line
from bosrow.sources.formats import is_text
from bosrow.sources.source import UNREADABLE, LocalSource, Source, SourceFile
from bosrow.strict_json import Count
from bosrow.tokenizers.token_ids import TokenArray

UNIT_BYTES = 16 << 20
# What the libraries raise about bytes that are not what they have to be. No other error proves anything about a file.
DATA_FAULTS: tuple[type[Exception], ...] = (
    *(pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowKeyError, pa.ArrowNotImplementedError),
    *(pa.lib.ArrowIndexError, pa.lib.ArrowSerializationError),
    *(UnicodeError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, gzip.BadGzipFile),
)


class Position(NamedTuple):
    """Where a unit begins: file, then row group (Parquet) or byte of the unpacked file, then row of the file."""

    file: Count = 0
    part: Count = 0
    row: Count = 0


@dataclass(frozen=True, slots=True)
class Unit:
    """What a worker reads at once: from `start` up to `next`, or what is in `payload`.

    `share` is the part of the source that lies before `next`, for the progress line. A file that cannot be cut into
    units, or the rest of one, is a unit whose payload is one bad row.
    """

    start: Position
    next: Position
    share: float
    payload: "bytes | Sequence[Document | BadRow] | None" = None

    @property
    def payload_bytes(self) -> int:
        """About what the payload takes of memory."""
        if self.payload is None or isinstance(self.payload, bytes):
            return len(self.payload or b"")
        return sum(len(document.text) for document in self.payload if isinstance(document, Document))


class Document(NamedTuple):
    """One row of the corpus. `text` is UTF-8, or stretches of ids."""

    file: int
    row: int
    text: bytes | memoryview | list[TokenArray]
    id: str | None = None
    in_val: bool = False  # where the source has splits of its own


class BadRow(NamedTuple):
    """A row of the corpus without a text, or the unreadable rest of a file from `row` on, and why: "kind (detail)"."""

    file: int
    row: int
    reason: str


@contextmanager
def opened(source: Source, index: int) -> Iterator[BinaryIO]:
    """An open file that is the one which was found at the start, and still is after it was read.

    Whatever was read out of a file that changed meanwhile is of neither the old nor the new one.
    """
    file = source.files[index]
    check_unchanged(source, file)
    try:
        stream = source.open(file)
    except OSError as error:
        raise damage(f"{file.name} cannot be opened", error) from None
    with stream:
        check_unchanged(source, file)
        yield stream
        check_unchanged(source, file)


def check_unchanged(source: Source, file: SourceFile) -> None:
    """Raise SourceError if a local file is not the one that was found at the start, BadRowError if that was none."""
    if not isinstance(source, LocalSource):
        return
    if file.mark == UNREADABLE:
        raise BadRowError(f"{file.name} could not be read when it was found (a broken link, or no permission)")
    try:
        status = os.stat(file.path)
    except OSError as error:
        raise damage(f"{file.name} cannot be looked at any more", error) from None
    if (status.st_size, str(status.st_mtime_ns)) != (file.size, file.mark):
        raise SourceError(
            f"{file.name} was changed while it was read; start over with --fresh when nothing writes to it any more"
        )


def columns_of(source: Source, schema: pa.Schema) -> list[str]:
    """The columns to read, the text first. Raises BadRowError if they are not there, or the text is none."""
    columns = [source.text_field] + ([source.id_field] if source.id_field else [])
    for column in columns:
        if schema.names.count(column) != 1:
            found = "several columns" if column in schema.names else "no column"
            raise BadRowError(f"{found} {column!r}; the columns are: {', '.join(schema.names)}")
    kind = schema.field(source.text_field).type
    if not is_text(kind):
        raise BadRowError(f"column {source.text_field!r} holds {kind}, text was required")
    return list(dict.fromkeys(columns))


def id_of(value: Any) -> str | None:
    """A document's id as text, in which "?" stands for lone surrogates."""
    return None if value is None else str(value).encode(errors="replace").decode()


def damage(what: str, error: Exception, *proofs: type[Exception]) -> BadRowError:
    """The bad row that `error` makes of a file or a part of it; `what` says which. Raises MachineError."""
    check_machine(what, error, *proofs)
    return BadRowError(f"{what} ({first_line(error)})")


def check_machine(what: str, error: Exception, *proofs: type[Exception]) -> None:
    """Raise MachineError unless `error` proves that the file is wrong: DATA_FAULTS do, and `proofs` where they arise.

    The system gives its errors a number. An OSError without one is how pyarrow and bz2 tell damage.
    """
    cause: BaseException | None = error
    while cause and not isinstance(cause, MemoryError) and getattr(cause, "errno", None) is None:
        cause = cause.__cause__ or cause.__context__
    if cause is None and (type(error) is OSError or isinstance(error, (*DATA_FAULTS, *proofs))):
        return
    fault = cause or error
    detail = first_line(fault) if cause else f"{type(error).__name__}: {first_line(error)}"
    where = f": {fault.filename}" if isinstance(fault, OSError) and fault.filename else ""
    memory = ", --workers 1 takes the least memory" if isinstance(fault, MemoryError) else ""
    raise MachineError(
        f"{what} ({detail}{where}). That proves nothing against the file, so nothing was left out; the same command "
        f"goes on from here{memory}"
    ) from error
