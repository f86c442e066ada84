"""Several data sets as one endless order of rows, in the proportions of their weights.

Promise: the shares are exact in every block of a few hundred to a few thousand positions. A position's row is computed
without any state, so a mixture resumes anywhere and is the same for any number of ranks. Each data set goes through its
own epochs, with each of its rows once in each (two epochs may overlap by less than a block).
Cost: as for the order of one data set, and about 0.1 milliseconds for each block that is asked for.

A block of B positions holds b_i positions of data set i. The slots 0 to B - 1 belong to the data sets one after the
other: the first b_0 to data set 0, the next b_1 to data set 1, and so on. In each block a new permutation (one epoch of
a `RowOrder` over B slots) decides which slot is at which position. In block k, the j-th slot of data set i holds
position k * b_i + j of that data set's own order.

    >>> mixed = MixedOrder(rows=(10, 4), shares=(2, 1), seed=42)
    >>> places = mixed.rows_at(np.arange(30))  # rows 0 to 9 are the first data set's, 10 to 13 the second's
    >>> [int((block >= 10).sum()) for block in places.reshape(10, 3)]
    [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
"""

import hashlib
import json
import math
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bosrow.dataset.order import Integers, RowOrder
from bosrow.dataset.rows import Rows, open_rows
from bosrow.errors import OptionError
from bosrow.tokenizers.token_ids import TokenArray

LEAST_BLOCK, LARGEST_BLOCK = 256, 1 << 16  # positions
WEIGHTED = re.compile(r"(.+):(\d+(?:\.\d*)?|\.\d+|\d+/[1-9]\d*)")


def weighted_paths(texts: tuple[str, ...]) -> list[tuple[Path, Fraction]]:
    """Each "PATH:WEIGHT" or "PATH" (weight 1) of `texts`. A text that is an existing path has weight 1.

    >>> weighted_paths(("web:0.7", "books:3/10"))
    [(PosixPath('web'), Fraction(7, 10)), (PosixPath('books'), Fraction(3, 10))]
    """
    found = []
    for text in texts:
        match = None if Path(text).exists() else WEIGHTED.fullmatch(text)
        weight = Fraction(match[2]) if match else Fraction(1)
        if weight <= 0:
            raise OptionError(f"--data_dir {text}: the weight is 0; leave the data set out, or give it more than 0")
        found.append((Path(match[1] if match else text), weight))
    return found


def shares_of(weights: list[Fraction]) -> tuple[int, ...]:
    """How many positions of a block each data set gets, exactly in proportion to `weights`.

    Raises OptionError if a block would need more than 65,536 positions.

    >>> shares_of([Fraction("0.75"), Fraction("0.25")])
    (192, 64)
    """
    total = sum(weights)
    smallest = math.lcm(*((weight / total).denominator for weight in weights))
    if smallest > LARGEST_BLOCK:
        raise OptionError(
            f"the weights of --data_dir need blocks of {smallest:,} rows to be exact, at most {LARGEST_BLOCK:,} are "
            "possible; give weights with fewer digits"
        )
    block = smallest * -(-LEAST_BLOCK // smallest)
    return tuple(int(block * weight / total) for weight in weights)


@dataclass(frozen=True, kw_only=True)
class MixedOrder:
    """The endless order of several data sets: data set i has `rows[i]` rows, and `shares[i]` positions of a block.

    A row's number counts over all data sets, in the order in which they were given.
    """

    rows: tuple[int, ...]
    shares: tuple[int, ...]
    seed: int

    @cached_property
    def _orders(self) -> list[RowOrder]:
        """The order of each data set. Their seeds differ, so data sets of the same size are in different orders."""
        return [
            RowOrder(rows=rows, seed=_derived_seed(self.seed, f"data set {number}"))
            for number, rows in enumerate(self.rows)
        ]

    @cached_property
    def _slots(self) -> RowOrder:
        return RowOrder(rows=sum(self.shares), seed=_derived_seed(self.seed, "slots"))

    def places_at(self, positions: Integers) -> tuple[Integers, Integers]:
        """For each of `positions`: the number of its data set, and the position in that data set's own order."""
        positions = np.asarray(positions, dtype=np.int64)
        firsts = np.cumsum((0, *self.shares))
        slots = self._slots.rows_at(positions)
        sets = np.searchsorted(firsts, slots, side="right") - 1
        blocks = positions // firsts[-1]
        return sets, blocks * np.array(self.shares)[sets] + slots - firsts[sets]

    def rows_at(self, positions: Integers) -> Integers:
        """The row at each of `positions` (any shape)."""
        sets, places = self.places_at(positions)
        result = np.empty(places.shape, dtype=np.int64)
        for number, (order, first) in enumerate(zip(self._orders, np.cumsum((0, *self.rows)), strict=False)):
            chosen = sets == number
            result[chosen] = first + order.rows_at(places[chosen])
        return result


def _derived_seed(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"bosrow mixture, seed {seed}, {name}".encode(), digest_size=7).digest())


