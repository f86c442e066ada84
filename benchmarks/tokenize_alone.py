"""Tokenizing and nothing else, on two processes: the most that a preparation on two cores could reach.

    python benchmarks/tokenize_alone.py FILE...

Each process reads row groups of Parquet and encodes their texts with tiktoken. Prints the seconds from the first
unit to the last, the start of the processes left out, and the tokens.
"""

import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pyarrow.parquet as pq

from bosrow.tokenizers.gpt2 import load_tokenizer


def encode(unit: tuple[str, int]) -> int:
    """Tokens of one row group, a BOS for each document counted."""
    path, group = unit
    encoding = load_tokenizer()._encoding
    texts = pq.ParquetFile(path).read_row_group(group, columns=["text"])["text"].to_pylist()
    return sum(1 + len(encoding.encode_to_numpy(text, disallowed_special=())) for text in texts)


def main(files: list[str]) -> None:
    """Encode all row groups and print the figures."""
    units = [(path, group) for path in files for group in range(pq.ParquetFile(path).num_row_groups)]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn"), initializer=load_tokenizer) as pool:
        list(pool.map(abs, range(8)))  # both processes are up
        began = time.perf_counter()
        tokens = sum(pool.map(encode, units))
        print(json.dumps({"seconds": time.perf_counter() - began, "tokens": tokens}))


if __name__ == "__main__":
    main(sys.argv[1:])
