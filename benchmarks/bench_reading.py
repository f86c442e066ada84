"""The tokenizer's tokens per second, the loader's rows per second, and how long `import bosrow` takes."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from corpora import documents
from side_by_side import report, spread
from synthetic import write_data_set

import bosrow
from bosrow.dataset.order import RowOrder
from bosrow.tokenizers.gpt2 import load_tokenizer


def test_tokens_per_second_of_the_tokenizer_on_one_core(benchmark, capsys):
    tokenizer = load_tokenizer()
    texts = [text.encode() for text in documents(3_000, median_words=300)]
    tokens = sum(len(tokenizer.encode(text)) for text in texts)
    benchmark.pedantic(lambda: [tokenizer.encode(text) for text in texts], rounds=5, warmup_rounds=1)
    rates = spread([tokens / seconds for seconds in benchmark.stats.stats.data])
    report(capsys, "tokenizer", [f"tokenizer {rates['median']:,.0f} tokens/s"], tokens_per_second=rates)


def test_rows_per_second_in_the_order_of_training(benchmark, capsys, tmp_path):
    """Batches of 64 rows of 1,025 tokens from several shards, as a loader without torch reads them."""
    folder = write_data_set(tmp_path / "data", train_rows=40_000, seq_len=1024, vocab_size=50257, shard_rows=6_000)
    rows = bosrow.open_rows(folder)
    order = RowOrder(rows=len(rows), seed=42)

    def epoch() -> None:
        for first in range(0, len(rows) - 63, 64):
            rows[order.rows_at(np.arange(first, first + 64))]

    benchmark.pedantic(epoch, rounds=5, warmup_rounds=1)
    rates = spread([len(rows) / seconds for seconds in benchmark.stats.stats.data])
    report(capsys, "loader", [f"loader {rates['median']:,.0f} rows/s"], rows_per_second=rates)


STEP_ROWS = 480  # of GPT-2 small: 491,520 tokens, 9.8 seconds on a device that does 50,000 tokens a second
STEP_SECONDS = STEP_ROWS * 1024 / 50_000


def drop_from_page_cache(folder: Path) -> None:
    """Let the kernel forget the shards, so that the next read comes from the disk."""
    for shard in folder.glob("*.bin"):
        descriptor = os.open(shard, os.O_RDONLY)
        os.fsync(descriptor)  # a page that is not yet on the disk cannot be dropped
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


@pytest.mark.parametrize("cache", ["cold", "warm"])
def test_rows_per_second_of_the_trainers_batches(benchmark, capsys, tmp_path, cache):
    """Steps of GPT-2 small, as tensors; their share of a step's time if nothing were read ahead."""
    from bosrow.train.loader import Batches

    folder = write_data_set(tmp_path / "data", train_rows=40_000, seq_len=1024, vocab_size=50257, shard_rows=6_000)
    seconds: list[float] = []

    def batches() -> None:
        rows = bosrow.open_rows(folder)
        order = RowOrder(rows=len(rows), seed=42)
        reader = Batches(
            rows=rows, order=order, batch_size=STEP_ROWS, rank=0, world_size=1, end=len(rows), with_meta=False
        )
        for number in range(40):
            began = time.perf_counter()
            reader[number]
            seconds.append(time.perf_counter() - began)

    def make_ready() -> None:
        drop_from_page_cache(folder) if cache == "cold" else batches()
        seconds.clear()

    benchmark.pedantic(batches, setup=make_ready, rounds=1)
    rates = spread([STEP_ROWS / value for value in seconds])
    share = spread(seconds)["median"] / STEP_SECONDS
    lines = [f"{cache} page cache: {rates['median']:,.0f} rows/s, {share:.3%} of a step at 50,000 tokens/s"]
    report(capsys, f"batches {cache}", lines, rows_per_second=rates, share_of_step=share)


