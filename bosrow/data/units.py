"""A corpus as a fixed sequence of units, and a unit as documents.

`units_of` runs in the reader process: it walks the files in order and says what a worker is to read next. A
worker can find most units by itself (a Parquet row group, a stretch of an uncompressed local file); the
others (compressed files, oversized row groups, text files on the Hub) travel with their bytes as `payload`, or with
their documents where only `datasets` can read the format.
`documents_of` runs in a worker. Promise: the units, and the documents in them, depend on the corpus alone,
and `units_of` can begin at any unit's `next`. What is unusable inside a corpus becomes a document that is
`bad` and says why; whether that stops the run is for others to decide. A unit is about 16 MB of text, more
only for one larger document, which exists in memory two or three times, as UTF-8 and never as a str.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq

from bosrow.data.source import ITERATED, TOKEN_FORMATS, Source, SourceFile, compression_of, is_text
from bosrow.data.tokenizer import utf8
from bosrow.errors import BadRowError

UNIT_BYTES = 16 << 20
DECODED_ROWS = 1024  # rows of a row group decoded at once, at most
LARGE_LINE_BYTES = 1 << 20  # a longer line of JSON is parsed by Arrow, which makes no str of it
UTF8_BOM = b"\xef\xbb\xbf"


class Position(NamedTuple):
    """Where a unit begins: file, then row group (Parquet) or byte of the unpacked file, then row of the file."""

    file: int = 0
    part: int = 0
    row: int = 0


@dataclass(frozen=True, slots=True)
class Unit:
    """What a worker reads at once: from `start` up to `next`, or what is in `payload`.

    `share` is the part of the source that lies before `next`, for the progress line. `bad` says why a file, or
    the rest of it, could not be cut into units.
    """

    start: Position
    next: Position
    share: float
    payload: bytes | list["Document"] | None = None
    bad: str | None = None


class Document(NamedTuple):
    """One row of the corpus. `text` is UTF-8, or ids; `bad` says why there is none: "kind (detail)"."""

    file: int
    row: int
    text: bytes | memoryview | npt.NDArray[np.uint16] = b""
    id: str | None = None
    in_val: bool = False  # where the source has splits of its own
    bad: str | None = None


def units_of(source: Source, start: Position) -> Iterator[Unit]:
    """The units from `start` to the end of the corpus."""
    if source.format in TOKEN_FORMATS:
        from bosrow.data import token_source  # which builds on this module

        yield from token_source.units_of(source, start)
        return
    if source.format == "text":
        yield from _text_files(source, start)
        return
    for index in range(start.file, len(source.files)):
        begin = start if index == start.file else Position(index)
        try:
            for unit in _units_of_file(source, index, begin):
                yield unit
                begin = unit.next
        except BadRowError as error:
            yield Unit(begin, Position(index + 1), source.share(index, 1.0), bad=str(error))


def _units_of_file(source: Source, index: int, begin: Position) -> Iterator[Unit]:
    if source.format in ITERATED:
        from bosrow.data import iterated  # which builds on this module

        return iterated.units_of(source, index, begin)
    return _row_groups(source, begin) if source.format == "parquet" else _blocks(source, begin)


def documents_of(source: Source, unit: Unit) -> Iterator[Document]:
    """The documents of a unit, in order."""
    if unit.bad is not None:
        yield Document(unit.start.file, unit.start.row, bad=f"unreadable ({unit.bad})")
        return
    if isinstance(unit.payload, list):
        yield from unit.payload
        return
    if source.format in TOKEN_FORMATS:
        from bosrow.data import token_source

        yield from token_source.documents_of(source, unit)
        return
    try:
        yield from READERS[source.format](source, unit)
    except BadRowError as error:
        yield Document(unit.start.file, unit.start.row, bad=f"unreadable ({error})")


def _text_files(source: Source, start: Position) -> Iterator[Unit]:
    first = start.file
    while first < len(source.files):
        stop, size = first + 1, source.files[first].size
        while stop < len(source.files) and size + source.files[stop].size <= UNIT_BYTES:
            size += source.files[stop].size
            stop += 1
        yield Unit(Position(first), Position(stop), source.share(stop, 0.0))
        first = stop


def _text_documents(source: Source, unit: Unit) -> Iterator[Document]:
    for index in range(unit.start.file, unit.next.file):
        try:
            with _opened(source, index) as stream, _unpacked(stream, source.files[index].name) as unpacked:
                text = _read(unpacked, source.files[index].name, -1).removeprefix(UTF8_BOM)
        except BadRowError as error:
            yield Document(index, 0, bad=f"unreadable ({error})")
        else:
            yield Document(index, 0, text)


def _row_groups(source: Source, start: Position) -> Iterator[Unit]:
    with _parquet(source, start.file) as parquet:
        columns = columns_of(source, parquet.schema_arrow)
        first_row = 0
        for group in range(parquet.num_row_groups):
            metadata = parquet.metadata.row_group(group)
            end = Position(start.file, group + 1, first_row + metadata.num_rows)
            if group >= start.part:
                begin = Position(start.file, group, max(first_row, start.row))
                if _text_bytes(metadata, columns) <= UNIT_BYTES:
                    yield Unit(begin, end, source.share(start.file, (group + 1) / parquet.num_row_groups))
                else:
                    yield from _slices(source, parquet, columns, begin, end, first_row)
            first_row += metadata.num_rows


def _text_bytes(group: pq.RowGroupMetaData, columns: list[str]) -> int:
    chunks = (group.column(index) for index in range(group.num_columns))
    return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema in columns)


def _slices(
    source: Source, parquet: pq.ParquetFile, columns: list[str], begin: Position, end: Position, row: int
) -> Iterator[Unit]:
    """An oversized row group, decoded here and handed on as Arrow streams of about a unit each.

    Each slice but the last ends inside the row group; the last one's `next` is the next row group.
    """
    metadata = parquet.metadata.row_group(begin.part)
    rows_of_a_unit = metadata.num_rows * UNIT_BYTES // _text_bytes(metadata, columns)
    batches: list[pa.RecordBatch] = []
    try:
        for batch in _decoded(parquet, begin.part, columns, max(1, min(rows_of_a_unit // 4, DECODED_ROWS))):
            row += batch.num_rows
            if row > begin.row:
                batches.append(batch.slice(max(0, begin.row - row + batch.num_rows)))
            if batches and (row == end.row or sum(part.nbytes for part in batches) >= UNIT_BYTES):
                stop = end if row == end.row else Position(begin.file, begin.part, row)
                share = source.share(begin.file, row / parquet.metadata.num_rows)
                yield Unit(begin, stop, share, _to_stream(batches))
                begin, batches = stop, []
    except (pa.ArrowException, OSError) as error:
        share = source.share(begin.file, end.row / parquet.metadata.num_rows)
        yield Unit(begin, end, share, bad=f"row group {begin.part} cannot be read ({first_line(error)})")


def _decoded(parquet: pq.ParquetFile, group: int, columns: list[str], rows: int) -> Iterator[pa.RecordBatch]:
    """A row group, `rows` rows at a time; the text, which is the first of `columns`, as large_string."""
    for batch in parquet.iter_batches(rows, row_groups=[group], columns=columns):
        text = batch.column(columns[0]).cast(pa.large_string(), safe=False)
        yield pa.record_batch({columns[0]: text} | {name: batch.column(name) for name in columns[1:]})


def _to_stream(batches: list[pa.RecordBatch]) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema) as writer:
        while batches:
            writer.write_batch(batches.pop(0))
    return sink.getvalue().to_pybytes()


def _parquet_documents(source: Source, unit: Unit) -> Iterator[Document]:
    row = unit.start.row
    try:
        for batch in _batches(source, unit):
            ids: list[Any] = batch.column(source.id_field).to_pylist() if source.id_field else [None] * batch.num_rows
            for value, name in zip(batch.column(source.text_field), ids, strict=True):
                # The bytes themselves: one emoji makes a str four times larger than its UTF-8.
                text = value.as_buffer()
                yield Document(unit.start.file, row, text or b"", _id(name), bad="null" if text is None else None)
                row += 1
    except (pa.ArrowException, OSError) as error:
        raise BadRowError(f"row group {unit.start.part} cannot be read ({first_line(error)})") from None
    if row != unit.next.row:
        raise BadRowError(f"row group {unit.start.part} ends at row {row}, the footer says {unit.next.row}")


def _batches(source: Source, unit: Unit) -> Iterator[pa.RecordBatch]:
    if unit.payload is not None:
        yield from pa.ipc.open_stream(unit.payload)
        return
    with _parquet(source, unit.start.file) as parquet:
        columns = columns_of(source, parquet.schema_arrow)
        yield from _decoded(parquet, unit.start.part, columns, DECODED_ROWS)


@contextmanager
def _parquet(source: Source, index: int) -> Iterator[pq.ParquetFile]:
    with _opened(source, index) as stream:
        try:
            parquet = pq.ParquetFile(stream, metadata=_footer(source, index), page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            name = source.files[index].name
            raise BadRowError(f"{name} is not a readable Parquet file ({first_line(error)})") from None
        yield parquet


@lru_cache(maxsize=2)
def _footer(source: Source, index: int) -> pq.FileMetaData:
    """Kept from row group to row group: on the Hub a footer is often a megabyte, and two requests."""
    with source.open(source.files[index]) as stream:
        return pq.read_metadata(stream)


def columns_of(source: Source, schema: pa.Schema) -> list[str]:
    """The columns to read, the text first. Raises BadRowError if they are not there, or the text is none."""
    columns = [source.text_field] + ([source.id_field] if source.id_field else [])
    for column in columns:
        if column not in schema.names:
            raise BadRowError(f"no column {column!r}; the columns are: {', '.join(schema.names)}")
    kind = schema.field(source.text_field).type
    if not is_text(kind):
        raise BadRowError(f"column {source.text_field!r} holds {kind}, text was required")
    return list(dict.fromkeys(columns))


def _blocks(source: Source, start: Position) -> Iterator[Unit]:
    """A file of lines, cut after a line's end about every UNIT_BYTES of its unpacked bytes."""
    file = source.files[start.file]
    travels = source.dataset is not None or compression_of(file.name) is not None
    with _opened(source, start.file) as packed, _unpacked(packed, file.name) as stream:
        _skip(stream, file.name, start.part)
        begin, size = start, 0  # size: of what was read from `begin` on
        parts: list[bytes] = []  # the same bytes, where they travel
        # Blocks end at the same places after a restart, so a file damaged further on gives the same units.
        while block := _read(stream, file.name, UNIT_BYTES - (begin.part + size) % UNIT_BYTES):
            cut = block.rfind(b"\n") + 1
            if travels:
                parts.append(block[:cut] if cut else block)
            if cut:
                end = Position(start.file, begin.part + size + cut, begin.row + block.count(b"\n"))
                share = source.share(start.file, packed.tell() / max(1, file.size))
                yield Unit(begin, end, share, b"".join(parts) if travels else None)
                begin, size = end, -cut
                parts = [block[cut:]] if travels else []
            size += len(block)
        if size:
            end = Position(start.file, begin.part + size, begin.row + 1)
            yield Unit(begin, end, source.share(start.file, 1.0), b"".join(parts) if travels else None)


