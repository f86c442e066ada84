"""Writes the provenance: a log of documents, and for each packer a log of pieces.

While a file is open, its lines are in an append-only file of fixed-size records, which a resumed run truncates like a
shard. When the file is complete, it is rewritten as Parquet. Promise: its bytes depend on the lines alone, since row
groups have a fixed size. Cost: about 10 bytes a piece and a few microseconds a document.
"""

import io
import os
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from bosrow.dataset.manifest import MOST_LINES, ProvenanceInfo, ShardInfo
from bosrow.dataset.provenance_layout import (
    DOCUMENT,
    DOCUMENTS_PER_FILE,
    FOLDER,
    PIECE_COLUMNS,
    SPLIT_CODES,
    TAIL_COLUMNS,
    documents_file,
    piece_dtype,
    pieces_file,
    tail_file,
)
from bosrow.errors import MachineError
from bosrow.files import AppendFile, check_size, replace_with, sha256_of
from bosrow.packing.policy import Piece
from bosrow.strict_json import Count, Invalid, Record
from bosrow.tokenizers.token_ids import TokenArray, TokenDtype

ROW_GROUP_LINES = 1 << 17
FLUSH_RECORDS = 4096
FLUSH_BYTES = 1 << 16
SINK_BYTES = 1 << 20

# Numbers that grow from line to line take almost no space as differences.
DELTA = "DELTA_BINARY_PACKED"
PIECE_ENCODINGS = {"row": DELTA, "column": DELTA, "length": DELTA, "document": DELTA, "offset": DELTA}
DOCUMENT_ENCODINGS = {"document": DELTA, "source_row": DELTA, "tokens": DELTA}


class RecordFile:
    """An open file of fixed-size records that becomes a Parquet file when it is complete."""

    def __init__(self, path: Path, dtype: np.dtype[Any], records: int = 0) -> None:
        self.dtype = dtype
        self.file = AppendFile(path, records * dtype.itemsize)

    def __len__(self) -> int:
        return self.file.length // self.dtype.itemsize

    def chunks(self) -> Iterator[npt.NDArray[np.void]]:
        """All records, a row group's worth at a time."""
        with open(self.file.path, "rb") as file:
            while data := file.read(ROW_GROUP_LINES * self.dtype.itemsize):
                yield np.frombuffer(data, self.dtype)


class PieceLogState(Record):
    """The complete files; and the open shard with its number of pieces, if one is open."""

    closed: list[ProvenanceInfo]
    open: tuple[str, Count] | None


class DocumentLogState(Record):
    """The complete files; the number of documents in the open file, and the bytes of their ids."""

    closed: list[ProvenanceInfo]
    records: Count
    ids_bytes: Count


