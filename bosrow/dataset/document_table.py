"""The documents of a data set: source file and row, length, split and id of each.

Promise: documents are numbered in order of reading, without gaps; their source files and splits are those that
meta.json names. A file that does not fit raises DataSetError. Cost: looking up documents reads the Parquet row groups
that can hold them (131,072 lines each); `lengths` and `sources` read whole columns.
"""

from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bosrow.dataset.manifest import SPLITS, Manifest
from bosrow.dataset.provenance_layout import DOCUMENTS_PER_FILE, documents_file
from bosrow.dataset.provenance_parquet import ProvenanceFiles, as_array
from bosrow.errors import DataSetError, OptionError


class DocumentInfo(NamedTuple):
    """A document as it was read. `split` is None with --val_shards, where rows and not documents have a split."""

    document: int
    source_file: str
    source_row: int
    tokens: int
    split: str | None
    id: str | None


class Sources(NamedTuple):
    """Where documents came from: `names` of files; for each document, the index of its file in them, and its row."""

    names: list[str]
    file: npt.NDArray[np.int64]
    row: npt.NDArray[np.uint64]


class DocumentTable:
    """All documents that were read, as a sequence: `len`, by number, or in order."""

    def __init__(self, manifest: Manifest, files: ProvenanceFiles) -> None:
        self._manifest = manifest
        self._files = files
        self._names = sorted(name for name in files.names if name.startswith("documents_"))

    def __len__(self) -> int:
        return sum(self._files.lines_of(name) for name in self._names)

    def __getitem__(self, document: int) -> DocumentInfo:
        """What is known of a document. Raises OptionError if it does not exist."""
        return self.of([document])[document]

    def __iter__(self) -> Iterator[DocumentInfo]:
        """What is known of every document, in order of reading. Reads a row group at a time."""
        for name, table in self._tables():
            yield from self._infos(name, table)

    def of(self, documents: Iterable[int]) -> dict[int, DocumentInfo]:
        """What is known of each of `documents`. Raises OptionError if one of them does not exist."""
        wanted: dict[str, set[int]] = {}
        total = len(self)
        for document in documents:
            if not 0 <= document < total:
                raise OptionError(f"there is no document {document}; {self._files.data_dir} has 0 to {total - 1}")
            wanted.setdefault(documents_file(document // DOCUMENTS_PER_FILE), set()).add(document)
        found = {
            info.document: info
            for name, chosen in wanted.items()
            for table in self._files.open(name).tables(only=("document", chosen))
            for info in self._infos(name, table)
            if info.document in chosen
        }
        if lacking := set().union(*wanted.values()).difference(found):
            raise DataSetError(
                f"{self._files.data_dir} lacks the entry of document {min(lacking)}; the data set is damaged"
            )
        return found

    @property
    def have_ids(self) -> bool:
        """Whether ids were kept (--id_field)."""
        return self._files.open(documents_file(0)).has_ids

    def lengths(self) -> npt.NDArray[np.uint32]:
        """Tokens of each document, its BOS counted, by number: shape (documents,)."""
        parts = [as_array(table["tokens"]) for _, table in self._tables(["tokens"])]
        return np.concatenate([np.empty(0, np.uint32), *parts])

    def sources(self) -> Sources:
        """Where each document came from; `file` and `row` have shape (documents,)."""
        numbers: dict[str | None, int] = {}
        files, rows = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
        for name, table in self._tables(["source_file", "source_row"]):
            names, indices = _categories(name, table["source_file"], self._source_files)
            found = np.array([numbers.setdefault(file, len(numbers)) for file in names], np.int64)
            files.append(found[indices])
            rows.append(as_array(table["source_row"]))
        return Sources([str(name) for name in numbers], np.concatenate(files), np.concatenate(rows))

    def _tables(self, columns: list[str] | None = None) -> Iterator[tuple[str, pa.Table]]:
        """All documents in order, a row group at a time, with the name of their file."""
        first = 0
        for name in self._names:
            for table in self._files.open(name).tables(columns and ["document", *columns]):
                if not np.array_equal(as_array(table["document"]), np.arange(first, first + len(table))):
                    raise DataSetError(f"{name} does not continue with document {first}; the data set is damaged")
                if "tokens" in table.column_names and not as_array(table["tokens"]).all():
                    raise DataSetError(f"{name} has a document without tokens, not even BOS; the data set is damaged")
                first += len(table)
                yield name, table

    def _infos(self, name: str, table: pa.Table) -> Iterator[DocumentInfo]:
        files, file_of = _categories(name, table["source_file"], self._source_files)
        splits, split_of = _categories(name, table["split"], SPLITS)
        numbers, rows, tokens = (as_array(table[key]).tolist() for key in ("document", "source_row", "tokens"))
        ids = table["id"].to_pylist() if "id" in table.column_names else [None] * len(table)
        file_names = [files[index] for index in file_of]
        split_names = [splits[index] for index in split_of]
        yield from map(DocumentInfo, numbers, file_names, rows, tokens, split_names, ids)

    @cached_property
    def _source_files(self) -> frozenset[str]:
        return frozenset(self._manifest.origin.source.files)


def _categories(name: str, column: pa.ChunkedArray, known: Collection[str]) -> tuple[list[str | None], list[int]]:
    """A dictionary column: its words, with None at the end, and the index of each line's word (-1: None)."""
    (chunk,) = column.chunks or [pa.array([], column.type)]
    words = chunk.dictionary.to_pylist()
    for word in words:
        if word not in known:
            raise DataSetError(f"{name} names {word!r}, which meta.json does not; the data set is damaged")
    return [*words, None], [-1 if index is None else index for index in chunk.indices.to_pylist()]
