"""The rows of a prepared data set, read through memory maps.

Promise: any row in one page fault or two, whatever the size of the data set; nothing is read that is not
asked for; at most 256 shards are open at once. A `Rows` may be sent to another process, which opens its
own maps; inside a process it belongs to one thread.
"""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bosrow.data.manifest import Manifest, read_manifest
from bosrow.errors import DataSetError, OptionError

MAX_OPEN_SHARDS = 256  # each memory map holds a file descriptor

TokenArray = NDArray[np.uint16]


class Rows:
    """One split of a data set as a sequence of rows of `row_tokens` uint16 tokens.

    Rows are copies, in the order in which they were asked for.

        >>> rows = open_rows("data/sample_bosrow", "train")
        >>> rows[0]            # one row: (row_tokens,)
        >>> rows[10:20]        # a slice or an array of row numbers: (10, row_tokens)
        >>> x, y = rows[0][:-1], rows[0][1:]
    """

    def __init__(self, data_dir: Path, manifest: Manifest, split: str) -> None:
        self.data_dir = data_dir
        self.manifest = manifest
        self.split = split
        self.row_tokens = manifest.row_tokens
        self._shards = manifest.shards_of(split)
        self._first_rows = np.cumsum([0] + [shard.rows for shard in self._shards])  # of each shard, and the end
        self._open: OrderedDict[int, tuple[TokenArray, tuple[int, int, int]]] = OrderedDict()

    def __len__(self) -> int:
        return int(self._first_rows[-1])

    def __getitem__(self, index: int | slice | NDArray[np.integer] | list[int]) -> TokenArray:
        """The row at `index` (row_tokens,), or those of a slice or an integer array (n, row_tokens), as a copy."""
        if isinstance(index, slice):
            return self._gather(np.arange(*index.indices(len(self)), dtype=np.int64))
        if isinstance(index, (int, np.integer)):
            return self._gather(self._checked(np.array([index])))[0]
        return self._gather(self._checked(np.asarray(index)))

    def _checked(self, index: NDArray[Any]) -> NDArray[np.int64]:
        if index.ndim != 1 or not (np.issubdtype(index.dtype, np.integer) or index.size == 0):
            raise TypeError(
                f"rows are chosen by integers, a slice, or a list of integers, not {index.dtype} {index.shape}"
            )
        index = np.where(index < 0, index + len(self), index).astype(np.int64)
        if index.size and (index.min() < 0 or index.max() >= len(self)):
            raise IndexError(
                f"{self.data_dir} has {len(self):,} rows in {self.split}; row {index.max():,} was asked for"
            )
        return index

    def _gather(self, index: NDArray[np.int64]) -> TokenArray:
        """Copies of the rows at `index`, in its order; read in the order of the files, which disks like."""
        result = np.empty((len(index), self.row_tokens), dtype=np.uint16)
        order = np.argsort(index, kind="stable")
        ordered = index[order]
        bounds = np.searchsorted(ordered, self._first_rows)
        for shard in np.flatnonzero(np.diff(bounds)).tolist():
            places = slice(bounds[shard], bounds[shard + 1])
            result[order[places]] = self._map(shard)[ordered[places] - self._first_rows[shard]]
        return result

    def _map(self, shard: int) -> TokenArray:
        """The memory map of a shard; the least recently used one is closed where there are too many.

        Reading a map whose file has shrunk kills the process (SIGBUS), so the file is looked at each time.
        """
        info = self._shards[shard]
        path = self.data_dir / info.name
        try:
            status = path.stat()
            seen = (status.st_ino, status.st_size, status.st_mtime_ns)
            if shard not in self._open:
                tokens: TokenArray = np.memmap(path, dtype="<u2", mode="r", shape=(info.rows, self.row_tokens))
                self._open[shard] = (tokens, seen)
        except (OSError, ValueError) as error:
            raise DataSetError(
                f"{path} cannot be read any more ({error}); the data set was changed while in use"
            ) from None
        tokens, opened = self._open[shard]
        if status.st_size != info.bytes or seen != opened:
            raise DataSetError(f"{path} was changed while in use; prepare or copy the data set again, then start again")
        self._open.move_to_end(shard)
        if len(self._open) > MAX_OPEN_SHARDS:
            self._open.popitem(last=False)
        return tokens

    def locate(self, row: int) -> tuple[str, int]:
        """The shard that holds `row`, and the row's number inside it."""
        (row,) = self._checked(np.array([row])).tolist()
        shard = int(np.searchsorted(self._first_rows, row, side="right")) - 1
        return self._shards[shard].name, row - int(self._first_rows[shard])

    def starts(self, row: int) -> NDArray[np.int64]:
        """Columns of `row` at which a document, or a piece with a BOS of its own, starts: those that hold BOS.

        Text cannot forge a BOS, so this is exact. A `stream` row may begin inside a document; what stands before
        the first of these columns is the rest of that document. Documents end where the next begins, so these
        columns make an attention mask that keeps documents apart.
        """
        return np.flatnonzero(self[row] == self.manifest.bos_token_id)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": OrderedDict()}


def open_rows(data_dir: str | Path, split: str = "train", *, seq_len: int | None = None) -> Rows:
    """Open one split ("train" or "val") of a data set made by `bosrow prepare`.

    With `seq_len`, rows of another length are refused. Raises DataSetError if the data set is incomplete or damaged,
    OptionError if it has another seq_len or no such split.
    """
    data_dir = Path(data_dir)
    manifest = read_manifest(data_dir)
    if seq_len is not None and seq_len != manifest.seq_len:
        raise OptionError(
            f"seq_len {seq_len} was asked for, but {data_dir} holds rows of seq_len {manifest.seq_len}; "
            f"use --seq_len {manifest.seq_len}, or prepare the data again with --seq_len {seq_len}"
        )
    if not manifest.rows_of(split):
        there = [name for name in ("train", "val") if manifest.rows_of(name)]
        raise OptionError(f"{data_dir} has no rows in split {split!r}; it has: {', '.join(there) or 'none'}")
    return Rows(data_dir, manifest, split)
