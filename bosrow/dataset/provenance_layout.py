"""The names and the columns of the provenance files, for the modules that write and read them.

`documents_NNNNNN.parquet` has a line for each document, in order of reading. `{split}_NNNNNN.parquet`, named like its
shard, has a line for each piece of the shard's rows. `{split}_tail.parquet` has a line, with tokens, for each piece of
the unfilled last row; only policies that lose nothing have it. Everything is counted from 0; offset 0 is a document's
own BOS.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

FOLDER = "provenance"
DOCUMENTS_PER_FILE = 1_000_000

# A line of each kind as a record of fixed size. A piece's `row` counts within its shard.
PIECE = np.dtype(
    [("row", "<u4"), ("column", "<u2"), ("length", "<u2"), ("document", "<u8"), ("offset", "<u4"), ("added_bos", "?")]
)
DOCUMENT = np.dtype([("source_file", "<u4"), ("source_row", "<u8"), ("tokens", "<u4"), ("split", "i1")])
SPLIT_CODES = {"train": 0, "val": 1, None: -1}  # None: with --val_shards rows have a split, documents do not

# The same as columns of Parquet.
PIECES = pa.schema([pa.field(name, pa.from_numpy_dtype(PIECE[name])) for name in PIECE.names or ()])
TAIL = pa.schema([PIECES.field(name) for name in ("document", "offset", "length", "added_bos")]).append(
    pa.field("tokens", pa.list_(pa.uint16()))
)
DOCUMENTS = pa.schema(
    [
        pa.field("document", pa.uint64()),
        pa.field("source_file", pa.dictionary(pa.int32(), pa.string())),
        pa.field("source_row", pa.uint64()),
        pa.field("tokens", pa.uint32()),
        pa.field("split", pa.dictionary(pa.int8(), pa.string())),
    ]
)
MAY_BE_NULL = ("split", "id")

PieceColumns = dict[str, npt.NDArray[Any]]
"""Many pieces as arrays of equal length, by the names of PIECE."""


def pieces_file(shard: str) -> str:
    """The name of the file with the pieces of a shard."""
    return f"{Path(shard).stem}.parquet"


def tail_file(split: str) -> str:
    """The name of the file with a split's unfilled last row."""
    return f"{split}_tail.parquet"


def documents_file(number: int) -> str:
    """The name of the file whose first document is `number` * DOCUMENTS_PER_FILE."""
    return f"documents_{number:06d}.parquet"
