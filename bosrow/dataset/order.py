"""The order of training: which row is at which position, for any seed, epoch, rank and world size.

Promise: each epoch holds each row exactly once, in an order that looks random. The rows of a step do not depend on the
number of ranks. Nothing is stored, so a run resumes at any position. Cost: about 0.5 microseconds a position in bulk,
and memory only for the positions asked for.

Position p of the endless order holds row perm(p mod N) of epoch p div N. The permutation is an alternating
Feistel network (Black and Rogaway 2002, "Ciphers with arbitrary finite domains"). A row number below N is
split into (left, right), its place in a rectangle just larger than N. Each round adds a keyed hash of one
half to the other, which can be undone. A result of N or more is permuted again (cycle walking).

    >>> order = RowOrder(rows=10, seed=42)
    >>> sorted(order.rows_at(np.arange(10)).tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

ROUNDS = 8  # each half is hashed into the other four times
MAX_ROWS = 1 << 62

Integers = NDArray[np.int64]
Permute = Callable[[NDArray[np.uint64], NDArray[np.uint64]], NDArray[np.uint64]]


@lru_cache(maxsize=8)
def _round_keys(seed: int, epoch: int) -> NDArray[np.uint64]:
    digest = hashlib.blake2b(f"bosrow order, seed {seed}, epoch {epoch}".encode(), digest_size=8 * ROUNDS).digest()
    return np.frombuffer(digest, dtype="<u8")


def _hash(values: NDArray[np.uint64], key: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A keyed mix of 64-bit values: the finaliser of SplitMix64 (Steele, Lea and Flood 2014), key in and out."""
    values = (values + key) * np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27)) ^ key) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _walk(values: Integers, rows: int, keys: NDArray[np.uint64], permute: Permute) -> Integers:
    """Apply `permute`, a bijection on a domain that holds 0..rows-1, until each value is below `rows` again.

    Shapes: values (n,), keys (ROUNDS, n).
    """
    result = permute(values.astype(np.uint64), keys)
    while (outside := result >= rows).any():
        result[outside] = permute(result[outside], keys[:, outside])
    return result.astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class RowOrder:
    """The endless order of `rows` rows under `seed`."""

    rows: int
    seed: int

    def __post_init__(self) -> None:
        if not 1 <= self.rows <= MAX_ROWS:
            raise ValueError(f"rows is {self.rows}; 1 to 2**62 are possible")

    def rows_at(self, positions: Integers) -> Integers:
        """The row at each of `positions` (any shape, any epochs)."""
        positions = np.asarray(positions, dtype=np.int64)
        return self._by_epoch(positions // self.rows, positions % self.rows, self._permute)

    def positions_of(self, rows: Integers, epochs: Integers | int) -> Integers:
        """The position of each of `rows` in its epoch: the inverse of `rows_at`."""
        rows, epochs = np.broadcast_arrays(np.asarray(rows, dtype=np.int64), np.asarray(epochs, dtype=np.int64))
        return epochs * self.rows + self._by_epoch(epochs, rows, self._restore)

    def _by_epoch(self, epochs: Integers, values: Integers, permute: Permute) -> Integers:
        different, which = np.unique(epochs, return_inverse=True)
        keys = np.array([_round_keys(self.seed, epoch) for epoch in different.tolist()], np.uint64).reshape(-1, ROUNDS)
        of_each = np.broadcast_to(keys.T, (ROUNDS, values.size)) if len(different) == 1 else keys[which.ravel()].T
        return _walk(values.ravel(), self.rows, of_each, permute).reshape(values.shape)

    @property
    def _sides(self) -> tuple[np.uint64, np.uint64]:
        """Width and height of the rectangle: at least `rows` places, and fewer than sqrt(rows) + 1 more."""
        width = math.isqrt(self.rows - 1) + 1
        return np.uint64(width), np.uint64(-(-self.rows // width))

    def _permute(self, values: NDArray[np.uint64], keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
        width, height = self._sides
        left, right = values % width, values // width
        for number, key in enumerate(keys):
            if number % 2:
                right = (right + _hash(left, key) % height) % height
            else:
                left = (left + _hash(right, key) % width) % width
        return right * width + left

    def _restore(self, values: NDArray[np.uint64], keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
        width, height = self._sides
        left, right = values % width, values // width
        for number, key in reversed(list(enumerate(keys))):
            if number % 2:
                right = (right + height - _hash(left, key) % height) % height
            else:
                left = (left + width - _hash(right, key) % width) % width
        return right * width + left


def positions_of_step(step: int, rows_per_step: int, rank: int = 0, world_size: int = 1) -> Integers:
    """The positions that `rank` of `world_size` reads in step `step` (counted from 0): every world_size-th one.

    For any world size that divides `rows_per_step`, the ranks together read the same positions.

    >>> positions_of_step(step=2, rows_per_step=6, rank=1, world_size=3)
    array([13, 16])
    """
    if rows_per_step % world_size or not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} of {world_size} cannot take its share of {rows_per_step} rows")
    return np.arange(step * rows_per_step + rank, (step + 1) * rows_per_step, world_size, dtype=np.int64)