def _skip(stream: BinaryIO, name: str, length: int) -> None:
    while length:
        skipped = len(_read(stream, name, min(length, UNIT_BYTES)))
        if not skipped:
            raise BadRowError(f"{name} became shorter while it was read")
        length -= skipped


def _lines(source: Source, unit: Unit) -> Iterator[tuple[int, memoryview]]:
    """The lines of a unit, without their ends, by number."""
    data = unit.payload
    assert not isinstance(data, list)
    if data is None:
        name, length = source.files[unit.start.file].name, unit.next.part - unit.start.part
        with _opened(source, unit.start.file) as stream:
            stream.seek(unit.start.part)
            data = _read(stream, name, length)
        if len(data) < length:
            raise BadRowError(f"{name} became shorter while it was read")
    view, row = memoryview(data), unit.start.row
    begin = len(UTF8_BOM) if unit.start.part == 0 and data.startswith(UTF8_BOM) else 0
    while begin < len(data):
        end = data.find(b"\n", begin)
        end = len(data) if end < 0 else end
        yield row, view[begin:end]
        begin, row = end + 1, row + 1


def _line_documents(source: Source, unit: Unit) -> Iterator[Document]:
    for row, line in _lines(source, unit):
        yield Document(unit.start.file, row, line[:-1] if line[-1:] == b"\r" else line)


