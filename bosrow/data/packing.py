"""Packing: lengths of documents in, rows of exactly `row_tokens` tokens out; one class per policy.

Promise: pure (no I/O, no clock, no chance), so the same lengths give the same rows on every machine, and a
policy restored from `state()` goes on exactly as if it had never stopped. A document's length counts its own
BOS. Documents are known by their numbers, which increase. `finish()` ends the source; what is then in
`unfilled` is the tail, which no row holds.

Cost: placing a document takes the same few microseconds whatever the buffer holds. The lengths that wait are
one Python integer used as a set of bits (bit n: some waiting document has exactly n tokens), so "the largest
that fits" and "all pairs that fill this gap" are a shift and a mask over row_tokens bits.

    policy = make_policy("crop", row_tokens=8, buffer_docs=2, buffer_tokens=1 << 26)
    policy.add(0, 5)   # []
    policy.add(1, 3)   # []: document 0, the largest that fits, is placed; the row has 3 tokens left
    policy.add(2, 4)   # [Row(pieces=[Piece(0, 0, 5, False), Piece(1, 0, 3, False)], done=[0, 1])]
"""

import heapq
from typing import Any

from bosrow.data.keep import Keep
from bosrow.data.policy import LengthIndex, Piece, Policy, Row, smallest, unfilled_row


class Crop(Policy):
    """Best fit from a buffer of `buffer_docs` documents; what does not fit at last is cropped.

    One placement whenever the buffer is full: the largest document that fits into what is left of the row,
    the earliest of equals; if none fits, the shortest, cropped to the space, its tail gone.
    """

    name = "crop"
    lossy = True
    algorithm = "largest_fit_then_shortest_crop"
    advice = "nanochat's rule; what does not fit is lost: to repeat a recipe"

    def __init__(self, row_tokens: int, buffer_docs: int, buffer_tokens: int) -> None:
        self.unfilled = []
        self._row_tokens = row_tokens
        self._new_row = (2 << row_tokens) - 1
        self._fitting = self._new_row  # bit n is set: n tokens fit into what is left of the row
        self._buffer_docs = buffer_docs
        self._waiting = 0
        self._short = LengthIndex()
        self._long: list[tuple[int, int]] = []  # heap of (tokens, document): more tokens than a row, taken last

    def add(self, document: int, tokens: int) -> list[Row]:
        self._wait(document, tokens)
        return self._place() if self._waiting >= self._buffer_docs else []

    def finish(self) -> list[Row]:
        rows = []
        while self._waiting:
            rows += self._place()
        return rows

    def _wait(self, document: int, tokens: int) -> None:
        self._waiting += 1
        if tokens <= self._row_tokens:
            self._short.add(tokens, document)
        else:
            heapq.heappush(self._long, (tokens, document))

    def _place(self) -> list[Row]:
        self._waiting -= 1
        short = self._short
        length = (short.lengths & self._fitting).bit_length() - 1
        if length > 0:
            document = short.pop(length)
        else:
            length = self._fitting.bit_length() - 1
            document = short.pop(smallest(short.lengths)) if short.lengths else heapq.heappop(self._long)[1]
        self.unfilled.append(Piece(document, 0, length, False))
        self._fitting >>= length
        if self._fitting > 1:
            return []
        row = Row(self.unfilled, [piece.document for piece in self.unfilled])
        self.unfilled, self._fitting = [], self._new_row
        return [row]

    def rest(self) -> list[tuple[int, int, int]]:
        waiting = [*self._short, *((document, tokens) for tokens, document in self._long)]
        unfilled = [(document, offset + length) for document, offset, length, _ in self.unfilled]
        return sorted((document, tokens, 0) for document, tokens in waiting + unfilled)

    def state(self) -> dict[str, Any]:
        waiting = sorted([*self._short, *((document, tokens) for tokens, document in self._long)])
        return {"waiting": waiting, "unfilled": list(self.unfilled)}

    def restore(self, state: dict[str, Any]) -> None:
        for document, tokens in state["waiting"]:
            self._wait(document, tokens)
        self.unfilled = unfilled_row(state["unfilled"], self._row_tokens)
        self._fitting = self._new_row >> sum(piece.length for piece in self.unfilled)


