"""The packer: writes the documents of one split (with --val_shards, of both) into shards.

It holds the tokens that its policy has not placed yet, copies them into rows as the policy says, and keeps the ledger.
`state()` and `restore()` carry all of it over an interruption, to the token.
"""

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from bosrow.dataset.ledger import Ledger
from bosrow.dataset.provenance_writer import PieceLog, PieceLogState
from bosrow.dataset.shard_writer import ShardWriter, ShardWriterState
from bosrow.packing.policy import Piece, Policy, Row
from bosrow.strict_json import Count, Invalid, Record, typed
from bosrow.tokenizers.token_ids import TokenArray


@dataclass(slots=True)
class HeldDocument:
    """A document that later rows need. If the policy crops, `tokens` may be shorter than `length`."""

    tokens: TokenArray
    length: int
    placed: int = 0
    pieces: int = 0


class PackerState(Record):
    """What a resumed packer needs. The tokens of the documents that it holds are stored separately."""

    policy: dict[str, Any]  # as the policy's own `State`
    shards: ShardWriterState
    held: list[tuple[Count, Count, Count, Count, Count]]  # document, length, placed, pieces, stored tokens
    pieces: PieceLogState | None = None


class Packer:
    """Places documents into rows. `home` is the split in which a document is counted until a row holds it."""

    def __init__(
        self,
        policy: Policy,
        writer: ShardWriter,
        pieces: PieceLog | None,
        ledgers: dict[str, Ledger],
        home: str,
        bos: int,
    ) -> None:
        self.policy = policy
        self.writer = writer
        self.pieces = pieces
        self.ledgers = ledgers
        self.home = home
        self.bos = bos
        self.held: dict[int, HeldDocument] = {}

    def add(self, document: int, tokens: TokenArray, length: int) -> None:
        """Add a document of `length` tokens; `tokens` are those of them that the policy can place."""
        self.held[document] = HeldDocument(tokens, length)
        ledger = self.ledgers[self.home]
        ledger.tokens_read += length
        ledger.documents_read += 1
        for row in self.policy.add(document, length):
            self._write(row)

    def finish(self) -> None:
        """At the end of the source: write the last rows, close the last shard, store and count the tail."""
        for row in self.policy.finish():
            self._write(row)
        self._close_shard()
        ledger = self.ledgers[self.home]
        if self.pieces and not self.policy.lossy:
            tail = [self._tokens(piece) for piece in self.policy.unfilled]
            self.pieces.write_tail(self.home, self.policy.unfilled, tail, self.writer.dtype)
        stored = self.policy.lossy or self.pieces
        for held in self.held.values():
            rest = held.length - held.placed
            if stored:
                ledger.tokens_tail += rest
            else:
                ledger.tokens_dropped["tail, by --no_provenance"] += rest
            self._count_document(ledger, held)
        self.held.clear()

    def _close_shard(self) -> None:
        shard, rows = self.writer.name, self.writer.rows
        self.writer.close_shard()
        if self.pieces and rows:
            self.pieces.close(shard)

    def waiting(self, split: str) -> tuple[int, int]:
        """Tokens and documents of `split` that are read but not yet in a row."""
        if split != self.home:
            return 0, 0
        return sum(held.length - held.placed for held in self.held.values()), len(self.held)

    def _tokens(self, piece: Piece) -> TokenArray:
        """The tokens of a piece, its added BOS included."""
        tokens = self.held[piece.document].tokens[piece.offset : piece.offset + piece.length - piece.added_bos]
        return np.insert(tokens, 0, self.bos) if piece.added_bos else tokens

    def _write(self, row: Row) -> None:
        ledger = self.ledgers[self.writer.split]
        room = self.writer.next_row()
        column = placed = repeated = 0
        for document, offset, length, added_bos in row.pieces:
            held = self.held[document]
            end = offset + length - added_bos
            if added_bos:
                room[column] = self.bos
                ledger.added_bos += 1
            stop = column + length
            room[column + added_bos : stop] = held.tokens[offset:end]
            column = stop
            repeated += held.placed - offset
            placed += end - held.placed
            if added_bos or end > held.placed:  # else a `stream` row only repeats a document's last token
                ledger.cuts += held.pieces > 0
                held.pieces += 1
            held.placed = end
        ledger.tokens_placed += placed
        ledger.tokens_repeated += repeated
        ledger.rows += 1
        for document in row.done:
            self._done(ledger, self.held.pop(document))
        if self.pieces:
            self.pieces.add(self.writer.name, self.writer.rows, row.pieces)
        self.writer.row_done()
        if self.writer.rows == self.writer.rows_per_shard:
            self._close_shard()

    def _done(self, ledger: Ledger, held: HeldDocument) -> None:
        home = self.ledgers[self.home]
        if ledger is not home:  # a document read as train, placed in one of the first shards, which are val
            home.tokens_read -= held.length
            home.documents_read -= 1
            ledger.tokens_read += held.length
            ledger.documents_read += 1
        cropped = held.length - held.placed
        if held.length > self.writer.row_tokens:
            ledger.tokens_cropped_long += cropped
        else:
            ledger.tokens_cropped_fit += cropped
        self._count_document(ledger, held)

    def _count_document(self, ledger: Ledger, held: HeldDocument) -> None:
        if held.placed < held.length:
            ledger.documents_cropped += 1
        elif held.pieces == 1:
            ledger.documents_whole += 1
        else:
            ledger.documents_split += 1

    def state(self) -> tuple[PackerState, list[memoryview]]:
        """Make the rows durable. Returns what to record, and the tokens of the held documents."""
        state = PackerState(
            policy=msgspec.to_builtins(self.policy.state()),
            shards=self.writer.state(),
            held=[
                (document, held.length, held.placed, held.pieces, len(held.tokens))
                for document, held in self.held.items()
            ],
            pieces=self.pieces.state(self.writer.name) if self.pieces else None,
        )
        return state, [held.tokens.data for held in self.held.values()]

    def restore(self, state: PackerState, tokens: TokenArray) -> TokenArray:
        """Take over what `state` returned. Returns the part of `tokens` that belongs to other packers.

        Files are not changed; `reopen` does that. Raises Invalid for a state that a packer with these options and
        ledgers would not return.
        """
        for document, length, placed, pieces, stored in state.held:
            kept = min(length, self.writer.row_tokens) if self.policy.lossy else length
            if placed > length or length == 0 or stored != kept or stored > len(tokens):
                raise Invalid(f"of the {length} tokens of document {document}, {stored} are said to be stored")
            self.held[document] = HeldDocument(tokens[:stored].copy(), length, placed, pieces)
            tokens = tokens[stored:]
        policy_state = typed(state.policy, self.policy.State, "policy")
        self.policy.restore(policy_state)
        rest = [(document, held.length, held.placed) for document, held in sorted(self.held.items())]
        if self.policy.rest() != rest or self.policy.state() != policy_state:
            raise Invalid("its policy and its packer do not hold the same documents")
        self.writer.restore(state.shards, {split: ledger.rows for split, ledger in self.ledgers.items()})
        if (self.pieces is None) != (state.pieces is None):
            raise Invalid("it has provenance and --no_provenance was given, or the other way round")
        if self.pieces and state.pieces:
            self.pieces.restore(state.pieces, self.writer.closed, self.writer.name if self.writer.rows else None)
        return tokens

    def reopen(self, state: PackerState) -> None:
        """After `restore`: truncate the open files to what `state` counts."""
        self.writer.reopen()
        if self.pieces and state.pieces:
            self.pieces.reopen(state.pieces)
