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

from bosrow.tokenizers.token_ids import TokenDtype

FOLDER = "provenance"
DOCUMENTS_PER_FILE = 1_000_000

PIECE_COLUMNS = ("row", "column", "length", "document", "offset", "added_bos")
TAIL_COLUMNS = ("document", "offset", "length", "added_bos")  # and, of another kind, `tokens`

# A line about a document as a record of fixed size.
DOCUMENT = np.dtype([("source_file", "<u4"), ("source_row", "<u8"), ("tokens", "<u4"), ("split", "i1")])
SPLIT_CODES = {"train": 0, "val": 1, None: -1}  # None: with --val_shards rows have a split, documents do not

# The same as columns of Parquet.
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
"""Many pieces as arrays of equal length, by the names in PIECE_COLUMNS."""


def piece_dtype(row_tokens: int) -> np.dtype[Any]:
    """A piece as a record of fixed size; `row` counts within its shard.

    Where rows have at most 65,535 tokens, `column` and `length` take 16 bits, else 32.
    """
    place = "<u2" if row_tokens < 1 << 16 else "<u4"
    types = {"row": "<u4", "column": place, "length": place, "document": "<u8", "offset": "<u4", "added_bos": "?"}
    return np.dtype([(name, types[name]) for name in PIECE_COLUMNS])


def schema_of(name: str, row_tokens: int, token: TokenDtype) -> pa.Schema:
    """The columns of the Parquet file `name`, of a data set of such rows and tokens."""
    if name.startswith("documents_"):
        return DOCUMENTS
    piece = piece_dtype(row_tokens)
    is_tail = name.endswith("_tail.parquet")
    columns = TAIL_COLUMNS if is_tail else PIECE_COLUMNS
    fields = [pa.field(column, pa.from_numpy_dtype(piece[column])) for column in columns]
    return pa.schema(fields + [pa.field("tokens", pa.list_(pa.from_numpy_dtype(token)))] * is_tail)


def pieces_file(shard: str) -> str:
    """The name of the file with the pieces of a shard."""
    return f"{Path(shard).stem}.parquet"


def tail_file(split: str) -> str:
    """The name of the file with a split's unfilled last row."""
    return f"{split}_tail.parquet"


def documents_file(number: int) -> str:
    """The name of the file whose first document is `number` * DOCUMENTS_PER_FILE."""
    return f"documents_{number:06d}.parquet"
