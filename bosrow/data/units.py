"""A corpus as a fixed sequence of units, and a unit as documents.

`units_of` runs in the reader process: it walks the files in order and says what a worker is to read next. A
worker can find most units by itself (a Parquet row group, a stretch of an uncompressed local file); the
others (compressed files, oversized row groups, text files on the Hub) travel with their bytes as `payload`.
`documents_of` runs in a worker. Promise: the units, and the documents in them, depend on the corpus alone,
and `units_of` can begin at any unit's `next`. What is unusable inside a corpus becomes a document that is
`bad` and says why; whether that stops the run is for others to decide. A unit is about 16 MB of text, more
only for one larger document.
"""

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from bosrow.data.source import Source, compression_of, is_text
from bosrow.errors import BadRowError

UNIT_BYTES = 16 << 20
SLICE_ROWS = 64  # rows decoded at once from an oversized row group
UTF8_BOM = b"\xef\xbb\xbf"


class Position(NamedTuple):
    """Where a unit begins: file, then row group (Parquet) or byte of the unpacked file, then row of the file."""

    file: int = 0
    part: int = 0
    row: int = 0


@dataclass(frozen=True, slots=True)
class Unit:
    """What a worker reads at once: from `start` up to `next`, or the documents inside `payload`.

    `bad` says why a file, or the rest of it, could not be cut into units; `share` is the part of the file that
    lies before `next` (for the progress line).
    """

    start: Position
    next: Position
    share: float = 1.0
    payload: bytes | None = None
    bad: str | None = None


class Document(NamedTuple):
    """One row of the corpus. `text` is UTF-8 or a str; `bad` says why there is none: "kind (detail)"."""

    file: int
    row: int
    text: bytes | memoryview | str = b""
    id: str | None = None
    bad: str | None = None


def units_of(source: Source, start: Position) -> Iterator[Unit]:
    """The units from `start` to the end of the corpus."""
    if source.format == "text":
        yield from _text_files(source, start)
        return
    for index in range(start.file, len(source.files)):
        begin = start if index == start.file else Position(index)
        try:
            for unit in (_row_groups if source.format == "parquet" else _blocks)(source, begin):
                yield unit
                begin = unit.next
        except BadRowError as error:
            yield Unit(begin, Position(index + 1), bad=str(error))


def documents_of(source: Source, unit: Unit) -> Iterator[Document]:
    """The documents of a unit, in order."""
    if unit.bad is not None:
        yield Document(unit.start.file, unit.start.row, bad=f"unreadable ({unit.bad})")
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
        yield Unit(Position(first), Position(stop))
        first = stop


def _text_documents(source: Source, unit: Unit) -> Iterator[Document]:
    for index in range(unit.start.file, unit.next.file):
        name = source.files[index].name
        try:
            with _unpacked(source, index) as stream:
                yield Document(index, 0, _read(stream, name, -1).removeprefix(UTF8_BOM))
        except BadRowError as error:
            yield Document(index, 0, bad=f"unreadable ({error})")


def _row_groups(source: Source, start: Position) -> Iterator[Unit]:
    with _parquet(source, start.file) as parquet:
        columns = _columns(source, parquet, start.file)
        first_row = 0
        for group in range(parquet.num_row_groups):
            metadata = parquet.metadata.row_group(group)
            end = Position(start.file, group + 1, first_row + metadata.num_rows)
            if group >= start.part:
                begin = Position(start.file, group, max(first_row, start.row))
                if _text_bytes(metadata, columns) <= UNIT_BYTES:
                    yield Unit(begin, end, (group + 1) / parquet.num_row_groups)
                else:
                    yield from _slices(parquet, columns, begin, end, first_row)
            first_row += metadata.num_rows


def _text_bytes(group: pq.RowGroupMetaData, columns: list[str]) -> int:
    chunks = (group.column(index) for index in range(group.num_columns))
    return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] in columns)


def _slices(parquet: pq.ParquetFile, columns: list[str], begin: Position, end: Position, row: int) -> Iterator[Unit]:
    """An oversized row group, decoded here and handed on as Arrow streams of about a unit each.

    Each slice but the last ends inside the row group; the last one's `next` is the next row group.
    """
    batches: list[pa.RecordBatch] = []
    for batch in parquet.iter_batches(SLICE_ROWS, row_groups=[begin.part], columns=columns):
        row += batch.num_rows
        if row > begin.row:
            batches.append(batch)
        if batches and (row == end.row or sum(part.nbytes for part in batches) >= UNIT_BYTES):
            stop = end if row == end.row else Position(begin.file, begin.part, row)
            yield Unit(begin, stop, (row / max(1, parquet.metadata.num_rows)), _to_stream(batches))
            begin, batches = stop, []


