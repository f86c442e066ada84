"""The policies `crop` and `crop-long-first`: best fit; where nothing fits, a document is cropped."""

import heapq

from bosrow.packing.length_index import LengthIndex, smallest
from bosrow.packing.policy import Piece, Policy, Row, unfilled_row
from bosrow.strict_json import Count, Invalid, Record


class CropState(Record):
    """The documents that wait, by number, with their tokens; and the row under construction."""

    waiting: list[tuple[Count, Count]]
    unfilled: list[Piece]


class Crop(Policy):
    """Best fit from a buffer of `buffer_docs` documents; if none fits, one is cropped.

    One placement whenever the buffer is full: the largest document that fits into what is left of the row,
    the earliest of equals; if none fits, the shortest, cropped to the space, its tail gone.
    """

    name = "crop"
    lossy = True
    State = CropState
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

    def state(self) -> CropState:
        waiting = sorted([*self._short, *((document, tokens) for tokens, document in self._long)])
        return CropState(waiting=waiting, unfilled=list(self.unfilled))

    def restore(self, state: CropState) -> None:
        for document, tokens in state.waiting:
            if tokens == 0:
                raise Invalid(f"document {document} waits without a token")
            self._wait(document, tokens)
        self.unfilled = unfilled_row(state.unfilled, self._row_tokens)
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