class CropLongFirst(Crop):
    """As `crop`, but a document of `row_tokens` tokens or more goes at once into a row of its own, cropped.

    So the buffer holds only documents that can be placed whole; `crop`'s fills up with long ones.
    """

    name = "crop-long-first"
    algorithm = "long_first_then_largest_fit_then_shortest_crop"
    advice = "as crop, but long documents take a row each: loses less"

    def add(self, document: int, tokens: int) -> list[Row]:
        if tokens >= self._row_tokens:
            return [Row([Piece(document, 0, self._row_tokens, False)], [document])]
        return super().add(document, tokens)


class Stream(Policy):
    """Documents joined and cut every row_tokens - 1 tokens: the last token of a row is the first of the next.

    So every token but the very first is predicted once. A row need not start with a BOS. A document whose
    last token is the last of a row stays `held` for the next row, though `unfilled` does not list that token.
    """

    name = "stream"
    lossy = False
    algorithm = "concatenate_overlap_one"
    advice = "loses nothing, rows start anywhere: the usual baseline"

    def __init__(self, row_tokens: int, buffer_docs: int, buffer_tokens: int) -> None:
        self._row_tokens = row_tokens
        self._space = row_tokens
        self._pieces: list[Piece] = []  # of the row under construction, the repeated token included
        self._repeats = False  # whether the first token of `_pieces` was the last of a row

    def add(self, document: int, tokens: int) -> list[Row]:
        rows = []
        offset = 0
        while tokens - offset >= self._space:
            # The last piece's document is not done: its last token here is the first of the next row.
            done = [piece.document for piece in self._pieces]
            rows.append(Row([*self._pieces, Piece(document, offset, self._space, False)], done))
            offset += self._space - 1
            self._pieces, self._space, self._repeats = [], self._row_tokens, True
        self._pieces.append(Piece(document, offset, tokens - offset, False))
        self._space -= tokens - offset
        return rows

    def finish(self) -> list[Row]:
        return []

    @property
    def unfilled(self) -> list[Piece]:  # type: ignore[override]
        if not self._repeats:
            return list(self._pieces)
        document, offset, length, _ = self._pieces[0]
        first = [Piece(document, offset + 1, length - 1, False)] if length > 1 else []
        return first + self._pieces[1:]

    def rest(self) -> list[tuple[int, int, int]]:
        return [
            (document, offset + length, offset + int(self._repeats and number == 0))
            for number, (document, offset, length, _) in enumerate(self._pieces)
        ]

    def state(self) -> dict[str, Any]:
        return {"pieces": list(self._pieces), "repeats": self._repeats}

    def restore(self, state: dict[str, Any]) -> None:
        self._pieces = unfilled_row(state["pieces"], self._row_tokens)
        self._repeats = state["repeats"]
        self._space = self._row_tokens - sum(piece.length for piece in self._pieces)


POLICIES: dict[str, type[Policy]] = {policy.name: policy for policy in (Crop, CropLongFirst, Keep, Stream)}
"""All policies, by name. A new one is known everywhere once it stands here."""


def make_policy(name: str, *, row_tokens: int, buffer_docs: int, buffer_tokens: int) -> Policy:
    """The policy called `name`, new and empty.

    `stream` has no buffer, and only `keep` heeds `buffer_tokens`: of a document that waits, the crop policies
    need no more than the first `row_tokens` tokens.
    """
    if name not in POLICIES:
        raise ValueError(f"there is no policy {name!r}; there are: {', '.join(POLICIES)}")
    return POLICIES[name](row_tokens, buffer_docs, buffer_tokens)
