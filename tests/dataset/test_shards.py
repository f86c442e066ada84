"""Checksums of shards, which are computed beside the packer while it fills the next block."""

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bosrow import files
from bosrow.dataset import shard_writer
from bosrow.dataset.shard_writer import ShardWriter


class Late(ThreadPoolExecutor):
    """Begins what it is given when the packer is well into the next block."""

    def submit(self, call, *arguments):
        return super().submit(lambda: (time.sleep(0.05), call(*arguments)))


def test_a_checksum_that_comes_late_is_still_of_what_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_writer, "BLOCK_BYTES", 1 << 17)
    late = Late(1)
    monkeypatch.setattr(files, "_beside", lambda: late)
    writer = ShardWriter(
        tmp_path, row_tokens=1025, rows_per_shard=700, dtype=np.dtype("<u2"), split_of=lambda _: "train"
    )
    for number, row in enumerate(np.random.default_rng(0).integers(50257, size=(700, 1025)), start=1):
        writer.next_row()[:] = row
        writer.row_done()
        if number % 63 == 0:  # a checkpoint where a block was just written, so that nothing waits
            writer.state()
    writer.close_shard()
    written = (tmp_path / "train_000000.bin").read_bytes()
    assert len(written) == writer.closed[0].bytes == 700 * 1025 * 2
    assert writer.closed[0].sha256 == hashlib.sha256(written).hexdigest()
