"""Parquet files: a row group is a unit; the reader process cuts a row group that is too large for one.

Promise: a damaged row group, an encrypted file, or a file that is not Parquet is a bad row and not an error of the run.
Page checksums are verified if the file has them. Cost: each process reads the footer of a file once, and only the
columns that are needed. Text stays UTF-8 and is never made a str. A few kilobytes may hold gigabytes of text, as
references to one long value. So only as many rows are decoded at once as take about DECODED_BYTES.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import repeat
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bosrow.errors import BadRowError, first_line
from bosrow.sources.source import Source
from bosrow.sources.unit import UNIT_BYTES, BadRow, Document, Position, Unit, columns_of, damage, id_of, opened

DECODED_ROWS = 1024  # most rows of a row group that are decoded at once
DECODED_BYTES = 16 << 20  # about what they take at most, unless a single value is larger
SLICE_BYTES = 8 * UNIT_BYTES  # a slice of this size ends even if its rows are not a multiple of `step`
TAIL_BYTES = 8  # every Parquet file ends with the length of its footer and a magic number
SIGNATURE_BYTES = 28  # after the footer of a file with encrypted columns: nonce and tag of AES-GCM


def units_of(source: Source, start: Position) -> Iterator[Unit]:
    """The units of one file from `start` on."""
    with _parquet(source, start.file) as (stream, parquet):
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
                    yield from _slices(source, stream, parquet, columns, begin, end, first_row)
            first_row += metadata.num_rows


def _text_bytes(group: pq.RowGroupMetaData, columns: list[str]) -> int:
    return sum(chunk.total_uncompressed_size for chunk in _chunks(group, columns))


def _chunks(group: pq.RowGroupMetaData, columns: list[str]) -> list[pq.ColumnChunkMetaData]:
    chunks = (group.column(index) for index in range(group.num_columns))
    return [chunk for chunk in chunks if chunk.path_in_schema in columns]


def _slices(
    source: Source,
    stream: BinaryIO,
    parquet: pq.ParquetFile,
    columns: list[str],
    begin: Position,
    end: Position,
    row: int,
) -> Iterator[Unit]:
    """A row group that is too large for a unit, decoded here, as Arrow streams of about UNIT_BYTES each.

    `row` is the first row of the row group. Each slice but the last ends inside the row group, at a multiple of `step`
    rows unless these take more than SLICE_BYTES. The `next` of the last slice is the next row group.
    """
    metadata = parquet.metadata.row_group(begin.part)
    first, rows_of_a_unit = row, metadata.num_rows * UNIT_BYTES // _text_bytes(metadata, columns)
    step = max(1, min(rows_of_a_unit // 4, DECODED_ROWS))
    batches: list[pa.RecordBatch] = []
    size = 0
    try:
        for batch in _decoded(stream, parquet, begin.part, columns, step):
            row += batch.num_rows
            if row > begin.row:
                batches.append(batch.slice(max(0, begin.row - row + batch.num_rows)))
                size += batches[-1].nbytes
            full = size >= (SLICE_BYTES if (row - first) % step else UNIT_BYTES)
            if batches and (row == end.row or full):
                stop = end if row == end.row else Position(begin.file, begin.part, row)
                share = source.share(begin.file, row / parquet.metadata.num_rows)
                yield Unit(begin, stop, share, _to_stream(batches))
                begin, batches, size = stop, [], 0
    except (pa.ArrowException, OSError) as error:
        share = source.share(begin.file, end.row / parquet.metadata.num_rows)
        found = damage(f"row group {begin.part} cannot be read", error)
        yield Unit(begin, end, share, [BadRow(begin.file, begin.row, f"unreadable ({found})")])


def _decoded(
    stream: BinaryIO, parquet: pq.ParquetFile, group: int, columns: list[str], step: int
) -> Iterator[pa.RecordBatch]:
    """A row group in batches whose size divides `step` rows; the text, `columns[0]`, is large_string."""
    rows = min(step, max(1, DECODED_BYTES // max(1, _longest(stream, parquet, group, columns))))
    while step % rows:
        rows -= 1
    for batch in parquet.iter_batches(rows, row_groups=[group], columns=columns):
        text = batch.column(columns[0]).cast(pa.large_string(), safe=False)
        yield pa.record_batch({columns[0]: text} | {name: batch.column(name) for name in columns[1:]})


def _longest(stream: BinaryIO, parquet: pq.ParquetFile, group: int, columns: list[str]) -> int:
    """An upper bound, in bytes, of the values that are stored shorter than they are; 0 if there are none.

    Decodes one row of the same columns that are read afterwards, so that the same byte ranges are requested.
    """
    chunks = [
        chunk for chunk in _chunks(parquet.metadata.row_group(group), columns) if chunk.physical_type == "BYTE_ARRAY"
    ]
    # Each value repeats a prefix of the one before, so none is longer than all stored bytes together.
    bounds = [chunk.total_uncompressed_size for chunk in chunks if "DELTA_BYTE_ARRAY" in chunk.encodings]
    names = [chunk.path_in_schema for chunk in chunks if any("DICTIONARY" in encoding for encoding in chunk.encodings)]
    if names:
        reader = pq.ParquetFile(stream, metadata=parquet.metadata, read_dictionary=names)
        for batch in reader.iter_batches(1, row_groups=[group], columns=columns):
            dictionaries = [batch.column(name).dictionary for name in names]
            bounds += [pc.max(pc.binary_length(values)).as_py() or 0 for values in dictionaries]
            break
    return max(bounds, default=0)


def _to_stream(batches: list[pa.RecordBatch]) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema) as writer:
        while batches:
            writer.write_batch(batches.pop(0))
    return sink.getvalue().to_pybytes()


def documents_of(source: Source, unit: Unit) -> Iterator[Document | BadRow]:
    """The documents of a unit, in order."""
    row = unit.start.row
    try:
        for batch in _batches(source, unit):
            ids = batch.column(source.id_field) if source.id_field else repeat(None, batch.num_rows)
            for value, name in zip(batch.column(source.text_field), ids, strict=True):
                yield _document(unit.start.file, row, value, name)
                row += 1
    except (pa.ArrowException, OSError) as error:
        raise damage(f"row group {unit.start.part} cannot be read", error) from None
    if row != unit.next.row:
        raise BadRowError(f"row group {unit.start.part} ends at row {row}, the footer says {unit.next.row}")


def _document(file: int, row: int, value: pa.Scalar, name: pa.Scalar | None) -> Document | BadRow:
    text = value.as_buffer()  # not a str: one emoji makes that four times larger than UTF-8
    if text is None:
        return BadRow(file, row, "null")
    try:
        return Document(file, row, text, None if name is None else id_of(name.as_py()))
    except (ValueError, OverflowError) as error:  # not UTF-8, or a time beyond Python's
        return BadRow(file, row, f"unreadable id ({first_line(error)})")


def _batches(source: Source, unit: Unit) -> Iterator[pa.RecordBatch]:
    if isinstance(unit.payload, bytes):
        yield from pa.ipc.open_stream(unit.payload)
        return
    with _parquet(source, unit.start.file) as (stream, parquet):
        columns = columns_of(source, parquet.schema_arrow)
        yield from _decoded(stream, parquet, unit.start.part, columns, DECODED_ROWS)


@contextmanager
def _parquet(source: Source, index: int) -> Iterator[tuple[BinaryIO, pq.ParquetFile]]:
    with opened(source, index) as stream:
        try:
            parquet = pq.ParquetFile(stream, metadata=_footer(source, index), page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            raise damage(f"{source.files[index].name} is not a readable Parquet file", error) from None
        yield stream, parquet


@lru_cache(maxsize=2)
def _footer(source: Source, index: int) -> pq.FileMetaData:
    """The footer of a file, cached: on the Hub it is often a megabyte, and takes two requests."""
    with source.open(source.files[index]) as stream:
        return read_footer(stream)


def read_footer(stream: BinaryIO) -> pq.FileMetaData:
    """The footer of a file. Raises BadRowError if the file is encrypted: reading it with pyarrow would crash."""
    try:
        footer = pq.read_metadata(stream)
    except OSError:
        if not _tail(stream).endswith(b"PARE"):
            raise
        footer = None
    if footer is None or int.from_bytes(_tail(stream)[:4], "little") == footer.serialized_size + SIGNATURE_BYTES:
        raise BadRowError("it is encrypted, and bosrow takes no keys; write it again without encryption")
    return footer


def _tail(stream: BinaryIO) -> bytes:
    stream.seek(-TAIL_BYTES, 2)
    return stream.read(TAIL_BYTES)


def schema_of(source: Source, index: int) -> pa.Schema:
    """The columns of a file. Raises BadRowError if its footer is damaged, MachineError for any other fault."""
    try:
        return _footer(source, index).schema.to_arrow_schema()
    except (pa.ArrowException, OSError) as error:
        raise damage("its footer cannot be read", error) from None
