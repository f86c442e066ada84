"""A corpus as a fixed sequence of units, and a unit as documents.

`units_of` runs in the reader process: it goes through the files in order and says what a worker reads next. A worker
reads most units itself (a Parquet row group, a part of an uncompressed local file). Other units carry their bytes as
`payload` (compressed files, oversized row groups, lines on the Hub), or their documents (CSV, and formats that only
`datasets` can read). `documents_of` runs in a worker.

Promise: the units, and the documents in them, depend on the corpus alone, and `units_of` can begin at any unit's
`next`. What is unusable in a corpus becomes a `BadRow` that says why; the caller decides whether that stops the run.
Cost: a unit is about 16 MB of text, or one larger document. A document is in memory two or three times, as UTF-8 and
never as a str.
"""

from collections.abc import Iterator
from typing import Protocol

from bosrow.errors import BadRowError
from bosrow.sources.formats import TOKEN_FORMATS, Format
from bosrow.sources.source import Source
from bosrow.sources.unit import BadRow, Document, Position, Unit


class Reader(Protocol):
    """A module that reads a format. Only the module that is needed is imported, since each imports other libraries."""

    def units_of(self, source: Source, begin: Position, /) -> Iterator[Unit]:
        """The units from `begin` to the end of its file, or of the corpus if a unit may span several files."""


class WorkerReader(Reader, Protocol):
    """A module whose units are read by a worker: they do not carry their documents."""

    def documents_of(self, source: Source, unit: Unit, /) -> Iterator[Document | BadRow]:
        """The documents of a unit, in order."""


def reader_of(source_format: Format) -> Reader:
    """The module that cuts files of a format into units."""
    match source_format:
        case "csv":
            from bosrow.sources import csv_files

            return csv_files
        case "arrow" | "webdataset":
            from bosrow.sources import via_datasets

            return via_datasets
        case "rows":
            from bosrow.sources import stored

            return stored
        case _:
            return worker_reader_of(source_format)


def worker_reader_of(source_format: Format) -> WorkerReader:
    """The module that reads the units of a format that do not carry their documents."""
    match source_format:
        case "parquet":
            from bosrow.sources import parquet

            return parquet
        case "tokens":
            from bosrow.sources import token_files

            return token_files
        case "json" | "lines" | "text":
            from bosrow.sources import text

            return text
        case _:
            raise ValueError(f"units of {source_format} carry their documents")


def units_of(source: Source, start: Position) -> Iterator[Unit]:
    """The units from `start` to the end of the corpus."""
    reader = reader_of(source.format)
    if source.format in (*TOKEN_FORMATS, "text"):  # a unit may span several files
        yield from reader.units_of(source, start)
        return
    for index in range(start.file, len(source.files)):
        begin = start if index == start.file else Position(index)
        try:
            for unit in reader.units_of(source, begin):
                yield unit
                begin = unit.next
        except BadRowError as error:
            bad = BadRow(begin.file, begin.row, f"unreadable ({error})")
            yield Unit(begin, Position(index + 1), source.share(index, 1.0), [bad])


def documents_of(source: Source, unit: Unit) -> Iterator[Document | BadRow]:
    """The documents of a unit, in order."""
    if not (unit.payload is None or isinstance(unit.payload, bytes)):
        yield from unit.payload
        return
    try:
        yield from worker_reader_of(source.format).documents_of(source, unit)
    except BadRowError as error:
        yield BadRow(unit.start.file, unit.start.row, f"unreadable ({error})")