class MixedRows:
    """The rows of several data sets, one data set after the other; read like `Rows`."""

    def __init__(self, parts: list[Rows]) -> None:
        self.parts = parts
        self.row_tokens = parts[0].row_tokens
        self._firsts = np.cumsum([0] + [len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def __getitem__(self, index: NDArray[np.integer]) -> TokenArray:
        """The rows at `index` (n,), as a copy (n, row_tokens). Raises IndexError if one does not exist."""
        index = np.asarray(index)
        if index.size and (index.min() < 0 or index.max() >= len(self)):
            raise IndexError(f"there are {len(self):,} rows; row {index.max():,} was asked for")
        result = np.empty((len(index), self.row_tokens), self.parts[0].manifest.dtype)
        sets = np.searchsorted(self._firsts, index, side="right") - 1
        for number, part in enumerate(self.parts):
            chosen = sets == number
            result[chosen] = part[index[chosen] - self._firsts[number]]
        return result

    def locate(self, row: int) -> tuple[str, int]:
        """The path of the shard that holds `row`, with its data set's folder, and the row's number in the shard."""
        number = int(np.searchsorted(self._firsts, row, side="right")) - 1
        shard, row_in_shard = self.parts[number].locate(row - int(self._firsts[number]))
        return str(self.parts[number].data_dir / shard), row_in_shard


class Mixture:
    """The data sets of a run with their weights; there may be only one, and then a mixture costs nothing more.

    Raises OptionError or DataSetError if a data set cannot be used, or does not fit the others.
    """

    def __init__(self, data_dirs: tuple[str, ...], *, seq_len: int) -> None:
        weighted = weighted_paths(data_dirs)
        self.parts = [open_rows(path, "train", seq_len=seq_len) for path, _ in weighted]
        self.shares = shares_of([weight for _, weight in weighted])
        # Of the first data set. What training needs of these (tokenizer, row length) is the same in all.
        self.data_dir, self.manifest = self.parts[0].data_dir, self.parts[0].manifest
        for part in self.parts[1:]:
            _require_same_tokens(self.parts[0], part)
        self.rows = _joined(self.parts)

    def order(self, seed: int) -> RowOrder | MixedOrder:
        """The order of training over `rows`."""
        if len(self.parts) == 1:
            return RowOrder(rows=len(self.rows), seed=seed)
        return MixedOrder(rows=tuple(map(len, self.parts)), shares=self.shares, seed=seed)

    def val_rows(self) -> Rows | MixedRows | None:
        """The val rows of all data sets that have some, one data set after the other."""
        parts = [open_rows(part.data_dir, "val") for part in self.parts if part.manifest.rows_of("val")]
        return _joined(parts) if parts else None

    def epochs(self, positions: int) -> list[Fraction]:
        """How many epochs of each data set the first `positions` hold, to within a block."""
        block = sum(self.shares)
        return [
            Fraction(positions * share, block * len(part)) for share, part in zip(self.shares, self.parts, strict=True)
        ]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the data sets and their shares; for a single data set, its own fingerprint."""
        if len(self.parts) == 1:
            return self.manifest.fingerprint
        content = [[part.manifest.fingerprint, share] for part, share in zip(self.parts, self.shares, strict=True)]
        return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()


def _joined(parts: list[Rows]) -> Rows | MixedRows:
    return parts[0] if len(parts) == 1 else MixedRows(parts)


def _require_same_tokens(one: Rows, other: Rows) -> None:
    """Raise OptionError unless the token ids of both mean the same text."""
    ours, theirs = (
        (
            part.manifest.meta.get("tokenizer"),
            part.manifest.vocab_size,
            part.manifest.bos_token_id,
            part.manifest.meta["bosrow"]["tokenizer"]["vocabulary_sha256"],
        )
        for part in (one, other)
    )
    if ours != theirs:
        raise OptionError(
            "a mixture needs one tokenizer, but these differ (name, words, BOS, sha256 of the vocabulary):\n"
            f"  {one.data_dir}: {ours}\n  {other.data_dir}: {theirs}"
        )
