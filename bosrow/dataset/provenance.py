"""Looks things up in the provenance of a data set: from a row to its documents, from a document to its rows.

Promise: files are checked against the manifest when opened, and pieces against the rows, so what is said of a row
or a document fits the data set, or DataSetError says what does not. Cost: a lookup reads the Parquet row groups
that can hold the answer.
"""

from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bosrow.dataset.manifest import SPLITS, Manifest, ShardInfo, read_manifest
from bosrow.dataset.provenance_file import TAIL, Columns, ProvenanceFile, as_array
from bosrow.dataset.provenance_writer import DOCUMENTS_PER_FILE, FOLDER, PIECE
from bosrow.errors import DataSetError, OptionError
from bosrow.packing.policy import Piece
from bosrow.packing.table import LOSSLESS

Tokens = npt.NDArray[np.uint16]


class PlacedPiece(NamedTuple):
    """A piece and its place: `row` counts within the split."""

    split: str
    row: int
    column: int
    piece: Piece


class DocumentInfo(NamedTuple):
    """A document as it was read. `split` is None where --val_shards gave rows, not documents, to the splits."""

    document: int
    source_file: str
    source_row: int
    tokens: int
    split: str | None
    id: str | None


class Provenance:
    """The provenance of the data set in `data_dir`. Raises DataSetError where it has none or does not fit."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.manifest: Manifest = read_manifest(data_dir)
        self._lines = {info.name: info.rows for info in self.manifest.provenance}
        if not self._lines:
            raise DataSetError(f"{data_dir} was prepared with --no_provenance; prepare it again without that flag")
        lacking = [shard.name for shard in self.manifest.shards if _beside(shard) not in self._lines]
        if lacking:
            raise DataSetError(f"{data_dir} lacks the provenance of {', '.join(lacking[:5])}; the data set is damaged")

    @cached_property
    def documents(self) -> int:
        """How many documents were read."""
        return sum(self._lines[name] for name in self._document_files())

    @property
    def has_ids(self) -> bool:
        """Whether ids were kept (--id_field)."""
        return self._file("documents_000000.parquet").has_ids

    @property
    def share_lost(self) -> float:
        """The share of the tokens read that neither a row nor a stored tail holds."""
        ledgers = self.manifest.ledgers.values()
        read = sum(ledger.tokens_read for ledger in ledgers)
        kept = sum(ledger.tokens_placed for ledger in ledgers)
        if self.manifest.policy in LOSSLESS:
            kept += sum(ledger.tokens_tail for ledger in ledgers)
        return 1 - kept / max(1, read)

    def document(self, document: int) -> DocumentInfo:
        """What is known of a document. Raises OptionError if there is none of that number."""
        return self.documents_of([document])[document]

    def documents_of(self, documents: Iterable[int]) -> dict[int, DocumentInfo]:
        """What is known of each of `documents`. Raises OptionError if there is none of one of these numbers."""
        wanted: dict[str, set[int]] = {}
        for document in documents:
            if not 0 <= document < self.documents:
                raise OptionError(f"there is no document {document}; {self.data_dir} has 0 to {self.documents - 1}")
            name = f"documents_{document // DOCUMENTS_PER_FILE:06d}.parquet"
            wanted.setdefault(name, set()).add(document)
        found = {
            info.document: info
            for name, chosen in wanted.items()
            for table in self._file(name).tables(only=("document", chosen))
            for info in self._infos(name, table)
            if info.document in chosen
        }
        if lacking := set().union(*wanted.values()).difference(found):
            raise DataSetError(f"{self.data_dir} says nothing of document {min(lacking)}; the data set is damaged")
        return found

    def all_documents(self) -> Iterator[DocumentInfo]:
        """What is known of every document, in order of reading."""
        for name, table in self._document_tables():
            yield from self._infos(name, table)

    def lengths(self) -> npt.NDArray[np.uint32]:
        """Tokens of each document, its BOS counted, by number: shape (documents,)."""
        parts = [as_array(table["tokens"]) for _, table in self._document_tables(["tokens"])]
        return np.concatenate([np.empty(0, np.uint32), *parts])

    def places(self) -> tuple[list[str], npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """Where each document came from: names of source files, and by document a number among them and a row."""
        numbers: dict[str | None, int] = {}
        files, rows = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
        for name, table in self._document_tables(["source_file", "source_row"]):
            names, indices = _categories(name, table["source_file"], self._source_files)
            found = np.array([numbers.setdefault(file, len(numbers)) for file in names], np.int64)
            files.append(found[indices])
            rows.append(as_array(table["source_row"]))
        return [str(name) for name in numbers], np.concatenate(files), np.concatenate(rows)

    def tail(self, split: str) -> tuple[Columns, Tokens]:
        """The pieces of a split's unfilled last row, as `pieces` has them, and their tokens one after the other."""
        name = f"{split}_tail.parquet"
        columns: Columns = {field.name: np.empty(0, PIECE[field.name]) for field in TAIL if field.name != "tokens"}
        tokens = np.empty(0, np.uint16)
        for table in self._file(name).tables() if name in self._lines else ():
            lists = table["tokens"].combine_chunks()
            ends = np.from_dlpack(lists.offsets)
            tokens = np.concatenate([tokens, np.from_dlpack(lists.values)[ends[0] : ends[-1]]])
            if np.diff(ends).tolist() != as_array(table["length"]).tolist():
                raise DataSetError(f"{name}: a piece has not the tokens that its length says; the data set is damaged")
            columns = {key: np.concatenate([columns[key], as_array(table[key])]) for key in columns}
        return columns, tokens

    def columns(self, split: str) -> Iterator[Columns]:
        """All pieces of a split's rows in order, many at a time, as arrays; `row` counts within the split."""
        first = 0
        for shard in self.manifest.shards_of(split):
            for pieces in self.pieces(shard):
                yield pieces | {"row": pieces["row"].astype(np.int64) + first}
            first += shard.rows

    def pieces(self, shard: ShardInfo, only: tuple[str, Collection[int]] | None = None) -> Iterator[Columns]:
        """The pieces of a shard in order, many at a time (`only`: those of which a column has one of some values).

        `row` counts within the shard. Raises DataSetError for a piece that the shard cannot hold.
        """
        name, row_tokens = _beside(shard), self.manifest.row_tokens
        for pieces in self._file(name).arrays(only=only):
            outside = (pieces["row"] >= shard.rows) | (pieces["document"] >= self.documents)
            outside |= pieces["column"].astype(np.int64) + pieces["length"] > row_tokens
            outside |= pieces["length"] == 0
            if outside.any():
                line = {key: column[outside][0].item() for key, column in pieces.items()}
                raise DataSetError(f"{name} has a piece outside the rows ({line}); the data set is damaged")
            yield pieces

    def pieces_of_row(self, split: str, row: int) -> list[PlacedPiece]:
        """The pieces of a row (counted within the split), left to right. Raises OptionError if out of range."""
        return self.pieces_of_rows(split, [row])[row]

    def pieces_of_rows(self, split: str, rows: Iterable[int]) -> dict[int, list[PlacedPiece]]:
        """The pieces of each of `rows` (counted within the split), left to right. Raises OptionError for others."""
        wanted = sorted(set(rows))
        total = self.manifest.rows_of(split)
        if not total:
            raise OptionError(f"{self.data_dir} has no {split} rows")
        for row in wanted:
            if not 0 <= row < total:
                raise OptionError(f"there is no {split} row {row}; {self.data_dir} has 0 to {total - 1}")
        found: dict[int, list[PlacedPiece]] = {row: [] for row in wanted}
        first = 0
        for shard in self.manifest.shards_of(split):
            inside = [row - first for row in wanted if first <= row < first + shard.rows]
            if inside:
                for placed in self._placed(shard, first, ("row", inside)):
                    found[placed.row].append(placed)
            first += shard.rows
        for row, pieces in found.items():
            self._check_row(split, row, pieces)
        return found

    def _check_row(self, split: str, row: int, pieces: list[PlacedPiece]) -> None:
        """Raise DataSetError unless the pieces, one behind the other, make up a row."""
        end = 0
        for placed in pieces:
            if placed.column != end:
                break
            end += placed.piece.length
        else:
            if end == self.manifest.row_tokens:
                return
        raise DataSetError(
            f"the provenance of {split} row {row} in {self.data_dir} does not make up a row of "
            f"{self.manifest.row_tokens:,} tokens; the data set is damaged"
        )

    def pieces_of_document(self, document: int) -> list[PlacedPiece]:
        """Where a document is, in order of its offsets; empty if no row holds any of it."""
        found: list[PlacedPiece] = []
        for split in SPLITS:
            first = 0
            for shard in self.manifest.shards_of(split):
                found += self._placed(shard, first, ("document", [document]))
                first += shard.rows
        return sorted(found, key=lambda placed: placed.piece.offset)

    def _placed(self, shard: ShardInfo, first: int, only: tuple[str, Collection[int]]) -> Iterator[PlacedPiece]:
        for pieces in self.pieces(shard, only):
            for row, column, length, document, offset, added_bos in zip(
                *(pieces[name].tolist() for name in PIECE.names or ()), strict=True
            ):
                yield PlacedPiece(shard.split, first + row, column, Piece(document, offset, length, added_bos))

    def _document_tables(self, columns: list[str] | None = None) -> Iterator[tuple[str, pa.Table]]:
        """All documents in order, many at a time, and the name of the file they are in."""
        first = 0
        for name in self._document_files():
            for table in self._file(name).tables(columns and ["document", *columns]):
                if not np.array_equal(as_array(table["document"]), np.arange(first, first + len(table))):
                    raise DataSetError(f"{name} does not go on with document {first}; the data set is damaged")
                if "tokens" in table.column_names and not as_array(table["tokens"]).all():
                    raise DataSetError(f"{name} has a document of no tokens, not even BOS; the data set is damaged")
                first += len(table)
                yield name, table

    def _infos(self, name: str, table: pa.Table) -> Iterator[DocumentInfo]:
        files, file_of = _categories(name, table["source_file"], self._source_files)
        splits, split_of = _categories(name, table["split"], SPLITS)
        numbers, rows, tokens = (as_array(table[key]).tolist() for key in ("document", "source_row", "tokens"))
        ids = table["id"].to_pylist() if "id" in table.column_names else [None] * len(table)
        file_names = [files[index] for index in file_of]
        split_names = [splits[index] for index in split_of]
        yield from map(DocumentInfo, numbers, file_names, rows, tokens, split_names, ids)

    @cached_property
    def _source_files(self) -> frozenset[str]:
        return frozenset(self.manifest.source_files)

    def _document_files(self) -> list[str]:
        return sorted(name for name in self._lines if name.startswith("documents_"))

    def _file(self, name: str) -> ProvenanceFile:
        if name not in self._lines:
            raise DataSetError(f"{self.data_dir} lacks {FOLDER}/{name}; the data set is damaged")
        return ProvenanceFile(self.data_dir / FOLDER / name, self._lines[name])


def _beside(shard: ShardInfo) -> str:
    """The provenance file of a shard."""
    return f"{Path(shard.name).stem}.parquet"


def _categories(name: str, column: pa.ChunkedArray, known: Collection[str]) -> tuple[list[str | None], list[int]]:
    """The words of a column that was stored as numbers of words, None last, and each line's number."""
    (chunk,) = column.chunks or [pa.array([], column.type)]
    words = chunk.dictionary.to_pylist()
    for word in words:
        if word not in known:
            raise DataSetError(f"{name} has {word!r} where meta.json has no such name; the data set is damaged")
    return [*words, None], [-1 if index is None else index for index in chunk.indices.to_pylist()]
