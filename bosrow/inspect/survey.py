"""What the rows of a data set are like, in numbers: pieces, cuts, where documents start, how much context a token has.

Promise: exact counts over all rows and documents. Cost: one pass over the provenance (not the shards) in arrays, about
4 million pieces a second, and 24 bytes of memory a document.

The context of a predicted token is the number of earlier tokens of its own document in its row. A BOS that bosrow added
is not a token of the document. A predicted BOS has no context.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bosrow.dataset.manifest import SPLITS
from bosrow.dataset.provenance import Provenance
from bosrow.dataset.provenance_layout import PieceColumns
from bosrow.dataset.rows import Rows
from bosrow.errors import DataSetError

ROWS_AT_ONCE = 1 << 16

COUNTS = ("pieces_per_row", "starts", "added_starts", "stretches")

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Counts over the rows of a data set, or of one that could be made.

    Arrays by document: `lengths` (tokens read), `in_rows` (of these, in a row), `cuts`. Arrays of counts:
    `pieces_per_row[n]` rows have n pieces, `starts[c]` documents and `added_starts[c]` continuations with a BOS of
    their own begin at column c, `stretches[n]` pieces hold n tokens of their document.
    """

    rows: int
    row_tokens: int
    lengths: Counts
    in_rows: Counts
    cuts: Counts
    pieces_per_row: Counts
    starts: Counts
    added_starts: Counts
    stretches: Counts

    @property
    def mean_context(self) -> float:
        """Mean context of a predicted token."""
        tokens = np.arange(len(self.stretches))
        return float((self.stretches * tokens * (tokens - 1) // 2).sum() / max(1, self.predictions))

    @property
    def context_at_least(self) -> npt.NDArray[np.float64]:
        """[n]: the share of predicted tokens whose context is at least n; shape (row_tokens,)."""
        more_than = _sums_from_the_right(self.stretches)[1:]
        tokens = _sums_from_the_right(more_than).astype(np.float64)
        tokens[0] = self.predictions
        return tokens / max(1, self.predictions)

    @property
    def predictions(self) -> int:
        """Predicted tokens of all rows."""
        return self.rows * (self.row_tokens - 1)

    @property
    def least_cuts(self) -> int:
        """Cuts without which no packing places what these rows hold of each document (all but the tail)."""
        return least_cuts(self.in_rows, self.row_tokens)


def least_cuts(lengths: Counts, row_tokens: int) -> int:
    """Each piece but the first gives one token of its row to a BOS of its own.

    >>> least_cuts(np.array([9, 17, 18]), row_tokens=9)
    3
    """
    pieces = -(-(lengths.astype(np.int64) - 1) // (row_tokens - 1))
    return int(np.maximum(pieces - 1, 0).sum())


def _sums_from_the_right(counts: Counts) -> Counts:
    return np.cumsum(counts[::-1])[::-1]


def survey(provenance: Provenance, rows_done: Callable[[int], None] = lambda rows: None) -> Survey:
    """Survey a data set, both splits together; `rows_done` is called with each number of rows done.

    Raises DataSetError if the provenance does not fit the rows.
    """
    manifest = provenance.manifest

    def pieces(split: str) -> Iterator[PieceColumns]:
        before = 0
        for columns in provenance.pieces.of_split(split):
            yield columns
            last = int(columns["row"].max(initial=before))
            rows_done(last - before)
            before = last

    return survey_pieces(
        [(manifest.rows_of(split), pieces(split)) for split in SPLITS],
        provenance.documents.lengths().astype(np.int64),
        manifest.row_tokens,
        stream=manifest.policy == "stream",
    )


def survey_rows(rows: Iterable[Rows]) -> Survey:
    """Survey a data set without provenance, by where BOS stands in its rows. Reads every shard once.

    Documents are not known, so `lengths`, `in_rows` and `cuts` are empty, and a BOS that was added after a cut counts
    as the start of a document.
    """
    surveys = [
        survey_pieces([(len(split), _bos_pieces(split))], np.zeros(1, np.int64), split.row_tokens, stream=False)
        for split in rows
    ]
    nothing = np.empty(0, np.int64)
    return Survey(
        rows=sum(one.rows for one in surveys),
        row_tokens=surveys[0].row_tokens,
        lengths=nothing,
        in_rows=nothing,
        cuts=nothing,
        **{name: sum(getattr(one, name) for one in surveys) for name in COUNTS},
    )


def _bos_pieces(rows: Rows) -> Iterator[PieceColumns]:
    """Stretches from BOS to BOS as pieces of one nameless document; offset 1 says that none begins there."""
    for first in range(0, len(rows), ROWS_AT_ONCE // 16):
        tokens = rows[first : first + ROWS_AT_ONCE // 16]
        begins = tokens == rows.manifest.bos_token_id
        own = begins.copy()
        begins[:, 0] = True
        row, column = np.nonzero(begins)
        end = np.append(column[1:], 0)
        end[end == 0] = rows.row_tokens  # the next stretch begins the next row
        nothing = np.zeros(len(row), np.int64)
        yield {
            "row": row + first,
            "column": column,
            "length": end - column,
            "document": nothing,
            "offset": (~own[row, column]).astype(np.int64),
            "added_bos": nothing.astype(bool),
        }


def survey_pieces(
    splits: Iterable[tuple[int, Iterable[PieceColumns]]], lengths: Counts, row_tokens: int, *, stream: bool
) -> Survey:
    """Survey rows given as (rows, their pieces in order) for each split.

    With `stream`, a row's first token repeats the last of the row before it.
    """
    in_rows, cuts = np.zeros_like(lengths), np.zeros_like(lengths)
    starts, added_starts = np.zeros(row_tokens, np.int64), np.zeros(row_tokens, np.int64)
    stretches, pieces_per_row = np.zeros(row_tokens + 1, np.int64), np.zeros(row_tokens + 1, np.int64)
    total_rows = 0
    for rows, pieces in splits:
        pieces_of = np.zeros(rows, np.int64)
        for columns in pieces:
            row, column, document = columns["row"], columns["column"].astype(np.int64), columns["document"]
            length, added = columns["length"].astype(np.int64), columns["added_bos"].astype(np.int64)
            if len(row) and (
                row.max() >= rows or (column + length).max() > row_tokens or document.max() >= len(lengths)
            ):
                raise DataSetError("the provenance names places outside the rows; the data set is damaged")
            repeated = (stream & (column == 0) & (row > 0)).astype(np.int64)
            np.add.at(pieces_of, row, 1)
            np.add.at(in_rows, document, length - added - repeated)
            np.add.at(cuts, document, added | (repeated & (length > 1)))
            starts += np.bincount(column[columns["offset"] + added == 0], minlength=row_tokens)
            added_starts += np.bincount(column[added > 0], minlength=row_tokens)
            stretches += np.bincount(length - added, minlength=row_tokens + 1)
        pieces_per_row += np.bincount(pieces_of, minlength=row_tokens + 1)
        total_rows += rows
    return Survey(
        rows=total_rows,
        row_tokens=row_tokens,
        lengths=lengths,
        in_rows=in_rows,
        cuts=cuts,
        pieces_per_row=pieces_per_row,
        starts=starts,
        added_starts=added_starts,
        stretches=stretches,
    )


def survey_stream(lengths: Counts, row_tokens: int) -> Survey:
    """What stream packing would make of documents of these lengths, in this order."""
    rows = _stream_rows(lengths, row_tokens)
    return survey_pieces([(rows, stream_pieces(lengths, row_tokens))], lengths, row_tokens, stream=True)


def _stream_rows(lengths: Counts, row_tokens: int) -> int:
    return max(0, (int(lengths.sum()) - 1) // (row_tokens - 1))


def stream_pieces(lengths: Counts, row_tokens: int, most_rows: int | None = None) -> Iterator[PieceColumns]:
    """The pieces of the rows (or of the first `most_rows`) that stream packing would make, many at a time."""
    ends = np.cumsum(lengths)
    rows = _stream_rows(lengths, row_tokens)
    rows = rows if most_rows is None else min(rows, most_rows)
    for begin in range(0, rows, ROWS_AT_ONCE):
        row = np.arange(begin, min(begin + ROWS_AT_ONCE, rows))
        left = row * (row_tokens - 1)
        first = np.searchsorted(ends, left, side="right")  # the document that holds the row's first token
        last = np.searchsorted(ends, left + row_tokens - 1, side="right")
        pieces = last - first + 1
        of_row = np.repeat(row, pieces)
        left = np.repeat(left, pieces)
        document = np.arange(len(of_row)) - np.repeat(np.cumsum(pieces) - pieces - first, pieces)
        start = np.maximum(ends[document] - lengths[document], left)
        yield {
            "row": of_row,
            "column": start - left,
            "length": np.minimum(ends[document], left + row_tokens) - start,
            "document": document,
            "offset": start - (ends[document] - lengths[document]),
            "added_bos": np.zeros(len(of_row), bool),
        }
