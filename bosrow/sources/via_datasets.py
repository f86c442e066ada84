"""Arrow and WebDataset files, which are read with `datasets`, row by row.

The reader process reads one file after the other with the builder of the format that comes with `datasets`. It passes
the documents on in units of about 16 MB of text and at most 4096 documents. No code of a data set is run.

Promise: documents, their order and their rows (counted from 0) depend on the files alone. Files are opened through
`Source.open`, so they have the same retries (Hub) and the same check for changes (disk) as other formats. If a file is
damaged, what comes before the damage counts, and the rest is one bad row. If anything else fails (such as the cache
folder of `datasets`), the run stops.

Cost: one process reads, with a Python object per row. A position is a file and a row, so a resumed run reads the
interrupted file again up to that row, without tokenizing it. So several files are better than one that takes hours.
"""

import inspect
import json
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa
from fsspec import AbstractFileSystem, register_implementation

from bosrow.errors import BadRowError, BosrowError, DataSetError, MachineError
from bosrow.sources.source import Source
from bosrow.sources.unit import UNIT_BYTES, BadRow, Document, Position, Unit, check_unchanged, columns_of, damage, id_of
from bosrow.tokenizers.tokenizer import utf8

if TYPE_CHECKING:
    from datasets import IterableDataset

UNIT_DOCUMENTS = 4096
PROTOCOL = "bosrow"
# tar: a block of zeros; Arrow: the end of a stream, or of a file of the random-access format.
END_MARKS = {".tar": (bytes(512),), ".arrow": (b"\xff\xff\xff\xff\0\0\0\0", b"ARROW1")}


class _Served:
    """One file of a source, in the form in which `datasets` gets it."""

    def __init__(self, source: Source, index: int) -> None:
        self.source, self.index, self.file = source, index, source.files[index]
        self.streams: list[BinaryIO] = []

    def __enter__(self) -> "_Served":
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self.streams:  # builders leave them open
            stream.close()

    def __deepcopy__(self, _: dict[int, Any]) -> "_Served":  # `datasets` copies the options of a file system
        return self

    @property
    def address(self) -> str:
        """The file's address for builders. Only the endings matter to them (.arrow.gz is decompressed)."""
        return f"{PROTOCOL}://file{''.join(PurePosixPath(self.file.name).suffixes[-2:])}"

    @property
    def fraction_read(self) -> float:
        """The fraction of the file that has been read."""
        if not self.streams or self.streams[-1].closed:
            return 1.0
        return self.streams[-1].tell() / max(1, self.file.size)


class _OneFile(AbstractFileSystem):
    """A file system that holds one file of a source, whatever name it is asked for."""

    protocol = PROTOCOL
    cachable = False

    def __init__(self, served: _Served, **_: Any) -> None:
        super().__init__()
        self.served = served

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        return {"name": path, "size": self.served.file.size, "type": "file"}

    def open(self, path: str, mode: str = "rb", **_: Any) -> BinaryIO:
        self.served.streams.append(self.served.source.open(self.served.file))
        return self.served.streams[-1]


def units_of(source: Source, begin: Position) -> Iterator[Unit]:
    """The units of a file from `begin` on, with their documents as payload."""
    index, row, size = begin.file, begin.row, 0
    documents: list[Document | BadRow] = []
    bad: BadRowError | None = None
    try:
        with _Served(source, index) as served:
            for value in _rows(source, served, skip=row):
                if size >= UNIT_BYTES or len(documents) == UNIT_DOCUMENTS:
                    end = Position(index, 0, row)
                    yield Unit(begin, end, source.share(index, served.fraction_read), documents)
                    begin, documents, size = end, [], 0
                document = _document(source, index, row, value)
                documents.append(document)
                row, size = row + 1, size + (len(document.text) if isinstance(document, Document) else 0)
    except BadRowError as error:
        bad = error
    end = Position(index, 0, row) if bad else Position(index + 1)
    yield Unit(begin, end, source.share(index, 1.0), documents)
    if bad:
        raise bad


def _document(source: Source, index: int, row: int, value: dict[str, Any]) -> Document | BadRow:
    text, name = value[source.text_field], value[source.id_field] if source.id_field else None
    if not isinstance(text, str):
        return BadRow(index, row, "null" if text is None else f"not text (a {type(text).__name__})")
    return Document(index, row, utf8(text), id_of(name))


def _rows(source: Source, served: _Served, skip: int) -> Iterator[dict[str, Any]]:
    """The rows of a file without the first `skip`. Raises BadRowError where the file is damaged."""
    try:
        check_unchanged(source, served.file)
        dataset = _open(served)
        # Other columns are dropped first, so that pictures in them are not decoded.
        dataset = dataset.select_columns(columns_of(source, dataset.features.arrow_schema))
        yield from dataset.skip(skip)
        _check_end(served)
        check_unchanged(source, served.file)
    except Exception as error:  # builders raise what their libraries raise
        raise _told(error) from error


def _check_end(served: _Served) -> None:
    """Raise BadRowError if the file lacks the end mark of its format: builders do not notice that it was cut short."""
    marks = END_MARKS.get(PurePosixPath(served.file.name).suffix.lower())
    if marks:
        with served.source.open(served.file) as stream:
            stream.seek(max(0, served.file.size - max(map(len, marks))))
            tail = stream.read()
        if not tail.endswith(marks):
            raise BadRowError(f"{served.file.name} was cut short: the end mark of its format is missing")


def _open(served: _Served) -> "IterableDataset":
    from datasets import load_dataset

    register_implementation(PROTOCOL, _OneFile)
    settings = json.loads(served.source.settings)
    if foreign := settings.keys() & inspect.signature(load_dataset).parameters:
        names = ", ".join(sorted(foreign))
        raise DataSetError(f"{names} is not a setting of a file format; the state file was edited")
    return load_dataset(
        served.source.format,
        data_files=served.address,
        split="train",
        streaming=True,
        storage_options={PROTOCOL: {"served": served}},
        **settings,
    )


def schema_of(source: Source, index: int) -> pa.Schema:
    """The columns of a file. Raises BadRowError if it is damaged."""
    try:
        with _Served(source, index) as served:
            check_unchanged(source, served.file)
            return _open(served).features.arrow_schema
    except Exception as error:  # builders raise what their libraries raise
        raise _told(error) from error


def _told(error: Exception) -> BosrowError:
    """What went wrong inside `datasets`, as one of our errors: the one that caused it, if there is one."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BosrowError):
            return cause
        cause = cause.__cause__ or cause.__context__
    try:
        # Builders raise ValueError if a file is not of their format.
        return damage("it cannot be read further", error, ValueError, tarfile.TarError)
    except MachineError as fault:
        return MachineError(f"{fault}. `datasets` keeps a cache in {_cache()}; HF_HOME sets another place")


def _cache() -> str:
    from datasets.config import HF_DATASETS_CACHE

    return str(HF_DATASETS_CACHE)