class PieceLog:
    """Records the pieces of one packer's rows, of `row_tokens` tokens each, in a file for each shard."""

    def __init__(self, out_dir: Path, row_tokens: int) -> None:
        self.folder = out_dir / FOLDER
        self._piece = piece_dtype(row_tokens)
        self.closed: list[ProvenanceInfo] = []
        self.outdated: list[Path] = []  # record files to delete when the next state is written
        self._open: RecordFile | None = None
        self._rows: list[int] = []  # rows whose pieces are not written yet
        self._pieces_of_row: list[int] = []
        self._pieces: list[Piece] = []

    def add(self, shard: str, row: int, pieces: list[Piece]) -> None:
        """Record the pieces of a row (counted within the shard)."""
        if self._open is None:
            self._open = RecordFile(self._path(shard), self._piece)
        self._rows.append(row)
        self._pieces_of_row.append(len(pieces))
        self._pieces += pieces
        if len(self._pieces) >= FLUSH_RECORDS:
            self._flush()

    def _flush(self) -> None:
        """Write all waiting pieces to the file."""
        if self._open is None or not self._pieces:
            return
        values = np.fromiter(chain.from_iterable(self._pieces), np.int64).reshape(-1, len(Piece._fields))
        records = np.empty(len(values), self._piece)
        for name, column in zip(Piece._fields, values.T, strict=True):
            records[name] = column
        first = np.cumsum([0, *self._pieces_of_row[:-1]])  # index of each row's first piece
        starts = np.cumsum(records["length"], dtype=np.int64) - records["length"]
        records["row"] = np.repeat(self._rows, self._pieces_of_row)
        records["column"] = starts - np.repeat(starts[first], self._pieces_of_row)
        self._open.file.write(records.tobytes())
        self._rows.clear()
        self._pieces_of_row.clear()
        self._pieces.clear()

    def close(self, shard: str) -> None:
        """Write the pieces of the open shard, which is complete, as Parquet."""
        self._flush()
        assert self._open is not None
        path = self.folder / pieces_file(shard)
        tables = (pa.table({name: as_column(chunk[name]) for name in PIECE_COLUMNS}) for chunk in self._open.chunks())
        self.closed.append(write_parquet(path, tables, PIECE_ENCODINGS))
        self._open.file.close()
        self.outdated.append(self._open.file.path)
        self._open = None

    def write_tail(self, split: str, pieces: list[Piece], tokens: list[TokenArray], dtype: TokenDtype) -> None:
        """Store the pieces of the unfilled last row, which is in no shard, and its `tokens`, of `dtype`."""
        columns = np.array(pieces, np.dtype([(name, self._piece[name]) for name in Piece._fields]))
        ends = np.cumsum([0, *map(len, tokens)], dtype=np.int32)
        flat = np.concatenate([*tokens, np.empty(0, dtype)])
        table = pa.table(
            {name: as_column(columns[name]) for name in TAIL_COLUMNS}
            | {"tokens": pa.ListArray.from_arrays(as_column(ends), as_column(flat))}
        )
        self.closed.append(write_parquet(self.folder / tail_file(split), iter([table]), {}))

    def state(self, shard: str) -> PieceLogState:
        """Make all pieces durable. Returns what to record; `shard` is the open one."""
        self._flush()
        if self._open is not None:
            self._open.file.sync()
        opened = None if self._open is None else (shard, len(self._open))
        return PieceLogState(closed=list(self.closed), open=opened)

    def restore(self, state: PieceLogState, shards: list[ShardInfo], open_shard: str | None) -> None:
        """Take over what `state` returned. Raises Invalid unless it fits these complete shards and the open one."""
        self.closed = _closed(self.folder, state.closed, [pieces_file(shard.name) for shard in shards])
        shard, records = state.open or (None, 0)
        if shard != open_shard or (records > 0) != (open_shard is not None):
            raise Invalid(f"the pieces are not of the open shard, {open_shard}")

    def reopen(self, state: PieceLogState) -> None:
        """After `restore`: truncate the open file to its pieces."""
        if state.open:
            shard, records = state.open
            self._open = RecordFile(self._path(shard), self._piece, records)

    @property
    def files(self) -> set[str]:
        """Names of the files that exist according to this log."""
        return {info.name for info in self.closed} | ({self._open.file.path.name} if self._open is not None else set())

    def _path(self, shard: str) -> Path:
        return self.folder / f"{Path(shard).stem}.pieces"


