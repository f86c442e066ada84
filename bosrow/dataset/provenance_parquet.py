"""Reads the Parquet files of the provenance. They are untrusted input.

Promise: columns have the right names and types, there are as many lines as meta.json says, and no nulls where they are
not allowed. Otherwise one DataSetError names the file. Cost: a search reads only the row groups that can hold the
answer. Arrays are made without pyarrow's own conversions, which import pandas or pyarrow.compute; that would take
longer than most look-ups.
"""

import errno
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from bosrow.dataset.manifest import Manifest
from bosrow.dataset.provenance_layout import FOLDER, MAY_BE_NULL, PieceColumns, schema_of
from bosrow.errors import DataSetError, MachineError


class ProvenanceFiles:
    """The provenance files that meta.json names."""

    def __init__(self, data_dir: Path, manifest: Manifest) -> None:
        self.data_dir = data_dir
        self._manifest = manifest
        self._lines = {info.name: info.rows for info in manifest.provenance}

    @property
    def names(self) -> Collection[str]:
        """The names of all files."""
        return self._lines.keys()

    def lines_of(self, name: str) -> int:
        """How many lines a file has."""
        return self._lines[name]

    def open(self, name: str) -> "ProvenanceFile":
        """Open a file. Raises DataSetError if meta.json does not name it, or if the file does not fit meta.json."""
        if name not in self._lines:
            raise DataSetError(f"{self.data_dir} lacks {FOLDER}/{name}; the data set is damaged")
        columns = schema_of(name, self._manifest.row_tokens, self._manifest.dtype)
        return ProvenanceFile(self.data_dir / FOLDER / name, self._lines[name], columns)


class ProvenanceFile:
    """One provenance file. Raises DataSetError if it does not have `lines` lines, as meta.json says, of `columns`."""

    def __init__(self, path: Path, lines: int, columns: pa.Schema) -> None:
        self.path = path
        with self._readable():
            # As bytes: pyarrow takes a str with a colon for a URI, and refuses a name that is not UTF-8.
            self._file = pq.ParquetFile(pa.OSFile(os.fsencode(path)))
            found, self._schema = self._file.metadata.num_rows, self._file.schema_arrow
        if found != lines:
            raise DataSetError(f"{path} has {found:,} lines, but meta.json says {lines:,}; the data set is damaged")
        self._required = columns.append(pa.field("id", pa.string())) if self.has_ids else columns
        self._check_types()

    def _check_types(self) -> None:
        lacking = [name for name in self._required.names if name not in self._schema.names]
        if lacking:
            raise DataSetError(
                f"{self.path} lacks the columns {', '.join(sorted(lacking))}; "
                "it was made by another version of bosrow: prepare the data set again"
            )
        for field in self._required:
            found = self._schema.field(field.name).type
            if found != field.type:
                raise DataSetError(f"{self.path}: {field.name} is {found}, {field.type} was required")

    @property
    def has_ids(self) -> bool:
        """Whether it is a documents file with ids (--id_field)."""
        return self.path.name.startswith("documents_") and "id" in self._schema.names

    def tables(
        self, columns: list[str] | None = None, only: tuple[str, Collection[int]] | None = None
    ) -> Iterator[pa.Table]:
        """The lines, a row group at a time. `only`, a column and values: only row groups that can hold one of them."""
        columns = columns or self._required.names
        with self._readable():
            for group in range(self._file.num_row_groups):
                if only is None or self._may_hold(group, *only):
                    table = self._file.read_row_group(group, columns).combine_chunks()
                    self._check_nulls(table)
                    yield table

    def arrays(self, only: tuple[str, Collection[int]] | None = None) -> Iterator[PieceColumns]:
        """As `tables`, for files of numbers only. With `only`: exactly the lines that hold one of the values."""
        for table in self.tables(only=only):
            found = {name: as_array(table[name]) for name in table.column_names}
            if only is not None:
                chosen = np.isin(found[only[0]], list(only[1]))
                found = {name: column[chosen] for name, column in found.items()}
            yield found

    def _may_hold(self, group: int, column: str, values: Collection[int]) -> bool:
        row_group = self._file.metadata.row_group(group)
        chunks = (row_group.column(number) for number in range(row_group.num_columns))
        found = next(chunk.statistics for chunk in chunks if chunk.path_in_schema == column)
        return found is None or not found.has_min_max or any(found.min <= value <= found.max for value in values)

    def _check_nulls(self, table: pa.Table) -> None:
        for name in table.column_names:
            nulls = table[name].null_count
            if pa.types.is_list(table[name].type):
                nulls += sum(chunk.values.null_count for chunk in table[name].chunks)
            if nulls and name not in MAY_BE_NULL:
                raise DataSetError(f"{self.path} has {name} without a value; the data set is damaged")

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Turn an error of pyarrow into a DataSetError, and an error of the system into a MachineError.

        pyarrow also raises OSError, without an errno, for pages that make no sense.
        """
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            why = " ".join(str(error).split())
            if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT):
                raise MachineError(f"{self.path} cannot be read: {why}") from None
            raise DataSetError(f"{self.path} is not readable Parquet ({why}); the data set is damaged") from None


def as_array(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """A column of numbers or truth values without nulls, shape (lines,)."""
    chunks = [_as_array(chunk) for chunk in column.chunks]
    return chunks[0] if len(chunks) == 1 else np.concatenate([np.empty(0, column.type.to_pandas_dtype()), *chunks])


def _as_array(chunk: pa.Array) -> npt.NDArray[Any]:
    if not pa.types.is_boolean(chunk.type):
        return np.from_dlpack(chunk)
    bits = np.unpackbits(np.frombuffer(chunk.buffers()[1], np.uint8), bitorder="little")
    return bits[chunk.offset : chunk.offset + len(chunk)].astype(bool)
