"""The formats of a corpus, and which of them a file's name stands for."""

from pathlib import Path
from typing import Literal, cast

import pyarrow as pa

from bosrow.sources.compression import without_compression

Format = Literal["parquet", "json", "lines", "text", "tokens", "rows", "csv", "arrow", "webdataset"]
ITERATED = ("arrow", "webdataset")  # read by `datasets`
WITH_SETTINGS = ("csv", *ITERATED)  # a README may say how these are to be read
# Builders of `datasets`, and our names for their formats. The others do not hold text, or (pandas) run code in a file.
FORMATS = {"parquet": "parquet", "json": "json", "text": "lines"} | {name: name for name in WITH_SETTINGS}
ENDINGS = {".parquet": "parquet", ".bin": "tokens", ".npy": "tokens", ".txt": "text"}  # .npy: its reader refuses it
ENDINGS |= {".csv": "csv", ".tsv": "csv", ".arrow": "arrow", ".tar": "webdataset"}
TOKEN_FORMATS = ("tokens", "rows")  # hold ids, not text
JSON_NAMES = (".jsonl", ".json", ".ndjson", ".jl", ".jsonlines")


def known_format(path: str) -> Format | None:
    """The format of a file by its last ending, after one of compression is removed; None if it is not known."""
    name = without_compression(path.lower())
    if name.endswith(JSON_NAMES):
        return "json"
    return cast(Format | None, ENDINGS.get(Path(name).suffix))


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type is text: a string of any width, or a dictionary of strings."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