class DocumentLog:
    """Records a line for each document, in order of reading. `names`: the source's files; `with_ids`: ids too."""

    def __init__(self, out_dir: Path, names: list[str], with_ids: bool) -> None:
        self.folder = out_dir / FOLDER
        self.names = names
        self.with_ids = with_ids
        self.closed: list[ProvenanceInfo] = []
        self.outdated: list[Path] = []
        self._open: RecordFile | None = None
        self._ids: AppendFile | None = None
        self._lines = 0  # of the open file, with those not written yet
        self._waiting: list[tuple[int, int, int, int]] = []
        self._waiting_ids = bytearray()

    def add(self, place: tuple[int, int], tokens: int, split: str | None, document_id: str | None) -> None:
        """Record the next document: (file, row) in the source, length in tokens, split if it has one, id."""
        if self._open is None:
            self._open = RecordFile(self._path("documents"), DOCUMENT)
            self._ids = AppendFile(self._path("ids")) if self.with_ids else None
        self._lines += 1
        self._waiting.append((*place, tokens, SPLIT_CODES[split]))
        if self._ids:
            text = (document_id or "").encode(errors="replace")
            self._waiting_ids += (NO_ID if document_id is None else len(text)).to_bytes(4, "little") + text
        if len(self._waiting) >= FLUSH_RECORDS or len(self._waiting_ids) > FLUSH_BYTES:
            self._flush()
        if self._lines == DOCUMENTS_PER_FILE:
            self.close()

    def close(self) -> None:
        """Write the open file's documents as Parquet."""
        if self._open is None:
            return
        self._flush()
        path = self.folder / documents_file(len(self.closed))
        first = len(self.closed) * DOCUMENTS_PER_FILE
        self.closed.append(write_parquet(path, self._tables(first), DOCUMENT_ENCODINGS))
        self._open.file.close()
        self.outdated.append(self._open.file.path)
        if self._ids:
            self._ids.close()
            self.outdated.append(self._ids.path)
        self._open = self._ids = None
        self._lines = 0

    def _flush(self) -> None:
        """Write all waiting lines to the files."""
        if self._open is not None and self._waiting:
            self._open.file.write(np.array(self._waiting, DOCUMENT).tobytes())
            self._waiting.clear()
        if self._ids and self._waiting_ids:
            self._ids.write(bytes(self._waiting_ids))
            self._waiting_ids.clear()

    def _tables(self, first: int) -> Iterator[pa.Table]:
        assert self._open is not None
        ids = read_ids(self._ids.path) if self._ids else None
        names = as_strings(self.names)
        for chunk in self._open.chunks():
            columns = {
                "document": as_column(np.arange(first, first + len(chunk), dtype=np.uint64)),
                "source_file": pa.DictionaryArray.from_arrays(as_column(chunk["source_file"].astype(np.int32)), names),
                "source_row": as_column(chunk["source_row"]),
                "tokens": as_column(chunk["tokens"]),
                "split": pa.DictionaryArray.from_arrays(
                    as_column(chunk["split"], chunk["split"] >= 0), as_strings(["train", "val"])
                ),
            }
            if ids is not None:
                columns["id"] = as_strings([next(ids) for _ in range(len(chunk))])
            first += len(chunk)
            yield pa.table(columns)

    def state(self) -> DocumentLogState:
        """Make all lines durable. Returns what to record."""
        self._flush()
        if self._open is not None:
            self._open.file.sync()
            if self._ids:
                self._ids.sync()
        ids_bytes = self._ids.length if self._ids else 0
        return DocumentLogState(closed=list(self.closed), records=self._lines, ids_bytes=ids_bytes)

    def restore(self, state: DocumentLogState, documents: int) -> None:
        """Take over what `state` returned. Raises Invalid unless it is of `documents` documents."""
        files, self._lines = divmod(documents, DOCUMENTS_PER_FILE)
        if len(state.closed) != files or state.records != self._lines:
            raise Invalid(f"the log of documents does not have the {documents} that were read")
        self.closed = _closed(self.folder, state.closed, [documents_file(number) for number in range(files)])
        ids_bytes = _ids_bytes(self._path("ids"), self._lines) if self.with_ids and self._lines else 0
        if state.ids_bytes != ids_bytes:
            raise Invalid(f"the ids of {self._lines} documents are said to end at byte {state.ids_bytes}")

    def reopen(self, state: DocumentLogState) -> None:
        """After `restore`: truncate the open files to their lines."""
        if self._lines:
            self._open = RecordFile(self._path("documents"), DOCUMENT, self._lines)
            self._ids = AppendFile(self._path("ids"), state.ids_bytes) if self.with_ids else None

    @property
    def files(self) -> set[str]:
        """Names of the files that exist according to this log."""
        opened = {self._open.file.path.name} if self._open is not None else set()
        return {info.name for info in self.closed} | opened | ({self._ids.path.name} if self._ids else set())

    def _path(self, kind: str) -> Path:
        return self.folder / f"documents_{len(self.closed):06d}.{kind}"


