"""Reads the provenance of a data set: from a row to its documents, from a document to its rows, and all
documents back from a lossless data set.

Promise: files are checked against the manifest's row counts when opened, and a rebuilt document has exactly the
tokens that were read, or DataSetError says which is incomplete. Cost: a lookup reads the Parquet row groups that
can hold the answer; rebuilding is one pass over the shards and keeps only the documents that are not complete yet.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from bosrow.data.manifest import SPLITS, Manifest, read_manifest
from bosrow.data.options import LOSSLESS
from bosrow.data.packing import Piece
from bosrow.data.provenance import DOCUMENTS_PER_FILE, FOLDER, PIECE
from bosrow.errors import DataSetError, OptionError

Tokens = npt.NDArray[np.uint16]


class PlacedPiece(NamedTuple):
    """A piece and its place: `row` counts within the split."""

    split: str
    row: int
    column: int
    piece: Piece


@dataclass(frozen=True)
class DocumentInfo:
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
        self._rows = {info.name: info.rows for info in self.manifest.provenance}
        if not self._rows:
            raise DataSetError(f"{data_dir} was prepared with --no_provenance; prepare it again without that flag")
        lacking = [shard.name for shard in self.manifest.shards if _beside(shard.name) not in self._rows]
        if lacking:
            raise DataSetError(f"{data_dir} lacks the provenance of {', '.join(lacking[:5])}; the data set is damaged")

    @cached_property
    def documents(self) -> int:
        """How many documents were read."""
        return sum(rows for name, rows in self._rows.items() if name.startswith("documents_"))

    @property
    def has_ids(self) -> bool:
        """Whether ids were kept (--id_field)."""
        with self._open("documents_000000.parquet") as file:
            return "id" in file.schema_arrow.names

    @property
    def share_lost(self) -> float:
        """The share of the tokens read that neither a row nor a stored tail holds."""
        ledgers = list(self.manifest.ledger.values())
        read = sum(ledger["tokens_read"] for ledger in ledgers)
        kept = sum(ledger["tokens_placed"] for ledger in ledgers)
        if self.manifest.policy in LOSSLESS:
            kept += sum(ledger["tokens_tail"] for ledger in ledgers)
        return 1 - kept / max(1, read)

    def document(self, document: int) -> DocumentInfo:
        """What is known of a document. Raises OptionError if there is none of that number."""
        return self.documents_of([document])[document]

    def documents_of(self, documents: Iterable[int]) -> dict[int, DocumentInfo]:
        """What is known of each of `documents`. Raises OptionError if there is none of one of these numbers."""
        by_file: dict[str, list[int]] = {}
        for document in sorted(set(documents)):
            if not 0 <= document < self.documents:
                raise OptionError(f"there is no document {document}; {self.data_dir} has 0 to {self.documents - 1}")
            by_file.setdefault(f"documents_{document // DOCUMENTS_PER_FILE:06d}.parquet", []).append(document)
        lines = [
            line
            for name, chosen in by_file.items()
            for line in self._read(name, [("document", "in", chosen)]).to_pylist()
        ]
        return {line["document"]: DocumentInfo(**{"id": None} | line) for line in lines}

    def lengths(self) -> npt.NDArray[np.uint32]:
        """Tokens of each document, its BOS counted, by number: shape (documents,)."""
        parts = [self._read(name, None, ["tokens"])["tokens"].to_numpy() for name in self._document_files()]
        return np.concatenate(parts) if parts else np.empty(0, np.uint32)

    def places(self) -> tuple[list[str], npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """Where each document came from: names of source files, and by document a number among them and a row."""
        names: dict[str, int] = {}
        files, rows = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
        for name in self._document_files():
            columns = self._read(name, None, ["source_file", "source_row"])
            for chunk in columns["source_file"].chunks:
                numbers = [names.setdefault(file, len(names)) for file in chunk.dictionary.to_pylist()]
                files.append(np.array(numbers, np.int64)[chunk.indices.to_numpy()])
            rows.append(columns["source_row"].to_numpy())
        return list(names), np.concatenate(files), np.concatenate(rows)

    def tail(self, split: str) -> dict[str, npt.NDArray[Any]]:
        """The pieces of a split's unfilled last row, as `columns` has those of rows; empty where none is stored."""
        name, wanted = f"{split}_tail.parquet", ["length", "document", "offset", "added_bos"]
        lines = self._read(name, None, wanted) if name in self._rows else None
        return {column: np.empty(0, PIECE[column]) if lines is None else lines[column].to_numpy() for column in wanted}

    def columns(self, split: str) -> Iterator[dict[str, npt.NDArray[Any]]]:
        """All pieces of a split's rows in order, many at a time, as arrays; `row` counts within the split."""
        first = 0
        for shard in self.manifest.shards_of(split):
            for batch in self._batches(_beside(shard.name)):
                columns = {name: batch.column(name).to_numpy(zero_copy_only=False) for name in PIECE.names or ()}
                yield columns | {"row": columns["row"].astype(np.int64) + first}
            first += shard.rows

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
                for placed in self._placed(split, first, self._read(_beside(shard.name), [("row", "in", inside)])):
                    found[placed.row].append(placed)
            first += shard.rows
        for row, pieces in found.items():
            self._check_row(split, row, pieces)
        return found

    def _check_row(self, split: str, row: int, pieces: list[PlacedPiece]) -> None:
        """Raise DataSetError unless the pieces, one behind the other, make up a row."""
        end = 0
        for placed in pieces:
            if placed.column != end or placed.piece.document >= self.documents:
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
        found = []
        for split in SPLITS:
            first = 0
            for shard in self.manifest.shards_of(split):
                found += self._placed(split, first, self._read(_beside(shard.name), [("document", "=", document)]))
                first += shard.rows
        return sorted(found, key=lambda placed: placed.piece.offset)

    def rebuild(self, only: str | None = None) -> Iterator[tuple[DocumentInfo, Tokens]]:
        """All documents (`only`: those of one split) in order of reading, each with its tokens, own BOS first.

        Raises DataSetError where a document is incomplete (the data set was made by a lossy policy, or is damaged).
        """
        streams = {split: self._all_pieces(split) for split in SPLITS}
        growing: dict[int, tuple[list[Tokens], int]] = {}  # document -> its stretches so far, and their length
        for info in self._all_documents():
            if info.split is None and not self.manifest.rows_of("val"):
                info = replace(info, split="train")
            if info.split is None:
                raise DataSetError(f"{self.data_dir} has no split for its documents (it was made with --val_shards)")
            if only not in (None, info.split):
                continue
            while growing.get(info.document, ([], 0))[1] < info.tokens:
                arrived = next(streams[info.split], None)
                if arrived is None:
                    raise DataSetError(f"{self.data_dir} holds document {info.document} in part only")
                (document, offset, _, added_bos), tokens = arrived
                parts, length = growing.setdefault(document, ([], 0))
                new = tokens[added_bos + length - offset :]  # a stream row repeats the last token of the one before
                parts.append(new)
                growing[document] = parts, length + len(new)
            parts, _ = growing.pop(info.document)
            yield info, parts[0] if len(parts) == 1 else np.concatenate(parts)

    def rebuild_cropped(self) -> Iterator[tuple[DocumentInfo, Tokens]]:
        """What a data set made by a crop policy still has of each document, in order of reading.

        Such a policy places at most one piece of a document; those without one are left out. The places of all
        pieces are held in memory, since a document may wait in the buffer to the end.
        """
        placed = [(piece.document, split, tokens) for split in SPLITS for piece, tokens in self._all_pieces(split)]
        placed.sort(key=lambda item: item[0])
        infos = self._all_documents()
        for document, split, tokens in placed:
            info = next(info for info in infos if info.document == document)
            yield replace(info, split=split), tokens

    def _document_files(self) -> list[str]:
        return sorted(name for name in self._rows if name.startswith("documents_"))

    def _all_documents(self) -> Iterator[DocumentInfo]:
        for name in self._document_files():
            for batch in self._batches(name):
                columns = batch.to_pydict()
                ids = columns.get("id", [None] * len(batch))
                yield from map(
                    DocumentInfo,
                    columns["document"],
                    columns["source_file"],
                    columns["source_row"],
                    columns["tokens"],
                    columns["split"],
                    ids,
                )

    def _all_pieces(self, split: str) -> Iterator[tuple[Piece, Tokens]]:
        """Every piece of a split with its tokens, row by row, and then the tail's."""
        for shard in self.manifest.shards_of(split):
            shape = (shard.rows, self.manifest.row_tokens)
            # A plain array over the map: slices of a memmap itself take five times as long.
            rows = np.asarray(np.memmap(self.data_dir / shard.name, "<u2", "r", shape=shape))
            for batch in self._batches(_beside(shard.name)):
                names = ("row", "column", "document", "offset", "length", "added_bos")
                columns = [batch.column(name).to_pylist() for name in names]
                for row, column, document, offset, length, added_bos in zip(*columns, strict=True):
                    yield Piece(document, offset, length, added_bos), rows[row, column : column + length]
        yield from self.tail_pieces(split)

    def tail_pieces(self, split: str) -> Iterator[tuple[Piece, Tokens]]:
        """The pieces of a split's unfilled last row, with their tokens."""
        name = f"{split}_tail.parquet"
        if name in self._rows:
            for line in self._read(name, None).to_pylist():
                piece = Piece(line["document"], line["offset"], line["length"], line["added_bos"])
                yield piece, np.array(line["tokens"], np.uint16)

    def _placed(self, split: str, first: int, table: pa.Table) -> list[PlacedPiece]:
        return [
            PlacedPiece(
                split,
                first + line["row"],
                line["column"],
                Piece(line["document"], line["offset"], line["length"], line["added_bos"]),
            )
            for line in table.to_pylist()
        ]

    def _read(
        self, name: str, filters: list[tuple[str, str, Any]] | None, columns: list[str] | None = None
    ) -> pa.Table:
        self._open(name).close()
        with _whole(self.data_dir / FOLDER / name) as path:
            return pq.read_table(path, filters=filters, columns=columns)

    def _batches(self, name: str) -> Iterator[pa.RecordBatch]:
        with self._open(name) as file, _whole(self.data_dir / FOLDER / name):
            yield from file.iter_batches()

    def _open(self, name: str) -> pq.ParquetFile:
        with _whole(self.data_dir / FOLDER / name) as path:
            file = pq.ParquetFile(path)
        if file.metadata.num_rows != self._rows[name]:
            file.close()
            raise DataSetError(
                f"{self.data_dir / FOLDER / name} has {file.metadata.num_rows:,} lines, "
                f"meta.json says {self._rows[name]:,}; the data set is damaged"
            )
        lacking = _columns_of(name) - set(file.schema_arrow.names)
        if lacking:
            file.close()
            raise DataSetError(
                f"{self.data_dir / FOLDER / name} lacks the columns {', '.join(sorted(lacking))}; "
                "it was made by another version of bosrow: prepare the data set again"
            )
        return file


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """What pyarrow says of a file that it cannot read is said of the data set."""
    try:
        yield path
    except (pa.ArrowException, OSError) as error:
        why = " ".join(str(error).split())
        raise DataSetError(f"{path} is not readable Parquet ({why}); the data set is damaged") from None


def _columns_of(name: str) -> set[str]:
    """The columns that a provenance file must have."""
    if name.startswith("documents_"):
        return {"document", "source_file", "source_row", "tokens", "split"}
    return set(PIECE.names or ()) - ({"row", "column"} if name.endswith("_tail.parquet") else set())


def _beside(shard: str) -> str:
    """The provenance file of a shard."""
    return f"{Path(shard).stem}.parquet"