def test_seconds_that_a_step_waits_for_its_batch(benchmark, capsys, tmp_path):
    """Through the loader, which reads the next batch while the device (here: a pause far shorter) works."""
    from bosrow.train import make_dataloader

    folder = write_data_set(tmp_path / "data", train_rows=40_000, seq_len=1024, vocab_size=50257, shard_rows=6_000)
    drop_from_page_cache(folder)
    batches = iter(make_dataloader(folder, "train", STEP_ROWS, 1024))
    benchmark.pedantic(lambda: next(batches), setup=lambda: time.sleep(STEP_SECONDS / 20), rounds=20)
    waits = spread(list(benchmark.stats.stats.data))
    lines = [f"data wait {waits['median'] * 1e6:,.0f} us, {waits['median'] / STEP_SECONDS:.5%} of a step (aim: 0.1%)"]
    report(capsys, "data wait", lines, seconds=waits, share_of_step=waits["median"] / STEP_SECONDS)


BEYOND_CACHE = """
import json, os, sys, time
import numpy as np, bosrow
from bosrow.dataset.order import RowOrder
if sys.argv[2]:
    with open(sys.argv[2] + "/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))
rows = bosrow.open_rows(sys.argv[1])
order = RowOrder(rows=len(rows), seed=42)
def read_bytes():
    return next(int(line.split()[1]) for line in open("/proc/self/io") if line.startswith("read_bytes"))
before, began, count = read_bytes(), time.perf_counter(), 0
while count < 96_000 and time.perf_counter() - began < 5:
    rows[order.rows_at(np.arange(count, count + 480))]
    count += 480
print(json.dumps([count / (time.perf_counter() - began), (read_bytes() - before) / count]))
"""


@contextmanager
def small_memory(limit: int) -> Iterator[Path | None]:
    """A memory cgroup for a process whose cache has to stay below `limit` bytes; None where this user can make none."""
    group = Path(f"/sys/fs/cgroup/memory/bosrow_{os.getpid()}")
    limit_file = "memory.limit_in_bytes"
    if not group.parent.is_dir():  # version 2
        group, limit_file = Path(f"/sys/fs/cgroup/bosrow_{os.getpid()}"), "memory.max"
    try:
        group.mkdir()
        (group / limit_file).write_text(str(limit))
    except OSError:
        yield None
        return
    try:
        yield group
    finally:
        group.rmdir()


def test_rows_per_second_where_the_cache_is_smaller_than_the_data(benchmark, capsys, tmp_path):
    """129 MB of rows of 258 bytes, cold, read with 100 MB of memory where a cgroup can be made.

    BOSROW_BEFORE, another work tree of bosrow, is measured in turn.
    """
    folder = write_data_set(tmp_path / "data", train_rows=500_000, seq_len=128, vocab_size=50257, shard_rows=200_000)
    trees = {"now": Path(__file__).parents[1]} | (
        {"before": Path(os.environ["BOSROW_BEFORE"])} if "BOSROW_BEFORE" in os.environ else {}
    )
    figures: dict[str, list[list[float]]] = {name: [] for name in trees}

    def measure(group: Path | None) -> None:
        for name, tree in trees.items():
            drop_from_page_cache(folder)
            command = [sys.executable, "-c", BEYOND_CACHE, str(folder), str(group or "")]
            done = subprocess.run(
                command, check=True, stdout=subprocess.PIPE, cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}
            )
            figures[name].append(json.loads(done.stdout))

    with small_memory(100 << 20) as group:
        benchmark.pedantic(measure, args=(group,), rounds=3)
    rates = {name: spread([rate for rate, _ in found]) for name, found in figures.items()}
    sizes = {name: spread([size for _, size in found]) for name, found in figures.items()}
    memory = "100 MB of memory" if group else "an empty cache"
    lines = [
        f"{name}, {memory}: {rates[name]['median']:,.0f} rows/s, {sizes[name]['median']:,.0f} bytes from the disk a row"
        for name in trees
    ]
    report(capsys, "beyond the cache", lines, rows_per_second=rates, disk_bytes_per_row=sizes, cgroup=group is not None)


def test_seconds_of_an_import(benchmark, capsys):
    """With Python's own start subtracted."""
    bare = []

    def start(program: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True)
        return time.perf_counter() - began

    ours: list[float] = []
    benchmark.pedantic(lambda: ours.append(start("import bosrow")), setup=lambda: bare.append(start("")), rounds=9)
    seconds = spread(ours)["median"] - spread(bare)["median"]
    lines = [f"import bosrow {seconds:.3f} s (aim: below 0.2)"]
    report(capsys, "import", lines, seconds=round(seconds, 4), python=spread(bare), with_bosrow=spread(ours))
