"""The documents of a data set, rebuilt from the pieces in its rows, in the order in which they were read.

Promise: a document of a lossless data set has exactly the tokens that were read; otherwise DataSetError says which
document is incomplete or which piece does not fit. Cost: one pass over shards and provenance. Memory holds only the
places of pieces whose document is not complete yet; their tokens stay in the memory-mapped shards.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bosrow.dataset.document_table import DocumentInfo
from bosrow.dataset.manifest import SPLITS
from bosrow.dataset.provenance import Provenance
from bosrow.dataset.provenance_layout import PieceColumns
from bosrow.errors import DataSetError
from bosrow.open_files import mapped
from bosrow.tokenizers.token_ids import TokenArray


def read_documents(provenance: Provenance, only: str | None = None) -> Iterator[tuple[DocumentInfo, TokenArray]]:
    """All documents (`only`: those of one split), each with its tokens, shape (tokens,), from its BOS on.

    Raises DataSetError if a document is incomplete (the data set was made by a lossy policy, or is damaged).
    """
    for info, parts in document_stretches(provenance, only):
        yield info, np.concatenate(parts)


def document_stretches(
    provenance: Provenance, only: str | None = None
) -> Iterator[tuple[DocumentInfo, list[TokenArray]]]:
    """As `read_documents`, without a copy: each document as a list of arrays, which are views of the rows."""
    collectors = {split: PieceCollector(provenance, split) for split in SPLITS}
    one_split = None if provenance.manifest.rows_of("val") else "train"
    for info in provenance.documents:
        if info.split is None and one_split:
            info = info._replace(split=one_split)
        if info.split is None:
            raise DataSetError(f"{provenance.data_dir} has no split for its documents (it was made with --val_shards)")
        if only in (None, info.split):
            yield info, collectors[info.split].whole(info.document, info.tokens)


def cropped_documents(provenance: Provenance) -> Iterator[tuple[DocumentInfo, list[TokenArray]]]:
    """What is left of each document in a data set made by a crop policy.

    Such a policy places at most one piece of a document; documents without a piece are left out. Cost: the places of
    all pieces are in memory, since a document may have waited in the buffer to the end.
    """
    collectors = {split: PieceCollector(provenance, split) for split in SPLITS}
    for documents in collectors.values():
        while documents.collect_more():
            pass
    for info in provenance.documents:
        for split, documents in collectors.items():
            if info.document in documents.parts:
                yield info._replace(split=split), documents.pop(info.document)


@dataclass
class PieceCollector:
    """Reads the pieces of a split in order, and collects those of each document until the document is taken."""

    provenance: Provenance
    split: str
    parts: defaultdict[int, list[TokenArray]] = field(default_factory=lambda: defaultdict(list))  # views of the shards
    lengths: dict[int, int] = field(default_factory=dict)  # tokens of `parts`

    def __post_init__(self) -> None:
        self._pieces = self._all_pieces()
        self._stream = self.provenance.manifest.policy == "stream"
        self._last = (-1, 0)  # document and end of the last piece seen

    def whole(self, document: int, tokens: int) -> list[TokenArray]:
        """Take out a document of `tokens` tokens, as arrays. Raises DataSetError if its pieces hold fewer or more."""
        while self.lengths.get(document, 0) < tokens and self.collect_more():
            pass
        found = self.lengths.get(document, 0)
        if found != tokens:
            raise DataSetError(
                f"{self.provenance.data_dir} holds {found:,} tokens of document {document}, which had {tokens:,}"
            )
        return self.pop(document)

    def pop(self, document: int) -> list[TokenArray]:
        """Take out what was collected of a document, as arrays."""
        del self.lengths[document]
        return self.parts.pop(document)

    def collect_more(self) -> bool:
        """Collect more pieces. False if there are no more."""
        found = next(self._pieces, None)
        if found is None:
            return False
        pieces, tokens, starts = found
        lengths, parts = self.lengths, self.parts
        documents, begins = pieces["document"].astype(np.int64), pieces["offset"].astype(np.int64)
        ends = begins + pieces["length"] - pieces["added_bos"]
        zeros = starts + pieces["added_bos"] - begins  # where the document's token 0 would be
        more = self._hold_more(documents, ends)
        columns = (column[more].tolist() for column in (documents, begins, ends, zeros))
        for document, begin, end, zero in zip(*columns, strict=True):
            known = lengths.get(document, 0)
            if not 0 <= known - begin <= self._stream:
                raise DataSetError(
                    f"{self.provenance.data_dir}: a piece in {self.split} holds tokens {begin:,} to {end:,} of "
                    f"document {document}, of which {known:,} came before; the data set is damaged"
                )
            parts[document].append(tokens[zero + known : zero + end])
            lengths[document] = end
        return True

    def _hold_more(self, documents: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of the pieces hold tokens that the piece before them does not; shapes (pieces,).

        A stream row begins with the last token of the row before it. If a document ends there, that token is a piece
        by itself, and the document may already have been taken out.
        """
        if not self._stream or not len(documents):
            return np.ones(len(documents), bool)
        before = np.concatenate([[self._last[0]], documents[:-1]]), np.concatenate([[self._last[1]], ends[:-1]])
        self._last = int(documents[-1]), int(ends[-1])
        return (documents != before[0]) | (ends != before[1])

    def _all_pieces(self) -> Iterator[tuple[PieceColumns, TokenArray, npt.NDArray[np.int64]]]:
        """All pieces in order, many at a time: the pieces, an array of tokens, and where each piece starts in it."""
        manifest = self.provenance.manifest
        for shard in manifest.shards_of(self.split):
            tokens = mapped(self.provenance.data_dir / shard.name).view(manifest.dtype)
            for pieces in self.provenance.pieces.of_shard(shard):
                yield pieces, tokens, pieces["row"].astype(np.int64) * manifest.row_tokens + pieces["column"]
        pieces, tokens = self.provenance.pieces.of_tail(self.split)
        yield pieces, tokens, np.cumsum(pieces["length"], dtype=np.int64) - pieces["length"]