def _closed(folder: Path, infos: list[ProvenanceInfo], names: list[str]) -> list[ProvenanceInfo]:
    """The complete files that a state names. Raises Invalid unless they are those of `names`."""
    if [info.name for info in infos] != names:
        raise Invalid(f"it names {len(infos)} complete provenance files, but there must be {len(names)}")
    for info in infos:
        if not 0 < info.rows <= MOST_LINES:
            raise Invalid(f"{info.name} is said to have {info.rows} lines")
        check_size(folder / info.name, info.bytes)
    return list(infos)


NO_ID = 0xFFFFFFFF  # the length that stands for a document without an id


def read_ids(path: Path) -> Iterator[str | None]:
    """The ids of an open documents file, in order."""
    with open(path, "rb") as file:
        while head := file.read(4):
            length = int.from_bytes(head, "little")
            yield None if length == NO_ID else file.read(length).decode()


def _ids_bytes(path: Path, documents: int) -> int:
    """How many bytes the first `documents` ids take in the ids file at `path`."""
    sha256_of(path, 0)  # raises an error if the file is missing
    with open(path, "rb") as file:
        for _ in range(documents):
            length = int.from_bytes(file.read(4), "little")
            file.seek(0 if length == NO_ID else length, os.SEEK_CUR)
        return file.tell()


def as_column(values: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """An array as an Arrow array, null where not `valid`. (pa.array() would import pandas: a third of a second.)"""
    bits = [None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))]
    data = np.packbits(values, bitorder="little") if values.dtype == bool else np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [*bits, pa.py_buffer(data)])


def as_strings(texts: Sequence[str | None]) -> pa.Array:
    """Texts as an Arrow array."""
    data = [b"" if text is None else text.encode() for text in texts]
    valid = np.packbits([text is not None for text in texts], bitorder="little")
    ends = np.cumsum([0, *map(len, data)], dtype=np.int32)
    return pa.StringArray.from_buffers(
        len(texts), pa.py_buffer(ends), pa.py_buffer(b"".join(data)), pa.py_buffer(valid)
    )


def write_parquet(path: Path, tables: Iterator[pa.Table], encodings: dict[str, str]) -> ProvenanceInfo:
    """Write `tables`, each a row group, durably; the bytes depend on them alone. Raises MachineError."""
    file = AppendFile(path.with_suffix(".parquet.tmp"))
    try:
        first = next(tables)
        dictionary = [name for name in first.column_names if name not in encodings and name != "tokens"]
        sink = Sink(file)
        with pq.ParquetWriter(
            sink, first.schema, compression="zstd", use_dictionary=dictionary, column_encoding=encodings or None
        ) as writer:
            lines = 0
            for table in (first, *tables):
                writer.write_table(table, row_group_size=ROW_GROUP_LINES)
                lines += len(table)
        sink.write_block()
        file.close()
        replace_with(file.path, path)
    except MachineError:
        file.close()
        file.path.unlink()  # it would take room on a full disk
        raise
    return ProvenanceInfo(name=path.name, rows=lines, bytes=file.length, sha256=file.digest.hexdigest())


class Sink(io.RawIOBase):
    """A file object that writes to an AppendFile. pyarrow writes a column at a time; here they make a block."""

    def __init__(self, file: AppendFile) -> None:
        self.file = file
        self.waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.waiting += data
        if len(self.waiting) >= SINK_BYTES:
            self.write_block()
        return memoryview(data).nbytes

    def write_block(self) -> None:
        """Write the collected bytes to the file."""
        self.file.write(bytes(self.waiting))
        self.waiting.clear()
