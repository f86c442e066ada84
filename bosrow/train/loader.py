"""Batches of rows as tensors, for bosrow's trainer and for anyone else's.

Promise: the order of bosrow.data.sampler, resumable at any batch and the same for every world size; each
row is turned from uint16 to int64 once; the next batches are read while the model works. Cost: two
batches of memory ahead, and a thread that sleeps most of the time.
"""

import itertools
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from bosrow.data.lookup import Provenance
from bosrow.data.mixture import MixedOrder, MixedRows, Mixture
from bosrow.data.rows import Rows, open_rows
from bosrow.data.sampler import RowOrder
from bosrow.errors import BosrowError, OptionError

READ_AHEAD = 2  # batches


@dataclass(frozen=True, kw_only=True)
class BatchMeta:
    """Where a batch's rows stand: in the order of training, in the split, and in the shards."""

    positions: NDArray[np.int64]  # (B,)
    rows: NDArray[np.int64]  # (B,) counted over the whole split
    places: list[tuple[str, int]]  # shard name, row inside it
    source: Rows | MixedRows

    def documents(self) -> list[list[int]]:
        """The documents in each row, from left to right, by their number in the provenance, where they are read now.

        Raises OptionError for a mixture, DataSetError for a data set without provenance.
        """
        if isinstance(self.source, MixedRows):
            raise OptionError("documents are numbered in one data set; ask the parts of a mixture, by `places`")
        pieces = Provenance(self.source.data_dir).pieces_of_rows(self.source.split, self.rows.tolist())
        return [[placed.piece.document for placed in pieces[row]] for row in self.rows.tolist()]


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Batches of one rank by number: batch b holds positions b*B*W + r, b*B*W + r + W, ... of the order."""

    rows: Rows | MixedRows
    order: RowOrder | MixedOrder
    batch_size: int
    rank: int
    world_size: int
    end: int | None  # positions from here on are left out; None: endless
    with_meta: bool

    def positions(self, number: int) -> NDArray[np.int64]:
        """Positions that batch `number` holds."""
        first = number * self.batch_size * self.world_size + self.rank
        positions = np.arange(first, first + self.batch_size * self.world_size, self.world_size, dtype=np.int64)
        return positions if self.end is None else positions[positions < self.end]

    def numbers(self, start: int) -> Iterable[int]:
        """Numbers of the batches from `start` on."""
        if self.end is None:
            return itertools.count(start)
        rows_of_rank = len(range(self.rank, self.end, self.world_size))
        return range(start, -(-rows_of_rank // self.batch_size))

    def __getitem__(self, number: int) -> tuple[Any, ...]:
        """(x, y) or (x, y, meta) of batch `number`: int64, contiguous, (B, T) each."""
        positions = self.positions(number)
        rows = self.order.rows_at(positions)
        tokens = self.rows[rows]
        pair = np.empty((2, len(rows), self.rows.row_tokens - 1), dtype=np.int64)
        pair[0], pair[1] = tokens[:, :-1], tokens[:, 1:]
        x, y = torch.from_numpy(pair)
        if not self.with_meta:
            return x, y
        places = [self.rows.locate(row) for row in rows.tolist()]
        return x, y, BatchMeta(positions=positions, rows=rows, places=places, source=self.rows)


class _CarriedErrors:
    """`batches` for worker processes: an error becomes an item, so that it arrives as it was raised."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __getitem__(self, number: int) -> tuple[Any, ...] | BosrowError:
        try:
            return self.batches[number]
        except BosrowError as error:
            return error


class BatchLoader:
    """An iterable of (x, y) or (x, y, meta); each iteration begins at batch `start`."""

    def __init__(self, batches: Batches, start: int, num_workers: int) -> None:
        self.batches = batches
        self.start = start
        self.num_workers = num_workers

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._from_workers() if self.num_workers else self._from_thread()

    def _from_thread(self) -> Iterator[tuple[Any, ...]]:
        numbers = iter(self.batches.numbers(self.start))
        pending: deque[Future[tuple[Any, ...]]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="bosrow-read-ahead") as thread:
            for number in itertools.islice(numbers, READ_AHEAD):
                pending.append(thread.submit(self.batches.__getitem__, number))
            while pending:
                batch = pending.popleft().result()
                for number in itertools.islice(numbers, 1):
                    pending.append(thread.submit(self.batches.__getitem__, number))
                yield batch

    def _from_workers(self) -> Iterator[tuple[Any, ...]]:
        loader: DataLoader[Any] = DataLoader(
            _CarriedErrors(self.batches),  # type: ignore[arg-type]  # a map needs no more than __getitem__
            sampler=self.batches.numbers(self.start),
            batch_size=None,
            num_workers=self.num_workers,
            worker_init_fn=_leave_signals_to_parent,
        )
        for item in loader:
            if isinstance(item, BosrowError):
                raise item
            yield item


def _leave_signals_to_parent(worker: int) -> None:
    """Ctrl-C reaches all processes of a terminal; the parent finishes its step and then ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def make_dataloader(
    data_dir: str | Path | Sequence[str],
    split: str,
    batch_size: int,
    seq_len: int,
    *,
    seed: int = 42,
    start: int = 0,
    epochs: int | None = None,
    rank: int | None = None,
    world_size: int | None = None,
    with_meta: bool = False,
    num_workers: int = 0,
) -> BatchLoader:
    """Batches (x, y), or (x, y, meta) with `with_meta`: int64 tensors (batch_size, seq_len), y one token ahead of x.

    Shuffled anew in each epoch, endless unless `epochs` is given (then the last batch may be short). `rank` and
    `world_size` default to torchrun's RANK and WORLD_SIZE, or to a single process. To resume after n batches, give
    `start=n`. A list of "DIR:WEIGHT" mixes the train rows of several data sets, endlessly. Raises DataSetError or
    OptionError if a data set is incomplete or has another seq_len.

        >>> batches = iter(make_dataloader("data/sample_bosrow", "train", 8, 1024))
        >>> x, y = next(batches)
    """
    rows: Rows | MixedRows
    order: RowOrder | MixedOrder
    if isinstance(data_dir, str | Path):
        rows = open_rows(data_dir, split, seq_len=seq_len)
        order = RowOrder(rows=len(rows), seed=seed)
    elif split != "train" or epochs is not None:
        raise OptionError("several data sets are mixed in split 'train' and without end, each in epochs of its own")
    else:
        mixture = Mixture(tuple(data_dir), seq_len=seq_len)
        rows, order = mixture.rows, mixture.order(seed)
    batches = Batches(
        rows=rows,
        order=order,
        batch_size=batch_size,
        rank=int(os.environ.get("RANK", 0)) if rank is None else rank,
        world_size=int(os.environ.get("WORLD_SIZE", 1)) if world_size is None else world_size,
        end=None if epochs is None else epochs * len(rows),
        with_meta=with_meta,
    )
    return BatchLoader(batches, start, num_workers)
