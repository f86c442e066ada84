"""Data sets changed by hand, with checksums that are right all the same: only the meaning is wrong."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bosrow.dataset.manifest import META, write_manifest


def reseal(folder: Path, name: str) -> None:
    """Give meta.json the checksum and size, and of Parquet the number of lines, that a file has now."""
    path = folder / name
    data = path.read_bytes()
    entry = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    if path.suffix == ".parquet":
        entry["rows"] = pq.read_metadata(path).num_rows
    change_meta(
        folder,
        lambda meta: [
            item.update(entry)
            for item in meta["bosrow"]["shards"] + meta["bosrow"]["provenance"]
            if item["name"] == path.name
        ],
    )


def change_meta(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change meta.json in place."""
    meta = json.loads((folder / META).read_bytes())
    change(meta)
    write_manifest(folder, meta)


def change_provenance(folder: Path, name: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Put in place of a provenance file what `change` makes of it."""
    path = folder / "provenance" / name
    pq.write_table(change(pq.read_table(path)), path)
    reseal(folder, f"provenance/{name}")


def put(table: pa.Table, column: str, place: int, value: Any) -> pa.Table:
    """The table with another value at one place."""
    values = table[column].to_pylist()
    values[place] = value
    number = table.column_names.index(column)
    return table.set_column(number, column, pa.array(values, table.schema.field(column).type))
