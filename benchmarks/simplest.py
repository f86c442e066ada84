"""The simplest implementation of the default policy, in one process: what `bosrow prepare` is measured against.

    python benchmarks/simplest.py OUT_FILE FILE...

`datasets` reads, tiktoken encodes document by document, the buffer is a list that is searched from end to end.
"""

import sys

import numpy as np
from datasets import load_dataset

from bosrow.tokenizers.gpt2 import load_tokenizer

ROW_TOKENS, BUFFER_DOCS, BOS = 1025, 1000, 50256


def main(out_file: str, files: list[str]) -> None:
    """Pack all documents of `files` and write the rows."""
    encoding = load_tokenizer()._encoding  # tiktoken's own object, whose vocabulary needs no network
    documents = iter(load_dataset("parquet", data_files=files, split="train", streaming=True))
    buffer: list[list[int]] = []
    row: list[int] = []
    more = True
    with open(out_file, "wb") as output:
        while True:
            while more and len(buffer) < BUFFER_DOCS:
                document = next(documents, None)
                more = document is not None
                if document is not None:
                    buffer.append([BOS, *encoding.encode_ordinary(document["text"])])
            if not buffer:
                break
            space = ROW_TOKENS - len(row)
            best = -1
            for number, tokens in enumerate(buffer):
                if len(tokens) <= space and (best < 0 or len(tokens) > len(buffer[best])):
                    best = number
            if best < 0:
                best = min(range(len(buffer)), key=lambda number: len(buffer[number]))
            row += buffer.pop(best)[:space]
            if len(row) == ROW_TOKENS:
                output.write(np.array(row, "<u2").tobytes())
                row = []


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