def _json_documents(source: Source, unit: Unit) -> Iterator[Document]:
    for row, line in _lines(source, unit):
        if len(line) > LARGE_LINE_BYTES and (text := _large_text(source, line)) is not None:
            yield Document(unit.start.file, row, text)
        elif line[:1].tobytes().strip() or line.tobytes().strip():
            yield _json_document(source, unit.start.file, row, line.tobytes())


def _json_document(source: Source, file: int, row: int, line: bytes) -> Document:
    try:
        value = json.loads(line)
    except UnicodeDecodeError as error:
        return Document(file, row, bad=f"not UTF-8 ({error.reason} at byte {error.start} of the line)")
    except (ValueError, RecursionError) as error:
        return Document(file, row, bad=f"not JSON ({error})")
    if not isinstance(value, dict):
        return Document(file, row, bad=f"not JSON (an object was required, this is a {type(value).__name__})")
    text = value.get(source.text_field)
    if isinstance(text, str):
        return Document(file, row, utf8(text), _id(value.get(source.id_field)))
    if text is not None:
        return Document(file, row, bad=f"not text (a {type(text).__name__})")
    if source.text_field in value:
        return Document(file, row, bad="null")
    fields = ", ".join(value)[:200]
    return Document(file, row, bad=f"no text (there is no field {source.text_field!r}; there are: {fields})")


