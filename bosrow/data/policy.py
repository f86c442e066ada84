"""What every packing policy shares: pieces, rows, what a policy does, and an index of documents by length.

The index answers "the largest that fits" at a cost that does not grow with the number of documents: the
lengths that wait are one Python integer used as a set of bits, so a search is a shift and a mask.
"""

import heapq
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple


class Piece(NamedTuple):
    """`length` tokens of a row.

    They are the document's tokens from `offset` on (0 is its own BOS). With `added_bos` the first of them
    is a BOS that is not the document's own, so the piece holds length - 1 tokens of the document.
    """

    document: int
    offset: int
    length: int
    added_bos: bool


class Row(NamedTuple):
    """The pieces of a full row, and the documents of which no later row needs a token.

    Each document is `done` in exactly one row, unless it is still in `Policy.held` at the end.
    """

    pieces: list[Piece]
    done: list[int]


class Policy(ABC):
    """How documents become rows. `lossy` policies crop documents; the others place every token."""

    name: ClassVar[str]
    lossy: ClassVar[bool]
    unfilled: list[Piece]
    """The pieces of the row under construction; after `finish()`, the tail."""

    @abstractmethod
    def add(self, document: int, tokens: int) -> list[Row]:
        """Take in a document of `tokens` >= 1 tokens, its BOS counted; return the rows this made."""

    @abstractmethod
    def finish(self) -> list[Row]:
        """The source has ended: return the full rows still to be made."""

    @property
    @abstractmethod
    def held(self) -> list[int]:
        """The documents added and not yet done, in order of their numbers."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that later rows depend on, as JSON."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Make this new policy, of the same options, go on from where `state` was taken."""


def largest(lengths: int, most: int) -> int:
    """The largest number of at most `most` in a set of bits, or 0."""
    fitting = lengths & (2 << most) - 1
    return fitting.bit_length() - 1 if fitting else 0


def smallest(lengths: int) -> int:
    """The smallest number in a set of bits that is not empty."""
    return (lengths & -lengths).bit_length() - 1


class LengthIndex:
    """Documents by their length, at least 1; among equals the lowest document number comes first."""

    def __init__(self) -> None:
        self.lengths = 0  # bit n is set: some document has length n
        self._documents: defaultdict[int, list[int]] = defaultdict(list)  # length -> heap of document numbers

    def add(self, length: int, document: int) -> None:
        heapq.heappush(self._documents[length], document)
        self.lengths |= 1 << length

    def pop(self, length: int) -> int:
        """Remove and return the lowest document number of exactly this length."""
        documents = self._documents[length]
        document = heapq.heappop(documents)
        if not documents:
            self.lengths ^= 1 << length
        return document

    def count(self, length: int) -> int:
        """How many documents have exactly this length."""
        return len(self._documents.get(length, ()))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """All (document, length)."""
        return ((document, length) for length, documents in self._documents.items() for document in documents)
