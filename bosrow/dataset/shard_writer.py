"""Writes rows into shards: raw little-endian uint16 or uint32, `row_tokens` a row, no header.

Rows are collected in blocks, which are written at once. A closed shard is durable and its checksum known. After an
interruption the writer goes on from a state: the open shard is truncated to the rows that the state counts.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bosrow.dataset.manifest import SHARD_NAME, ShardInfo
from bosrow.errors import OptionError
from bosrow.files import AppendFile, check_size
from bosrow.strict_json import Count, Invalid, Record
from bosrow.tokenizers.token_ids import TokenArray, TokenDtype

BLOCK_BYTES = 1 << 20


class ShardWriterState(Record):
    """The complete shards, and the number of rows of the open one."""

    closed: list[ShardInfo]
    rows: Count


class ShardWriter:
    """The shards of one packer. `split_of(n)` says to which split the n-th shard belongs."""

    def __init__(
        self,
        folder: Path,
        row_tokens: int,
        rows_per_shard: int,
        dtype: TokenDtype,
        split_of: Callable[[int], str],
    ) -> None:
        self.folder = folder
        self.row_tokens = row_tokens
        self.dtype = dtype
        self.row_bytes = row_tokens * dtype.itemsize
        self.rows_per_shard = rows_per_shard
        self.split_of = split_of
        self.closed: list[ShardInfo] = []
        self.rows = 0  # of the open shard
        self._file: AppendFile | None = None
        rows = max(1, BLOCK_BYTES // self.row_bytes)
        # One block is filled while the checksum of the other is computed.
        self._block, self._other_block = np.empty((2, rows, row_tokens), dtype)
        self._waiting = 0  # rows of the block that are filled and not yet written
        self._name_next()

    def _name_next(self) -> None:
        """Set `split` and `name` for the shard that the next row goes to."""
        number = len(self.closed)
        self.split = self.split_of(number)
        self.name = f"{self.split}_{number:06d}.bin"

    def next_row(self) -> TokenArray:
        """An array for the next row, shape (row_tokens,). The caller fills all of it, then calls `row_done`."""
        return self._block[self._waiting]

    def row_done(self) -> None:
        """Count the row just filled. Once there are `rows_per_shard`, the caller calls `close_shard`."""
        self._waiting += 1
        self.rows += 1
        if self._waiting == len(self._block):
            self._write_block()

    def close_shard(self) -> None:
        """Make the open shard durable and final. Does nothing if it has no rows."""
        if self.rows == 0:
            return
        file = self._write_block()
        file.sync()
        file.close()
        info = ShardInfo(
            name=self.name, split=self.split, rows=self.rows, bytes=file.length, sha256=file.digest.hexdigest()
        )
        self.closed.append(info)
        self.rows, self._file = 0, None
        self._name_next()

    def state(self) -> ShardWriterState:
        """Make all rows so far durable. Returns what to record."""
        if self.rows:
            self._write_block().sync()
        return ShardWriterState(closed=list(self.closed), rows=self.rows)

    def restore(self, state: ShardWriterState, rows: dict[str, int]) -> None:
        """Take over what `state` returned. Raises Invalid unless it has full shards and `rows` rows in each split."""
        found: Counter[str] = Counter()
        full = self.rows_per_shard
        size = full * self.row_bytes
        for shard in state.closed:
            if shard != ShardInfo(name=self.name, split=self.split, rows=full, bytes=size, sha256=shard.sha256):
                raise Invalid(f"its entry for {self.name} is not that of a full shard")
            check_size(self.folder / shard.name, shard.bytes)
            self.closed.append(shard)
            found[shard.split] += full
            self._name_next()
        self.rows = state.rows
        found[self.split] += self.rows
        if self.rows >= self.rows_per_shard or found != Counter(rows):
            raise Invalid(f"its shards have {dict(found)} rows, but its ledgers {rows}")

    def reopen(self) -> None:
        """After `restore`: truncate the open shard to its rows."""
        if self.rows:
            self._file = AppendFile(self.folder / self.name, self.rows * self.row_bytes)

    @property
    def files(self) -> set[str]:
        """Names of the shards that exist according to this writer."""
        return {shard.name for shard in self.closed} | ({self.name} if self.rows else set())

    def _write_block(self) -> AppendFile:
        if self._file is None:
            if not SHARD_NAME.fullmatch(self.name):
                raise OptionError(
                    f"--shard_rows {self.rows_per_shard:,} makes more than 1,000,000 shards, which is not possible; "
                    "give a larger value, with --fresh"
                )
            self._file = AppendFile(self.folder / self.name)
        if self._waiting:
            self._file.write(self._block[: self._waiting].data)
            self._block, self._other_block = self._other_block, self._block
            self._waiting = 0
        return self._file
