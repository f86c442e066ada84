"""A corpus as a fixed sequence of units, and a unit as documents.

`units_of` runs in the reader process: it walks the files in order and says what a worker is to read next. A
worker can find most units by itself (a Parquet row group, a stretch of an uncompressed local file); the
others (compressed files, oversized row groups, text files on the Hub) travel with their bytes as `payload`, or with
their documents (CSV, and where only `datasets` can read the format).
`documents_of` runs in a worker. Promise: the units, and the documents in them, depend on the corpus alone,
and `units_of` can begin at any unit's `next`. What is unusable inside a corpus becomes a document that is
`bad` and says why; whether that stops the run is for others to decide. A unit is about 16 MB of text, more
only for one larger document, which exists in memory two or three times, as UTF-8 and never as a str.
"""

from collections.abc import Iterator

from bosrow.errors import BadRowError
from bosrow.sources import csv_files, parquet, text, token_files
from bosrow.sources.formats import ITERATED, TOKEN_FORMATS
from bosrow.sources.source import Source
from bosrow.sources.unit import Document, Position, Unit


def units_of(source: Source, start: Position) -> Iterator[Unit]:
    """The units from `start` to the end of the corpus."""
    if source.format in TOKEN_FORMATS:
        yield from token_files.units_of(source, start)
        return
    if source.format == "text":
        yield from text.units_of_texts(source, start)
        return
    for index in range(start.file, len(source.files)):
        begin = start if index == start.file else Position(index)
        try:
            for unit in _units_of_file(source, begin):
                yield unit
                begin = unit.next
        except BadRowError as error:
            yield Unit(begin, Position(index + 1), source.share(index, 1.0), bad=str(error))


def _units_of_file(source: Source, begin: Position) -> Iterator[Unit]:
    if source.format in ITERATED:
        from bosrow.sources import via_datasets  # which imports more than the others need

        return via_datasets.units_of(source, begin)
    readers = {"parquet": parquet.units_of, "csv": csv_files.units_of}
    return readers.get(source.format, text.units_of_lines)(source, begin)


def documents_of(source: Source, unit: Unit) -> Iterator[Document]:
    """The documents of a unit, in order."""
    if unit.bad is not None:
        yield Document(unit.start.file, unit.start.row, bad=f"unreadable ({unit.bad})")
        return
    if isinstance(unit.payload, list):
        yield from unit.payload
        return
    readers = {"parquet": parquet, "tokens": token_files}
    try:
        yield from readers.get(source.format, text).documents_of(source, unit)
    except BadRowError as error:
        yield Document(unit.start.file, unit.start.row, bad=f"unreadable ({error})")
