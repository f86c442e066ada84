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

from bosrow.packing.length_index import LengthIndex, largest, smallest
from bosrow.packing.policy import Piece, Policy, Row, unfilled_row
from bosrow.strict_json import Count, Invalid, Record

# 2 and 4 are as good on most lengths. A larger number lets hard lengths pile up, a smaller one spends the easy ones.
OLDEST_BEGINS_EVERY = 3


class KeepState(Record):
    """The documents that wait (number, tokens, how many of these stand in rows), and the row under construction."""

    waiting: list[tuple[Count, Count, Count]]
    unfilled: list[Piece]
    rows_begun: Count


class Keep(Policy):
    """Exactly full rows, each token in one of them, nearly as few cuts as there can be."""

    name = "keep"
    lossy = False
    State = KeepState
    algorithm = "exact_fill_oldest_first_cut_tail_returns"
    advice = "loses nothing, each row starts with BOS: take it if in doubt"

    def __init__(self, row_tokens: int, buffer_docs: int, buffer_tokens: int) -> None:
        self.unfilled = []
        self._row_tokens = row_tokens
        self._space = row_tokens
        self._buffer_docs = buffer_docs
        self._buffer_tokens = buffer_tokens
        self._waiting: dict[int, tuple[int, int]] = {}  # document -> (tokens, offset)
        self._oldest = 0  # no document that waits has a lower number
        self._waiting_tokens = 0
        self._short = LengthIndex()  # documents that fit a row, by what is left of them
        self._long = LengthIndex()  # the others, by their remainder
        self._mirror = 0  # bit row_tokens - n is set: one of both has length n
        self._rows_begun = 0

    def add(self, document: int, tokens: int) -> list[Row]:
        self._wait(document, tokens, 0)
        self._waiting_tokens += tokens
        rows: list[Row] = []
        while len(self._waiting) >= self._buffer_docs or self._waiting_tokens >= self._buffer_tokens:
            self._place(rows)
        return rows

    def finish(self) -> list[Row]:
        rows: list[Row] = []
        while self._waiting:
            self._place(rows)
        return rows

    def _wait(self, document: int, tokens: int, offset: int) -> None:
        self._waiting[document] = tokens, offset
        index, length = self._entry(tokens, offset)
        index.add(length, document)
        self._mirror |= 1 << (self._row_tokens - length)

    def _entry(self, tokens: int, offset: int) -> tuple[LengthIndex, int]:
        """The index in which such a document stands, and its length there."""
        length = tokens - offset + (offset > 0)
        if length <= self._row_tokens:
            return self._short, length
        return self._long, (length - 2) % (self._row_tokens - 1) + 2

    def _place(self, rows: list[Row]) -> None:
        """One step of the rule; add the rows it filled to `rows`."""
        gap, short, long = self._space, self._short, self._long
        lengths = short.lengths | long.lengths
        if gap == self._row_tokens:
            self._begin(lengths, rows)
        elif (lengths >> gap) & 1:
            self._place_rest(self._pop(gap), rows)
        elif half := self._most_equal_pair(lengths, gap):
            self._place_rest(self._pop(half), rows)
            self._place_rest(self._pop(gap - half), rows)
        elif remainder := largest(long.lengths, gap):
            self._cut(self._take(long, remainder), rows)
        elif length := largest(lengths, gap // 2):
            self._place_rest(self._pop(length), rows)
        else:
            # Bit n: another length is row_tokens + gap - 1 - n. It and what n leaves after the gap fill a row.
            partnered = lengths & (self._mirror << (gap - 1))
            partnered = (partnered >> (gap + 1)) << (gap + 1)  # those longer than the gap alone
            length = (partnered or lengths).bit_length() - 1
            place = self._cut if length > gap else self._place_rest
            place(self._pop(length), rows)

    def _begin(self, lengths: int, rows: list[Row]) -> None:
        self._rows_begun += 1
        if self._rows_begun % OLDEST_BEGINS_EVERY == 0:
            while self._oldest not in self._waiting:
                self._oldest += 1
            index, length = self._entry(*self._waiting[self._oldest])
            self._place_rest(self._take(index, length), rows)  # it has the lowest number, so it is taken first
        else:
            partnered = lengths & self._mirror  # bit n: n + other == row_tokens
            self._place_rest(self._pop((partnered or lengths).bit_length() - 1), rows)

    def _most_equal_pair(self, lengths: int, gap: int) -> int:
        """The larger length of the most equal two that make the gap, or 0."""
        half = (gap + 1) // 2
        partners = self._mirror >> (self._row_tokens - gap)  # bit n: some document has length gap - n
        pairs = (lengths & partners) >> half  # bit n: half + n and its partner wait
        if pairs & 1 and gap == 2 * half and self._short.count(half) + self._long.count(half) == 1:
            pairs ^= 1  # one document cannot be both
        return half + smallest(pairs) if pairs else 0

    def _pop(self, length: int) -> int:
        """Take a document out of its index; of equals a short one, which is of less use for step 3."""
        return self._take(self._short if (self._short.lengths >> length) & 1 else self._long, length)

    def _take(self, index: LengthIndex, length: int) -> int:
        document = index.pop(length)
        if not ((self._short.lengths | self._long.lengths) >> length) & 1:
            self._mirror ^= 1 << (self._row_tokens - length)
        return document

    def _place_rest(self, document: int, rows: list[Row]) -> None:
        """Place all that is left of a document: whole rows, at once, and its remainder in the row in hand."""
        tokens, offset = self._waiting.pop(document)
        self._waiting_tokens -= tokens - offset
        while (length := tokens - offset + (offset > 0)) > self._row_tokens:
            added_bos = offset > 0
            rows.append(Row([Piece(document, offset, self._row_tokens, added_bos)], []))
            offset += self._row_tokens - added_bos
        self._append(Piece(document, offset, length, offset > 0), rows)

    def _cut(self, document: int, rows: list[Row]) -> None:
        """Close the row with the next tokens of a document; what is left of it waits again."""
        tokens, offset = self._waiting[document]
        piece = Piece(document, offset, self._space, offset > 0)
        self._waiting_tokens -= piece.length - piece.added_bos
        self._wait(document, tokens, offset + piece.length - piece.added_bos)
        self._append(piece, rows)

    def _append(self, piece: Piece, rows: list[Row]) -> None:
        self.unfilled.append(piece)
        self._space -= piece.length
        if self._space == 0:
            rows.append(
                Row(self.unfilled, [piece.document for piece in self.unfilled if piece.document not in self._waiting])
            )
            self.unfilled, self._space = [], self._row_tokens

    def rest(self) -> list[tuple[int, int, int]]:
        waiting = [(document, tokens, offset) for document, (tokens, offset) in self._waiting.items()]
        unfilled = [(document, offset + length - bos, offset) for document, offset, length, bos in self.unfilled]
        return sorted(waiting + unfilled)

    def state(self) -> KeepState:
        waiting = sorted((document, tokens, offset) for document, (tokens, offset) in self._waiting.items())
        return KeepState(waiting=waiting, unfilled=list(self.unfilled), rows_begun=self._rows_begun)

    def restore(self, state: KeepState) -> None:
        for document, tokens, offset in state.waiting:
            if offset >= tokens:
                raise Invalid(f"document {document} waits without a token")
            self._wait(document, tokens, offset)
            self._waiting_tokens += tokens - offset
        self._oldest = min(self._waiting, default=0)
        self.unfilled = unfilled_row(state.unfilled, self._row_tokens, adds_bos=True)
        self._space = self._row_tokens - sum(piece.length for piece in self.unfilled)
        self._rows_begun = state.rows_begun
