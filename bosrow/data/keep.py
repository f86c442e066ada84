"""The policy `keep`: every row starts with a document's start or its continuation, and no token is lost.

A document that is cut goes back into the buffer; its next piece gets a BOS of its own. So a document with
`length` tokens to place (its own or an added BOS counted) that is cut after n of them has length - n + 1 left.
"""

from collections import OrderedDict
from typing import Any

from bosrow.data.packing import LengthIndex, Piece, Policy, Row


class Keep(Policy):
    """Fills rows exactly, with as few cuts as it can."""

    name = "keep"
    lossy = False

    def __init__(self, row_tokens: int, buffer_docs: int, buffer_tokens: int) -> None:
        self.unfilled = []
        self._row_tokens = row_tokens
        self._space = row_tokens
        self._buffer_docs = buffer_docs
        self._buffer_tokens = buffer_tokens
        self._waiting: OrderedDict[int, tuple[int, int]] = OrderedDict()  # document -> (tokens, offset)
        self._waiting_tokens = 0
        self._short = LengthIndex(row_tokens)  # documents that fit a row, by length
        self._long = LengthIndex(row_tokens)  # the others, by the length of their remainder

    def add(self, document: int, tokens: int) -> list[Row]:
        self._wait(document, tokens, 0)
        rows = []
        while len(self._waiting) >= self._buffer_docs or self._waiting_tokens >= self._buffer_tokens > 0:
            rows += self._place()
        return rows

    def finish(self) -> list[Row]:
        rows = []
        while self._waiting:
            rows += self._place()
        return rows

    def _wait(self, document: int, tokens: int, offset: int) -> None:
        self._waiting[document] = tokens, offset
        self._waiting_tokens += tokens - offset
        length = tokens - offset + (offset > 0)
        if length <= self._row_tokens:
            self._short.add(length, document)
        else:
            self._long.add(self._remainder(length), document)

    def _remainder(self, length: int) -> int:
        """What is left, its BOS counted, after the fewest whole rows that leave no more than a row."""
        return (length - 2) % (self._row_tokens - 1) + 2

    def _place(self) -> list[Row]:
        """One placement: the oldest document at a row's start, else the best for the gap; the row, if full."""
        space = self._space
        if space == self._row_tokens:
            document = next(iter(self._waiting))
            tokens, offset = self._waiting[document]
            length = tokens - offset + (offset > 0)
            if length <= space:
                self._take(self._short.pop(length), length)
            else:
                self._take(self._long.pop(self._remainder(length)), space)
        elif self._short.lengths >> space & 1:
            self._take(self._short.pop(space), space)
        elif pair := self._short.pair(space):
            for length in pair:
                self._take(self._short.pop(length), length)
        elif remainder := self._long.largest(space):
            self._take(self._long.pop(remainder), space)
        elif length := self._short.largest(space):
            self._take(self._short.pop(length), length)
        elif self._long.lengths:
            self._take(self._long.pop(self._long.smallest()), space)
        else:
            self._take(self._short.pop(self._short.largest(self._row_tokens)), space)
        return [] if self._space else [self._close()]

    def _take(self, document: int, length: int) -> None:
        """Place the next `length` tokens of a document that was popped from its index."""
        tokens, offset = self._waiting[document]
        added_bos = offset > 0
        self.unfilled.append(Piece(document, offset, length, added_bos))
        self._space -= length
        self._waiting_tokens -= tokens - offset
        offset += length - added_bos
        if offset == tokens:
            del self._waiting[document]
        else:
            self._wait(document, tokens, offset)

    def _close(self) -> Row:
        done = [piece.document for piece in self.unfilled if piece.document not in self._waiting]
        row = Row(self.unfilled, done)
        self.unfilled, self._space = [], self._row_tokens
        return row

    @property
    def held(self) -> list[int]:
        return sorted({*self._waiting, *(piece.document for piece in self.unfilled)})

    def state(self) -> dict[str, Any]:
        waiting = [[document, *place] for document, place in self._waiting.items()]
        return {"waiting": waiting, "unfilled": list(self.unfilled)}

    def restore(self, state: dict[str, Any]) -> None:
        for document, tokens, offset in state["waiting"]:
            self._wait(document, tokens, offset)
        self.unfilled = [Piece(*piece) for piece in state["unfilled"]]
        self._space = self._row_tokens - sum(piece.length for piece in self.unfilled)
