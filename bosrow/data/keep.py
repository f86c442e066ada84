"""The policy `keep`: no token is lost, each row starts a document or goes on with one behind a BOS of its own.

A document that is cut waits for its next row, where an added BOS stands before its tokens. So of n tokens to
place (a BOS counted), a cut after g of them leaves n - g + 1. With rows of R tokens a document needs at least
max(0, ceil((n - 1) / (R - 1)) - 1) cuts, and gets them by filling whole rows until its remainder of 2 to R
tokens is left. The remainders are what has to be packed: they count as lengths like those of short documents.

The rule. Every third row begins with the oldest document, the others with the largest remainder for which
another one fills the row exactly (with the largest of all if there is none). What is then left of the row,
the gap, is filled by the first of these that can be had:

1. one remainder of exactly the gap;
2. two that make it exactly, as equal as possible, which spares the very small ones for 1;
3. a cut in a document longer than a row, which costs no cut beyond its least if its remainder is no larger
   than the gap: the one with the largest such remainder;
4. the largest remainder of at most half the gap, then again from 1: the rest is still easy to fill;
5. an extra cut, where what is left of the document and another one fill a row exactly: the largest such
   remainder, or the largest of all if there is none.

Cuts as a multiple of the least, on log-normal lengths (median 630, mean 1026; 100,000 documents), with a
buffer of 1,000 documents and of 10,000, beside `stream`:

    seq_len    1,000    10,000    stream
       1024    1.010     1.013      1.77
       2048    1.025     1.009      3.00

Only the last piece of a row is ever cut, so there is at most one cut a row. A document's last token stands
in one of the first 3 * buffer_docs + 1 rows completed after its arrival, not counting the rows that a long
document fills alone.
"""

from collections import OrderedDict
from typing import Any

from bosrow.data.policy import LengthIndex, Piece, Policy, Row, largest, smallest

OLDEST_BEGINS_EVERY = (
    3  # 2 and 4 are as good on most lengths; rarely lets hard ones pile up, often spends the easy ones
)


