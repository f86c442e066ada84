"""The tokenizer's tokens per second, the loader's rows per second, and how long `import bosrow` takes."""

import subprocess
import sys
import time

import numpy as np
from corpora import documents
from side_by_side import report, spread
from synthetic import write_data_set

import bosrow
from bosrow.data.sampler import RowOrder
from bosrow.data.tokenizer import load_tokenizer


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
