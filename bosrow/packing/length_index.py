"""Documents that wait, found by their length.

Cost: "the largest that fits" takes the same time however many documents wait. The lengths that wait are one Python
integer used as a set of bits (bit n: some document has length n), so a search is a shift and a mask.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterator


def largest(lengths: int, most: int) -> int:
    """The largest number of at most `most` in a set of bits, or 0."""
    fitting = lengths & ((2 << most) - 1)
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