def _to_stream(batches: list[pa.RecordBatch]) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def _parquet_documents(source: Source, unit: Unit) -> Iterator[Document]:
    try:
        if unit.payload is not None:
            table = pa.ipc.open_stream(unit.payload).read_all()
        else:
            with _parquet(source, unit.start.file) as parquet:
                columns = _columns(source, parquet, unit.start.file)
                table = parquet.read_row_group(unit.start.part, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise BadRowError(
            f"{source.files[unit.start.file].name}, row group {unit.start.part}, cannot be read ({_first_line(error)})"
        ) from None
    ids: Iterator[Any] = iter(table[source.id_field].to_pylist()) if source.id_field else iter([None] * len(table))
    row = unit.start.row
    for chunk in table[source.text_field].chunks:
        for text, name in zip(_utf8_of(chunk), ids, strict=False):
            yield Document(unit.start.file, row, text or b"", _id(name), None if text is not None else "null")
            row += 1


def _utf8_of(column: pa.Array) -> Iterator[memoryview | None]:
    """Each value's UTF-8 bytes, without making a Python string of it (one emoji makes that four times larger)."""
    for value in column.cast(pa.large_string(), safe=False) if not pa.types.is_large_string(column.type) else column:
        buffer = value.as_buffer()
        yield None if buffer is None else memoryview(buffer)


def _parquet(source: Source, index: int) -> pq.ParquetFile:
    file = source.files[index]
    try:
        return pq.ParquetFile(source.open(file), metadata=_footer(source, index), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise BadRowError(f"{file.name} is not a readable Parquet file ({_first_line(error)})") from None


@lru_cache(maxsize=2)
def _footer(source: Source, index: int) -> pq.FileMetaData:
    """Kept from row group to row group: on the Hub a footer is often a megabyte, and two requests."""
    with source.open(source.files[index]) as stream:
        return pq.read_metadata(stream)


def _columns(source: Source, parquet: pq.ParquetFile, index: int) -> list[str]:
    columns = [source.text_field] + ([source.id_field] if source.id_field else [])
    for column in columns:
        if column not in parquet.schema_arrow.names:
            names = ", ".join(parquet.schema_arrow.names)
            raise BadRowError(f"{source.files[index].name} has no column {column!r}; its columns are: {names}")
    kind = parquet.schema_arrow.field(source.text_field).type
    if not is_text(kind):
        raise BadRowError(f"{source.files[index].name}: column {source.text_field!r} holds {kind}, text was required")
    return columns


def _blocks(source: Source, start: Position) -> Iterator[Unit]:
    """A file of lines, cut after a line's end about every UNIT_BYTES of its unpacked bytes."""
    file = source.files[start.file]
    with _unpacked(source, start.file) as stream:
        if start.part:
            _skip(stream, start.part)
        travels = source.dataset is not None or compression_of(file.name) is not None
        rest, begin = b"", start
        while block := _read(stream, file.name, UNIT_BYTES):
            rest += block
            cut = rest.rfind(b"\n") + 1
            if cut:
                data, rest = rest[:cut], rest[cut:]
                end = Position(start.file, begin.part + cut, begin.row + data.count(b"\n"))
                yield Unit(begin, end, end.part / max(end.part, file.size), data if travels else None)
                begin = end
        if rest:
            end = Position(start.file, begin.part + len(rest), begin.row + 1)
            yield Unit(begin, end, 1.0, rest if travels else None)


def _read(stream: BinaryIO, name: str, size: int) -> bytes:
    try:
        return stream.read(size)
    except (EOFError, zlib.error, zstandard.ZstdError, OSError) as error:
        raise BadRowError(f"{name} cannot be unpacked to its end ({_first_line(error)})") from None


def _skip(stream: BinaryIO, length: int) -> None:
    if stream.seekable():
        stream.seek(length)
        return
    while length:
        length -= len(stream.read(min(length, UNIT_BYTES)))


def _lines(source: Source, unit: Unit) -> Iterator[tuple[int, bytes]]:
    data = unit.payload
    if data is None:
        with source.open(source.files[unit.start.file]) as stream:
            stream.seek(unit.start.part)
            data = stream.read(unit.next.part - unit.start.part)
    if unit.start.part == 0:
        data = data.removeprefix(UTF8_BOM)
    yield from enumerate(io.BytesIO(data), unit.start.row)


def _line_documents(source: Source, unit: Unit) -> Iterator[Document]:
    for row, line in _lines(source, unit):
        yield Document(unit.start.file, row, line.removesuffix(b"\n").removesuffix(b"\r"))


def _json_documents(source: Source, unit: Unit) -> Iterator[Document]:
    for row, line in _lines(source, unit):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Document(unit.start.file, row, bad=f"not JSON ({error})")
            continue
        if not isinstance(value, dict):
            yield Document(
                unit.start.file, row, bad=f"not JSON (an object was required, this is a {type(value).__name__})"
            )
            continue
        text = value.get(source.text_field)
        if isinstance(text, str):
            yield Document(unit.start.file, row, text, _id(value.get(source.id_field)))
        elif source.text_field in value:
            yield Document(unit.start.file, row, bad="null" if text is None else f"not text (a {type(text).__name__})")
        else:
            yield Document(
                unit.start.file,
                row,
                bad=f"no text (there is no field {source.text_field!r}; there are: {', '.join(value)[:200]})",
            )


READERS = {"parquet": _parquet_documents, "json": _json_documents, "lines": _line_documents, "text": _text_documents}


def _unpacked(source: Source, index: int) -> BinaryIO:
    file = source.files[index]
    kind = compression_of(file.name)
    try:
        stream = source.open(file)
    except OSError as error:
        raise BadRowError(f"{file.name} cannot be opened ({error.strerror or error})") from None
    if kind == "gzip":
        return gzip.open(stream)  # type: ignore[return-value]
    if kind == "zstd":
        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True))
    return stream


def _id(value: Any) -> str | None:
    return None if value is None else str(value)


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0][:200] or type(error).__name__
