"""The pieces of a data set: which tokens of which document are at which place of which row.

Promise: each piece lies inside the rows and names a document that exists, and the pieces of a row that was asked for
fill it exactly; otherwise DataSetError says which do not. Cost: looking up rows or a document reads the Parquet row
groups that can hold them (131,072 pieces each). For rows these are a few, since pieces are in order of rows; for a
document they may be all. `of_split` and `of_shard` yield arrays of up to 131,072 pieces.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from bosrow.dataset.manifest import SPLITS, Manifest, ShardInfo
from bosrow.dataset.provenance_layout import (
    PIECE_COLUMNS,
    TAIL_COLUMNS,
    PieceColumns,
    piece_dtype,
    pieces_file,
    tail_file,
)
from bosrow.dataset.provenance_parquet import ProvenanceFiles, as_array
from bosrow.errors import DataSetError, OptionError
from bosrow.packing.policy import Piece
from bosrow.tokenizers.token_ids import TokenArray


class PlacedPiece(NamedTuple):
    """A piece and its place: `row` counts within the split."""

    split: str
    row: int
    column: int
    piece: Piece


class PieceTable:
    """The pieces of all rows: by row, by document, or read through in order."""

    def __init__(self, manifest: Manifest, files: ProvenanceFiles, *, documents: int) -> None:
        self._manifest = manifest
        self._files = files
        self._documents = documents

    def of_row(self, split: str, row: int) -> list[PlacedPiece]:
        """The pieces of a row (counted within the split), left to right. Raises OptionError if out of range."""
        return self.of_rows(split, [row])[row]

    def of_rows(self, split: str, rows: Iterable[int]) -> dict[int, list[PlacedPiece]]:
        """The pieces of each of `rows` (counted within the split), left to right. Raises OptionError as `of_row`."""
        wanted = sorted(set(rows))
        total = self._manifest.rows_of(split)
        if not total:
            raise OptionError(f"{self._files.data_dir} has no {split} rows")
        for row in wanted:
            if not 0 <= row < total:
                raise OptionError(f"there is no {split} row {row}; {self._files.data_dir} has 0 to {total - 1}")
        found: dict[int, list[PlacedPiece]] = {row: [] for row in wanted}
        for first, shard in self._shards(split):
            inside = [row - first for row in wanted if first <= row < first + shard.rows]
            if inside:
                for placed in self._placed(shard, first, ("row", inside)):
                    found[placed.row].append(placed)
        for row, pieces in found.items():
            self._check_row(split, row, pieces)
        return found

    def of_document(self, document: int) -> list[PlacedPiece]:
        """The pieces of a document, in order of their offsets; empty if no row holds any of it."""
        found = [
            placed
            for split in SPLITS
            for first, shard in self._shards(split)
            for placed in self._placed(shard, first, ("document", [document]))
        ]
        return sorted(found, key=lambda placed: placed.piece.offset)

    def of_split(self, split: str) -> Iterator[PieceColumns]:
        """All pieces of a split's rows in order; `row` counts within the split."""
        for first, shard in self._shards(split):
            for pieces in self.of_shard(shard):
                yield pieces | {"row": pieces["row"].astype(np.int64) + first}

    def of_shard(self, shard: ShardInfo, only: tuple[str, Collection[int]] | None = None) -> Iterator[PieceColumns]:
        """The pieces of a shard in order; with `only`, a column and values, the pieces that have one of the values.

        `row` counts within the shard. Raises DataSetError for a piece that the shard cannot hold.
        """
        name, row_tokens = pieces_file(shard.name), self._manifest.row_tokens
        for pieces in self._files.open(name).arrays(only=only):
            outside = (pieces["row"] >= shard.rows) | (pieces["document"] >= self._documents)
            outside |= pieces["column"].astype(np.int64) + pieces["length"] > row_tokens
            outside |= pieces["length"] == 0
            if outside.any():
                line = {key: column[outside][0].item() for key, column in pieces.items()}
                raise DataSetError(f"{name} has a piece outside the rows ({line}); the data set is damaged")
            yield pieces

    def of_tail(self, split: str) -> tuple[PieceColumns, TokenArray]:
        """The tail: the pieces of a split's unfilled last row, without rows and columns, and all their tokens.

        Both are empty if no tail was stored.
        """
        name = tail_file(split)
        piece = piece_dtype(self._manifest.row_tokens)
        columns: PieceColumns = {column: np.empty(0, piece[column]) for column in TAIL_COLUMNS}
        tokens: TokenArray = np.empty(0, self._manifest.dtype)
        for table in self._files.open(name).tables() if name in self._files.names else ():
            lists = table["tokens"].combine_chunks()
            ends = np.from_dlpack(lists.offsets)
            tokens = np.concatenate([tokens, np.from_dlpack(lists.values)[ends[0] : ends[-1]]])
            if np.diff(ends).tolist() != as_array(table["length"]).tolist():
                raise DataSetError(f"{name}: a piece has more or fewer tokens than its length; the data set is damaged")
            columns = {key: np.concatenate([columns[key], as_array(table[key])]) for key in columns}
        return columns, tokens

    def _shards(self, split: str) -> Iterator[tuple[int, ShardInfo]]:
        """The shards of a split, each with the number of its first row within the split."""
        first = 0
        for shard in self._manifest.shards_of(split):
            yield first, shard
            first += shard.rows

    def _placed(self, shard: ShardInfo, first: int, only: tuple[str, Collection[int]]) -> Iterator[PlacedPiece]:
        for pieces in self.of_shard(shard, only):
            for row, column, length, document, offset, added_bos in zip(
                *(pieces[name].tolist() for name in PIECE_COLUMNS), strict=True
            ):
                yield PlacedPiece(shard.split, first + row, column, Piece(document, offset, length, added_bos))

    def _check_row(self, split: str, row: int, pieces: list[PlacedPiece]) -> None:
        """Raise DataSetError unless the pieces, one after the other, fill a row exactly."""
        end = 0
        for placed in pieces:
            if placed.column != end:
                break
            end += placed.piece.length
        else:
            if end == self._manifest.row_tokens:
                return
        raise DataSetError(
            f"the provenance of {split} row {row} in {self._files.data_dir} does not fill a row of "
            f"{self._manifest.row_tokens:,} tokens; the data set is damaged"
        )
