"""The formats of a corpus, and how a file's name tells its own."""

from pathlib import Path
from typing import Literal, cast

import pyarrow as pa

from bosrow.sources.compression import without_compression

Format = Literal["parquet", "json", "lines", "text", "tokens", "rows", "csv", "arrow", "webdataset"]
ITERATED = ("arrow", "webdataset")  # that `datasets` reads for us
WITH_SETTINGS = ("csv", *ITERATED)  # of which a README may say how they are to be read
# `datasets` builders and what we call them. All others hold no text, or (pandas) run code that a file may hold.
FORMATS = {"parquet": "parquet", "json": "json", "text": "lines"} | {name: name for name in WITH_SETTINGS}
ENDINGS = {".parquet": "parquet", ".bin": "tokens", ".npy": "tokens", ".txt": "text"}  # .npy to be refused by name
ENDINGS |= {".csv": "csv", ".tsv": "csv", ".arrow": "arrow", ".tar": "webdataset"}
TOKEN_FORMATS = ("tokens", "rows")  # hold ids, not text
JSON_NAMES = (".jsonl", ".json", ".ndjson", ".jl", ".jsonlines")


def known_format(path: str) -> Format | None:
    """The format that a file's last ending stands for, after that of a compression; None where it stands for none."""
    name = without_compression(path.lower())
    if name.endswith(JSON_NAMES):
        return "json"
    return cast(Format | None, ENDINGS.get(Path(name).suffix))


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type is text: a string of any width, or a dictionary of strings."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
