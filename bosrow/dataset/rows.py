"""Reads the rows of a prepared data set from its shards.

Promise: for scattered rows the disk reads only the pages that hold them, many at once; consecutive rows come in one
read. A shard that changes while it is in use raises an error; it never gives other tokens, and never a crash. All data
sets of a process share one limit of open files. A `Rows` may be used by several threads, and sent to another process.
Cost: about 5 microseconds a row from the page cache.
"""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bosrow.dataset.manifest import Manifest, read_manifest
from bosrow.errors import DataSetError, MachineError, OptionError
from bosrow.open_files import Identity, OpenFile, identity_of, most_open, open_file
from bosrow.tokenizers.token_ids import TokenArray


class Rows:
    """One split of a data set as a sequence of rows of `row_tokens` tokens, uint16 or uint32.

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
        self._first_rows = np.cumsum([0] + [shard.rows for shard in self._shards])  # of each shard, then all rows
        self._seen: dict[int, Identity] = {}  # of each shard, as it was when first read

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
        """The rows at `index`, in its order; read in the order of the files, which is faster on disks."""
        result = np.empty((len(index), self.row_tokens), self.manifest.dtype)
        if (index[1:] >= index[:-1]).all():
            self._read(index, result)
            return result
        order = np.argsort(index, kind="stable")
        result[order] = self._gather(index[order])
        return result

    def _read(self, rows: NDArray[np.int64], into: TokenArray) -> None:
        """Read `rows`, which ascend. Consecutive rows are a run, which is read at once.

        Of several runs, the kernel is told before the first is read, so that the disk fetches them together and nothing
        else. A single run is left to the kernel's own read-ahead, which helps if the next rows follow.
        """
        shards = np.searchsorted(self._first_rows, rows, side="right") - 1
        ends = (rows[1:] - rows[:-1] != 1) | (shards[1:] != shards[:-1])
        bounds = [0, *(np.flatnonzero(ends) + 1).tolist(), len(rows)] if len(rows) else []
        offsets = (rows - self._first_rows[shards]) * (self.row_tokens * into.itemsize)
        runs = list(
            zip(bounds[:-1], bounds[1:], shards[bounds[:-1]].tolist(), offsets[bounds[:-1]].tolist(), strict=True)
        )
        at_once = most_open()  # runs are of at most so many shards
        for some in (runs[first : first + at_once] for first in range(0, len(runs), at_once)):
            files = {shard: self._file(shard) for shard in {shard for _, _, shard, _ in some}}
            reads = [(files[shard], offset, into[start:stop]) for start, stop, shard, offset in some]
            if len(runs) > 1:
                for file, offset, array in reads:
                    file.will_read(offset, array.nbytes)
            for file, offset, array in reads:
                try:
                    file.read_into(array, offset)
                except (OSError, EOFError) as error:
                    raise _fault(file.path, error) from None

    def _file(self, shard: int) -> OpenFile:
        """A shard, open. Its path is checked each time, since the file may have been changed or replaced."""
        info = self._shards[shard]
        path = os.path.join(self.data_dir, info.name)
        try:
            now = identity_of(os.stat(path))
            file = open_file(path, now)
        except OSError as error:
            raise _fault(path, error) from None
        if self._seen.setdefault(shard, now) != now or file.identity != now or file.bytes != info.bytes:
            raise DataSetError(f"{path} was changed while in use; prepare or copy the data set again, then start again")
        return file

    def locate(self, row: int) -> tuple[str, int]:
        """The name of the shard that holds `row`, and the row's number in the shard."""
        (row,) = self._checked(np.array([row])).tolist()
        shard = int(np.searchsorted(self._first_rows, row, side="right")) - 1
        return self._shards[shard].name, row - int(self._first_rows[shard])

    def starts(self, row: int) -> NDArray[np.int64]:
        """The columns of `row` that hold BOS: there a document, or a piece with an added BOS, starts. Shape (starts,).

        Text never gives a BOS, so this is exact. A `stream` row may begin inside a document; the columns before the
        first start belong to that document. A document ends where the next one begins, so an attention mask that keeps
        documents apart can be made of these columns.
        """
        return np.flatnonzero(self[row] == self.manifest.bos_token_id)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_seen": {}}  # another machine may have a copy of the data set


def _fault(path: str, error: OSError | EOFError) -> DataSetError | MachineError:
    """The error for a shard that cannot be read: it is gone or too short, or the machine has a fault."""
    if isinstance(error, FileNotFoundError | NotADirectoryError | EOFError):
        why = str(error) or "it ends too early"
        return DataSetError(f"{path} cannot be read any more ({why}); the data set was changed while in use")
    why = error.strerror or str(error)
    if error.errno in (errno.EMFILE, errno.ENFILE):
        why += f"; bosrow keeps at most {most_open()} files open, raise the limit with ulimit -n"
    return MachineError(f"{path} cannot be read: {why}")


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
