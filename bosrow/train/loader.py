"""Batches of rows as tensors, for bosrow's trainer and for any other.

Promise: rows come in the order of bosrow.dataset.order, resumable at any batch and the same for every world size. All
ranks get the same number of batches. Each row is converted to int64 once. Threads read the next batches while the model
works; there are no worker processes that could outlive their parent or keep it from ending. Cost: memory for two
batches, and a thread that sleeps most of the time.
"""

import itertools
import operator
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from bosrow.dataset.mixture import MixedOrder, MixedRows, Mixture
from bosrow.dataset.order import RowOrder
from bosrow.dataset.provenance import Provenance
from bosrow.dataset.rows import Rows, open_rows
from bosrow.distributed.ranks import rank_and_size
from bosrow.errors import OptionError

READ_AHEAD = 2  # batches
MOST_SEED = 1 << 64
MOST = 1 << 31  # of a count: more than anyone needs, and small enough for positions to fit into 64 bits


@dataclass(frozen=True, kw_only=True)
class BatchMeta:
    """Where a batch's rows are: in the order of training, in the split, and in the shards."""

    positions: NDArray[np.int64]  # (B,)
    rows: NDArray[np.int64]  # (B,) counted over the whole split
    places: list[tuple[str, int]]  # shard name, row inside it
    source: Rows | MixedRows

    def documents(self) -> list[list[int]]:
        """The numbers of the documents in each row, from left to right. Reads the provenance.

        Raises OptionError for a mixture, DataSetError for a data set without provenance.
        """
        if isinstance(self.source, MixedRows):
            raise OptionError("documents are numbered within one data set; for a mixture, look up `places` there")
        pieces = Provenance(self.source.data_dir).pieces.of_rows(self.source.split, self.rows.tolist())
        return [[placed.piece.document for placed in pieces[row]] for row in self.rows.tolist()]


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Batches of one rank by number: batch b holds positions b*B*W + r, b*B*W + r + W, ... of the order.

    If there is an end, the rows left for the last batch are shared so that ranks differ by at most one row. If fewer
    rows than ranks are left, they are left out. So each rank has the same number of batches.
    """

    rows: Rows | MixedRows
    order: RowOrder | MixedOrder
    batch_size: int
    rank: int
    world_size: int
    end: int | None  # positions from here on are left out; None: endless
    with_meta: bool

    def positions(self, number: int) -> NDArray[np.int64]:
        """The positions that batch `number` holds, shape (B,) or less in the last batch."""
        first = number * self.batch_size * self.world_size + self.rank
        positions = np.arange(first, first + self.batch_size * self.world_size, self.world_size, dtype=np.int64)
        return positions if self.end is None else positions[positions < self.end]

    @property
    def count(self) -> int | None:
        """How many batches each rank has; None: endless."""
        return None if self.end is None else -(-(self.end - self.rows_left_out) // (self.batch_size * self.world_size))

    @property
    def rows_left_out(self) -> int:
        """How many rows before the end no rank gets; fewer than there are ranks."""
        rest = 0 if self.end is None else self.end % (self.batch_size * self.world_size)
        return rest if rest < self.world_size else 0

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


class BatchLoader:
    """An iterable of (x, y) or (x, y, meta); each iteration begins at batch `start`."""

    def __init__(self, batches: Batches, start: int, num_workers: int) -> None:
        self.batches = batches
        self.start = start
        self.num_workers = num_workers

    @property
    def rows_left_out(self) -> int:
        """How many rows of the last epoch no rank gets, since they are fewer than the ranks."""
        return self.batches.rows_left_out

    def __len__(self) -> int:
        """How many batches an iteration has. Raises TypeError if it is endless."""
        if self.batches.count is None:
            raise TypeError("this loader is endless; give `epochs` for one that ends")
        return self.batches.count - self.start

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        count = self.batches.count
        numbers = iter(itertools.count(self.start) if count is None else range(self.start, count))
        threads = ThreadPoolExecutor(max(1, self.num_workers), thread_name_prefix="bosrow-read-ahead")
        pending: deque[Future[tuple[Any, ...]]] = deque()
        try:
            for number in itertools.islice(numbers, max(READ_AHEAD, self.num_workers)):
                pending.append(threads.submit(self.batches.__getitem__, number))
            while pending:
                batch = pending.popleft().result()
                for number in itertools.islice(numbers, 1):
                    pending.append(threads.submit(self.batches.__getitem__, number))
                yield batch
        finally:
            threads.shutdown(cancel_futures=True)


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
    group: dist.ProcessGroup | None = None,
    with_meta: bool = False,
    num_workers: int = 0,
) -> BatchLoader:
    """Batches (x, y), or (x, y, meta) with `with_meta`: int64 tensors (batch_size, seq_len), y one token ahead of x.

    Rows are shuffled anew in each epoch. The loader is endless unless `epochs` is given. Then every rank gets the same
    number of batches, `len(loader)`. The last batch may be short; `loader.rows_left_out` counts the rows that no rank
    gets, since they are fewer than the ranks. To resume after n batches, give `start=n`.

    The ranks share the rows. `rank` and `world_size` say which rank this process is; without them, the process group
    does (`group`, or the default group; for a model that is split over ranks, give its data-parallel group), or else
    torchrun, or else Slurm inside an srun step.

    `num_workers` threads read ahead (0 and 1: one thread, which is enough unless the disk is slow or remote). A list of
    "DIR:WEIGHT" mixes the train rows of several data sets, endlessly. Raises OptionError for an argument that cannot
    be used, DataSetError if a data set is incomplete.

        >>> batches = iter(make_dataloader("data/sample_bosrow", "train", 8, 1024))
        >>> x, y = next(batches)
    """
    batch_size = _whole("batch_size", batch_size, 1)
    seq_len = _whole("seq_len", seq_len, 1)
    seed = _whole("seed", seed, -MOST_SEED, MOST_SEED)
    start = _whole("start", start, 0)
    epochs = None if epochs is None else _whole("epochs", epochs, 1)
    num_workers = _whole("num_workers", num_workers, 0)
    rank, world_size = rank_and_size(rank, world_size, group)
    rows: Rows | MixedRows
    order: RowOrder | MixedOrder
    if isinstance(data_dir, str | Path):
        rows = open_rows(data_dir, split, seq_len=seq_len)
        order = RowOrder(rows=len(rows), seed=seed)
    elif split != "train" or epochs is not None:
        raise OptionError("several data sets can only be mixed in split 'train' and without `epochs`")
    elif not isinstance(data_dir, Sequence) or not data_dir:
        raise OptionError(f"data_dir is {data_dir!r}; a folder was required, or a list of 'DIR:WEIGHT'")
    else:
        mixture = Mixture(tuple(map(str, data_dir)), seq_len=seq_len)
        rows, order = mixture.rows, mixture.order(seed)
    batches = Batches(
        rows=rows,
        order=order,
        batch_size=batch_size,
        rank=rank,
        world_size=world_size,
        end=None if epochs is None else epochs * len(rows),
        with_meta=with_meta,
    )
    if batches.count == 0:
        raise OptionError(f"{data_dir} has {batches.end:,} rows to give, fewer than the {world_size:,} ranks")
    if batches.count is not None and start > batches.count:
        raise OptionError(
            f"start is {start:,}, but there are {batches.count:,} batches; at most {batches.count:,} is possible"
        )
    return BatchLoader(batches, start, num_workers)


def _whole(name: str, value: Any, least: int, most: int = MOST) -> int:
    """`value` as an int. Raises OptionError unless it is a whole number from `least` to `most`."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not least <= number <= most:
        raise OptionError(f"{name} is {value!r}; a whole number from {least} to {most} was required")
    return number
