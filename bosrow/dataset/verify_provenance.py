"""Checks that the provenance of a data set fits its rows, its documents and its ledger.

The pieces of each shard fill it without gaps from its first token to its last. BOS is exactly where a document begins
or a BOS was added. Each piece of a document begins where the one before ended; if the policy loses nothing, they make
up all of it. Tokens and documents add up to the ledger. Cost: one pass over the provenance and, from the page cache,
the shards; 16 bytes of memory a document.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bosrow.dataset.manifest import SPLITS
from bosrow.dataset.provenance import Provenance
from bosrow.dataset.provenance_layout import PieceColumns
from bosrow.errors import DataSetError
from bosrow.open_files import mapped
from bosrow.packing.table import LOSSLESS
from bosrow.tokenizers.token_ids import TokenArray


def provenance_damage(data_dir: Path) -> list[str]:
    """What does not fit: the first misfit of the pieces, or all of the ledger; an empty list if all is right."""
    try:
        return _Check(Provenance(data_dir)).run()
    except DataSetError as error:
        return [str(error)]


class _Check:
    """One pass. `reached` is how many tokens of each document the pieces so far hold."""

    def __init__(self, provenance: Provenance) -> None:
        self.provenance = provenance
        self.manifest = provenance.manifest
        self.stream = self.manifest.policy == "stream"
        # Reading the documents checks the number, the split and the source file of each.
        self.lengths = np.fromiter((info.tokens for info in provenance.documents), np.int64)
        self.reached = np.zeros_like(self.lengths)
        self.counts: Counter[str] = Counter()

    def run(self) -> list[str]:
        """All checks; the first piece that does not fit ends them, since nothing after it can be trusted."""
        for split in SPLITS:
            self._rows(split)
        if self.manifest.policy in LOSSLESS:
            for split in SPLITS:
                self._tail(split)
            lacking = np.flatnonzero(self.reached != self.lengths)
            if len(lacking):
                document = lacking[0]
                raise DataSetError(
                    f"document {document} has {self.lengths[document]:,} tokens, but its pieces hold "
                    f"{self.reached[document]:,}; the policy {self.manifest.policy} loses none"
                )
        return self._against_the_ledger()

    def _rows(self, split: str) -> None:
        row_tokens = self.manifest.row_tokens
        shards = iter(self.manifest.shards_of(split))
        first_row, end, place = 0, 0, 0  # of the present shard: first row, end, next token
        tokens: TokenArray = np.empty(0, self.manifest.dtype)
        for pieces in self.provenance.pieces.of_split(split):
            if place == end:  # the pieces of the next shard begin
                following = next(shards, None)
                if following is None:
                    raise DataSetError(f"the provenance of {split} has pieces beyond its rows")
                shard = following
                first_row, place = first_row + end // row_tokens, 0
                end = shard.rows * row_tokens
                tokens = mapped(self.provenance.data_dir / shard.name).view(self.manifest.dtype)
            if not len(pieces["row"]):
                continue
            name = f"provenance of {shard.name}"
            start = (pieces["row"] - first_row) * row_tokens + pieces["column"]
            stop = start + pieces["length"]
            wrong = np.flatnonzero(start != np.concatenate([[place], stop[:-1]]))
            if len(wrong) or stop[-1] > end:
                piece = wrong[0] if len(wrong) else len(start)
                raise DataSetError(f"{name}: piece {piece} does not follow the one before")
            begins = start[(pieces["offset"] == 0) | pieces["added_bos"]]
            if not np.array_equal(
                place + np.flatnonzero(tokens[place : stop[-1]] == self.manifest.bos_token_id), begins
            ):
                raise DataSetError(f"{name}: BOS is not where its documents begin")
            self._follow(split, pieces, (self.stream & (pieces["column"] == 0) & (pieces["row"] > 0)).astype(np.int64))
            place = int(stop[-1])
        if place != end or next(shards, None) is not None:
            raise DataSetError(f"the provenance of {split} ends before its rows do")

    def _follow(self, split: str, pieces: PieceColumns, repeated: npt.NDArray[np.int64]) -> None:
        """Check that each piece of a document begins where the one before ended; a stream row repeats a token."""
        document = pieces["document"].astype(np.int64)
        if document.max() >= len(self.lengths):
            raise DataSetError(f"a piece in {split} names document {document.max()} of only {len(self.lengths):,}")
        order = np.argsort(document, kind="stable")
        document = document[order]
        start = (pieces["offset"].astype(np.int64) + repeated)[order]
        end = (pieces["offset"].astype(np.int64) + pieces["length"] - pieces["added_bos"])[order]
        first = np.concatenate([[True], document[1:] != document[:-1]])
        before = np.where(first, self.reached[document], np.concatenate([[0], end[:-1]]))
        wrong = np.flatnonzero((start != before) | (end > self.lengths[document]))
        if len(wrong):
            at = wrong[0]
            raise DataSetError(
                f"a piece in {split} holds tokens {start[at]:,} to {end[at]:,} of document {document[at]}, which has "
                f"{self.lengths[document[at]]:,} and of which {before[at]:,} came before"
            )
        last = np.concatenate([first[1:], [True]])
        self.reached[document[last]] = end[last]
        added = int(pieces["added_bos"].sum())
        self.counts[f"{split}.added_bos"] += added
        self.counts[f"{split}.tokens_repeated"] += int(repeated.sum())
        self.counts[f"{split}.tokens_placed"] += int(pieces["length"].sum(dtype=np.int64)) - added - int(repeated.sum())

    def _tail(self, split: str) -> None:
        pieces, tokens = self.provenance.pieces.of_tail(split)
        if tokens.max(initial=0) >= self.manifest.vocab_size:
            raise DataSetError(f"{split}_tail.parquet holds an id that is not in the vocabulary")
        columns = (pieces[name].tolist() for name in ("document", "offset", "length", "added_bos"))
        for document, offset, length, added_bos in zip(*columns, strict=True):
            end = offset + length - added_bos
            known = document < len(self.lengths) and end <= self.lengths[document]
            before = int(self.reached[document]) if known else -1
            if not (offset <= before if self.stream else offset == before):
                raise DataSetError(f"{split}_tail.parquet holds a piece that does not fit document {document}")
            self.reached[document] = end
            self.counts[f"{split}.tokens_tail"] += end - before

    def _against_the_ledger(self) -> list[str]:
        ledgers = self.manifest.ledgers
        pairs = [
            ("documents", sum(one.documents_read - one.documents_dropped.total() for one in ledgers.values()),
             len(self.lengths)),
            ("tokens read", sum(one.tokens_read for one in ledgers.values()), int(self.lengths.sum())),
        ]  # fmt: skip
        names = ["tokens_placed", "added_bos", "tokens_repeated"]
        names += ["tokens_tail"] if self.manifest.policy in LOSSLESS else []
        for split, ledger in ledgers.items():
            pairs += [(f"{split}.{name}", getattr(ledger, name), self.counts[f"{split}.{name}"]) for name in names]
        return [
            f"the ledger counts {said:,} {name}, the provenance {have:,}" for name, said, have in pairs if said != have
        ]
