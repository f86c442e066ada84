"""The policy `stream`: documents joined and cut every row. The baseline that everyone uses."""

from bosrow.packing.policy import Piece, Policy, Row, unfilled_row
from bosrow.strict_json import Record


class StreamState(Record):
    """The pieces of the row under construction, and whether its first token is the last of a row before."""

    pieces: list[Piece]
    repeats: bool


class Stream(Policy):
    """Documents joined and cut every row_tokens - 1 tokens: the last token of a row is the first of the next.

    So every token but the very first is predicted once. A row need not start with a BOS. A document whose
    last token is the last of a row stays `held` for the next row, though `unfilled` does not list that token.
    """

    name = "stream"
    lossy = False
    State = StreamState
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

    def state(self) -> StreamState:
        return StreamState(pieces=list(self._pieces), repeats=self._repeats)

    def restore(self, state: StreamState) -> None:
        self._pieces = unfilled_row(state.pieces, self._row_tokens)
        self._repeats = state.repeats
        self._space = self._row_tokens - sum(piece.length for piece in self._pieces)
