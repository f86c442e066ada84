"""What a packing policy is: documents go in by number and length, full rows of pieces come out."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

from bosrow.strict_json import Count, Invalid, Record


class Piece(NamedTuple):
    """`length` tokens of a row.

    They are the document's tokens from `offset` on (0 is its own BOS). With `added_bos` the first of them
    is a BOS that is not the document's own, so the piece holds length - 1 tokens of the document.
    """

    document: Count
    offset: Count
    length: Count
    added_bos: bool


class Row(NamedTuple):
    """The pieces of a full row, and the documents that are `done`: no later row needs a token of them.

    Each document is done in exactly one row, unless it is still in `Policy.held` at the end.
    """

    pieces: list[Piece]
    done: list[int]


class Policy(ABC):
    """How documents become rows. `lossy` policies crop documents; the others place every token."""

    name: ClassVar[str]
    lossy: ClassVar[bool]
    algorithm: ClassVar[str]
    """What meta.json calls it (`packing_algo`)."""
    advice: ClassVar[str]
    """What it does and when to take it, in one line for people."""
    State: ClassVar[type[Record]]
    """What `state()` returns, with the types of its fields, which are checked before `restore` sees it."""
    unfilled: list[Piece]
    """The pieces of the row under construction; after `finish()`, the tail."""

    @abstractmethod
    def __init__(self, row_tokens: int, buffer_docs: int, buffer_tokens: int) -> None:
        """Every policy is made from the same three sizes, and uses those that it needs."""

    @abstractmethod
    def add(self, document: int, tokens: int) -> list[Row]:
        """Take in a document of `tokens` >= 1 tokens, its BOS counted; return the rows this made."""

    @abstractmethod
    def finish(self) -> list[Row]:
        """The source has ended: return the full rows still to be made."""

    @abstractmethod
    def rest(self) -> list[tuple[int, int, int]]:
        """The documents added and not yet done, in order: number, tokens, and how many of these stand in rows."""

    @property
    def held(self) -> list[int]:
        """The numbers of the documents added and not yet done."""
        return [document for document, _, _ in self.rest()]

    @abstractmethod
    def state(self) -> Any:
        """All that later rows depend on, as a `State`."""

    @abstractmethod
    def restore(self, state: Any) -> None:
        """Make this new policy, of the same options, go on from where `state`, a `State`, was taken.

        What cannot be a state raises Invalid, or shows in `rest()` or `state()`.
        """


def unfilled_row(pieces: list[Piece], row_tokens: int, *, adds_bos: bool = False) -> list[Piece]:
    """The pieces of an unfilled row, from a state. Raises Invalid where there can be no such row."""
    if sum(piece.length for piece in pieces) >= row_tokens:
        raise Invalid("a row that is not full has as many tokens as a full one")
    if any(piece.added_bos is not (adds_bos and piece.offset > 0) for piece in pieces):
        raise Invalid("a piece has an added BOS where none belongs, or none")
    return list(pieces)