def _large_text(source: Source, line: memoryview) -> memoryview | None:
    """The text of a long line, read by Arrow; None for whatever is not simply text, which json.loads shall judge.

    json.loads makes two strs of a line, which one emoji makes four times larger each.
    """
    if source.id_field is not None:
        return None
    options = pyarrow.json.ParseOptions(
        explicit_schema=pa.schema([(source.text_field, pa.large_string())]), unexpected_field_behavior="ignore"
    )
    whole = pyarrow.json.ReadOptions(use_threads=False, block_size=len(line) + 1)
    try:
        table = pyarrow.json.read_json(pa.BufferReader(line), whole, options)
    except pa.ArrowException:
        return None
    if len(table) != 1 or (text := table[source.text_field][0].as_buffer()) is None:
        return None
    return memoryview(text)


@contextmanager
def _opened(source: Source, index: int) -> Iterator[BinaryIO]:
    """An open file that is the one which was found at the start, and still is after it was read.

    Whatever was read out of a file that changed meanwhile is of neither the old nor the new one.
    """
    file = source.files[index]
    try:
        stream = source.open(file)
    except OSError as error:
        raise BadRowError(f"{file.name} cannot be opened ({error.strerror or error})") from None
    with stream:
        check_unchanged(source, file)
        yield stream
        check_unchanged(source, file)


def check_unchanged(source: Source, file: SourceFile) -> None:
    """Raise BadRowError if a local file is not the one that was found at the start."""
    if source.dataset is None and SourceFile.local(file.path, file.name) != file:
        raise BadRowError(f"{file.name} was changed or removed while it was read")


def _unpacked(stream: BinaryIO, name: str) -> BinaryIO:
    kind = compression_of(name)
    return pa.CompressedInputStream(stream, kind) if kind else stream


def _read(stream: BinaryIO, name: str, size: int) -> bytes:
    """Up to `size` bytes (-1: all). A compressed file that ends too early raises, as damage does."""
    try:
        return stream.read() if size < 0 else stream.read(size)
    except OSError as error:
        raise BadRowError(f"{name} cannot be read to its end ({first_line(error)})") from None


def _id(value: Any) -> str | None:
    return None if value is None else str(value)


def first_line(error: Exception) -> str:
    """An error in at most 200 characters."""
    return str(error).split("\n")[0][:200] or type(error).__name__


READERS = {"parquet": _parquet_documents, "json": _json_documents, "lines": _line_documents, "text": _text_documents}
