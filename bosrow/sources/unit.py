"""Units, the parts of a corpus that workers read, and what the readers of all formats share.

The readers are parquet, text, csv_files, token_files, stored and via_datasets; `reading` chooses among them.

They share one rule: what is proven to be wrong with a file is a bad row (`damage`); anything else that goes wrong stops
the run, and nothing is left out (`check_machine`).
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
# What the libraries raise if the bytes of a file are wrong. No other error proves that.
DATA_FAULTS: tuple[type[Exception], ...] = (
    *(pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowKeyError, pa.ArrowNotImplementedError),
    *(pa.lib.ArrowIndexError, pa.lib.ArrowSerializationError),
    *(UnicodeError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, gzip.BadGzipFile),
)


class Position(NamedTuple):
    """Where a unit begins: a file, a part of it, and the row in the file.

    `part` counts row groups (Parquet), bytes of decompressed text (lines, CSV), ids (tokens) or documents (--from).
    """

    file: Count = 0
    part: Count = 0
    row: Count = 0


@dataclass(frozen=True, slots=True)
class Unit:
    """What a worker reads at once: from `start` up to `next`, or what is in `payload`.

    `share` is the fraction of the source before `next`, for the progress line. If a file, or the rest of it, cannot be
    cut into units, it is a unit whose payload is one bad row.
    """

    start: Position
    next: Position
    share: float
    payload: "bytes | Sequence[Document | BadRow] | None" = None

    @property
    def payload_bytes(self) -> int:
        """About how much memory the payload takes."""
        if self.payload is None or isinstance(self.payload, bytes):
            return len(self.payload or b"")
        return sum(len(document.text) for document in self.payload if isinstance(document, Document))


class Document(NamedTuple):
    """One row of the corpus. `text` is UTF-8, or ids as arrays to be joined."""

    file: int
    row: int
    text: bytes | memoryview | list[TokenArray]
    id: str | None = None
    in_val: bool = False  # used if the source has splits of its own (--from)


class BadRow(NamedTuple):
    """A row without a usable text, or the unreadable rest of a file from `row` on. `reason` is "kind (detail)"."""

    file: int
    row: int
    reason: str


@contextmanager
def opened(source: Source, index: int) -> Iterator[BinaryIO]:
    """Open a file, and check before and after it is read that it has not changed since it was found.

    What is read from a file while it changes belongs neither to the old file nor to the new one.
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
    """Raise SourceError if a local file has changed since it was found, BadRowError if it could not be read then."""
    if not isinstance(source, LocalSource):
        return
    if file.mark == UNREADABLE:
        raise BadRowError(f"{file.name} could not be read when it was found (a broken link, or no permission)")
    try:
        status = os.stat(file.path)
    except OSError as error:
        raise damage(f"{file.name} cannot be found any more", error) from None
    if (status.st_size, str(status.st_mtime_ns)) != (file.size, file.mark):
        raise SourceError(
            f"{file.name} has changed since it was found; start over with --fresh when nothing writes to it any more"
        )


def columns_of(source: Source, schema: pa.Schema) -> list[str]:
    """The columns to read, the text first. Raises BadRowError if one is missing, or if the text column is not text."""
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
    """A document's id as a string, with "?" for lone surrogates."""
    return None if value is None else str(value).encode(errors="replace").decode()


def damage(what: str, error: Exception, *proofs: type[Exception]) -> BadRowError:
    """`what` and `error` as a BadRowError, if `error` proves that the file is wrong. Raises MachineError if not."""
    check_machine(what, error, *proofs)
    return BadRowError(f"{what} ({first_line(error)})")


def check_machine(what: str, error: Exception, *proofs: type[Exception]) -> None:
    """Raise MachineError unless `error` proves that the file is wrong, as DATA_FAULTS do, and here also `proofs`.

    Errors of the operating system have an errno. An OSError without one is how pyarrow and bz2 report damage.
    """
    cause: BaseException | None = error
    while cause and not isinstance(cause, MemoryError) and getattr(cause, "errno", None) is None:
        cause = cause.__cause__ or cause.__context__
    if cause is None and (type(error) is OSError or isinstance(error, (*DATA_FAULTS, *proofs))):
        return
    fault = cause or error
    detail = first_line(fault) if cause else f"{type(error).__name__}: {first_line(error)}"
    where = f": {fault.filename}" if isinstance(fault, OSError) and fault.filename else ""
    memory = "; --workers 1 takes the least memory" if isinstance(fault, MemoryError) else ""
    raise MachineError(
        f"{what} ({detail}{where}). That does not prove the file wrong, so nothing was left out; the same command "
        f"goes on from here{memory}"
    ) from error