class Keep(Policy):
    """Exactly full rows, each token in one of them, nearly as few cuts as there can be."""

    name = "keep"
    lossy = False

    def __init__(self, row_tokens: int, buffer_docs: int, buffer_tokens: int) -> None:
        self.unfilled = []
        self._row_tokens = row_tokens
        self._space = row_tokens
        self._buffer_docs = buffer_docs
        self._buffer_tokens = buffer_tokens
        self._waiting: OrderedDict[int, tuple[int, int]] = OrderedDict()  # document -> (tokens, offset), oldest first
        self._waiting_tokens = 0
        self._short = LengthIndex(row_tokens)  # documents that fit a row, by what is left of them
        self._long = LengthIndex(row_tokens)  # the others, by their remainder
        self._rows_begun = 0

    def add(self, document: int, tokens: int) -> list[Row]:
        self._wait(document, tokens, 0)
        self._waiting_tokens += tokens
        rows: list[Row] = []
        while len(self._waiting) >= self._buffer_docs or self._waiting_tokens >= self._buffer_tokens:
            rows += self._place()
        return rows

    def finish(self) -> list[Row]:
        rows = []
        while self._waiting:
            rows += self._place()
        return rows

    def _wait(self, document: int, tokens: int, offset: int) -> None:
        self._waiting[document] = tokens, offset
        index, length = self._entry(tokens, offset)
        index.add(length, document)

    def _entry(self, tokens: int, offset: int) -> tuple[LengthIndex, int]:
        """The index in which such a document stands, and its length there."""
        length = tokens - offset + (offset > 0)
        if length <= self._row_tokens:
            return self._short, length
        return self._long, (length - 2) % (self._row_tokens - 1) + 2

    def _place(self) -> list[Row]:
        """One step of the rule; return the rows it filled."""
        gap = self._space
        lengths = self._short.lengths | self._long.lengths
        mirror = self._short.mirror | self._long.mirror
        if gap == self._row_tokens:
            return self._begin(lengths, mirror)
        if lengths >> gap & 1:
            return self._place_rest(self._pop(gap))
        if half := self._most_equal_pair(lengths, mirror, gap):
            return self._place_rest(self._pop(half)) + self._place_rest(self._pop(gap - half))
        if remainder := largest(self._long.lengths, gap):
            return self._cut(self._long.pop(remainder))
        if length := largest(lengths, gap // 2):
            return self._place_rest(self._pop(length))
        # Bit n: n + other == row_tokens + gap - 1, so n cut after gap leaves row_tokens - other.
        partnered = (lengths & mirror << gap - 1) >> gap + 1 << gap + 1
        length = (partnered or lengths).bit_length() - 1
        return self._cut(self._pop(length)) if length > gap else self._place_rest(self._pop(length))

    def _begin(self, lengths: int, mirror: int) -> list[Row]:
        self._rows_begun += 1
        if self._rows_begun % OLDEST_BEGINS_EVERY == 0:
            index, length = self._entry(*next(iter(self._waiting.values())))
            return self._place_rest(index.pop(length))  # the oldest has the lowest number, so it is popped first
        partnered = lengths & mirror  # bit n: n + other == row_tokens
        return self._place_rest(self._pop((partnered or lengths).bit_length() - 1))

    def _most_equal_pair(self, lengths: int, mirror: int, gap: int) -> int:
        """The larger length of the most equal two that make the gap, or 0."""
        half = (gap + 1) // 2
        pairs = (lengths & mirror >> self._row_tokens - gap) >> half  # bit n: half + n and its partner wait
        if pairs & 1 and gap == 2 * half and self._short.count(half) + self._long.count(half) == 1:
            pairs ^= 1  # one document cannot be both
        return half + smallest(pairs) if pairs else 0

    def _pop(self, length: int) -> int:
        """Take a document out of its index; of equals a short one, which is of less use for step 3."""
        return (self._short if self._short.count(length) else self._long).pop(length)

    def _place_rest(self, document: int) -> list[Row]:
        """Place all that is left of a document: whole rows, at once, and its remainder in the row in hand."""
        tokens, offset = self._waiting.pop(document)
        self._waiting_tokens -= tokens - offset
        rows = []
        while tokens - offset + (offset > 0) > self._row_tokens:
            piece = Piece(document, offset, self._row_tokens, offset > 0)
            rows.append(Row([piece], []))
            offset += piece.length - piece.added_bos
        piece = Piece(document, offset, tokens - offset + (offset > 0), offset > 0)
        return rows + self._append(piece)

    def _cut(self, document: int) -> list[Row]:
        """Close the row with the next tokens of a document; what is left of it waits again."""
        tokens, offset = self._waiting[document]
        piece = Piece(document, offset, self._space, offset > 0)
        self._waiting_tokens -= piece.length - piece.added_bos
        self._wait(document, tokens, offset + piece.length - piece.added_bos)
        return self._append(piece)

    def _append(self, piece: Piece) -> list[Row]:
        self.unfilled.append(piece)
        self._space -= piece.length
        if self._space:
            return []
        done = [piece.document for piece in self.unfilled if piece.document not in self._waiting]
        row = Row(self.unfilled, done)
        self.unfilled, self._space = [], self._row_tokens
        return [row]

    @property
    def held(self) -> list[int]:
        return sorted([*self._waiting, *(piece.document for piece in self.unfilled)])

    def state(self) -> dict[str, Any]:
        waiting = [[document, tokens, offset] for document, (tokens, offset) in self._waiting.items()]
        return {"waiting": waiting, "unfilled": list(self.unfilled), "rows_begun": self._rows_begun}

    def restore(self, state: dict[str, Any]) -> None:
        for document, tokens, offset in state["waiting"]:
            self._wait(document, tokens, offset)
            self._waiting_tokens += tokens - offset
        self.unfilled = [Piece(*piece) for piece in state["unfilled"]]
        self._space = self._row_tokens - sum(piece.length for piece in self.unfilled)
        self._rows_begun = state["rows_begun"]
