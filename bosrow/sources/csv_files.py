"""CSV and TSV files: every row after the header is a document.

Promise: cells are read as RFC 4180 says. A quoted cell may hold separators, line ends and doubled quotes. Cells are
text and never converted, so NA is not null and 007 not a number. In tab-separated files quotes are part of the text,
unless `--csv_quoting quoted` is given. A row that does not fit (another number of cells than the header, wrong quotes,
more than MAX_ROW_BYTES) is one bad row, reported by its number; only its first line is dropped, and reading continues
with the next line. Empty lines are not rows. Rows are counted from 0 after the header.

Cost: one process reads, and passes the texts to the workers in units of about 16 MB. A position holds the byte at
which a row begins, so a resumed run reads nothing twice; a compressed file is decompressed again up to that byte.
"""

import codecs
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import BinaryIO

import pyarrow as pa

from bosrow.errors import BadRowError, DataSetError, SourceError
from bosrow.sources.byte_stream import UTF8_BOM, skip_bytes
from bosrow.sources.compression import check_plain, compression_of, unpacked
from bosrow.sources.csv_rows import CsvRow, Dialect, rows_of
from bosrow.sources.source import Source
from bosrow.sources.text import read_bytes
from bosrow.sources.unit import UNIT_BYTES, BadRow, Document, Position, Unit, columns_of, opened

UNIT_DOCUMENTS = 4096
FIRST_BYTES = 512  # enough to recognize a compressed file or an archive
RULES = "RFC 4180"
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
ENCODINGS = ("utf-8", "utf-8-sig", "ascii", "iso8859-", "cp125")  # in these a separator is always one byte
QUOTE_NONE = 3  # of Python's csv module, and so of pandas and `datasets`
# Settings that a README may give to the CSV builder of `datasets`: those that bosrow follows, and those that do not
# change any text.
FOLLOWED = {"sep", "names", "header", "encoding", "quotechar", "quoting"}
WITHOUT_EFFECT = {
    *("delimiter", "column_names"),  # `datasets` gives these as sep and names too
    *("engine", "dtype", "converters", "true_values", "false_values", "na_values", "keep_default_na", "na_filter"),
    *("thousands", "decimal", "float_precision", "date_format", "index_col", "usecols", "prefix", "mangle_dupe_cols"),
    *("chunksize", "memory_map", "verbose", "on_bad_lines", "error_bad_lines", "warn_bad_lines", "skip_blank_lines"),
}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the rows of a file are written, how its text is encoded, and its columns where no header names them."""

    dialect: Dialect
    encoding: str | None = None  # None: UTF-8
    has_header: bool = True
    names: list[str] | None = None


def settings_of(readme: str, quoting: str | None) -> str:
    """`Source.settings` for CSV, as JSON: the README's settings that say how rows are written, and `--csv_quoting`.

    `readme` is JSON. Raises SourceError if a setting of the README changes the text and bosrow does not follow it.
    """
    given = json.loads(readme)
    settings = {"rules": RULES} | {name: given[name] for name in sorted(FOLLOWED & given.keys())}
    if quoting is not None:
        settings["quoting"] = QUOTE_NONE if quoting == "none" else 0
    try:
        if others := sorted(given.keys() - FOLLOWED - WITHOUT_EFFECT):
            raise ValueError(", ".join(f"{name}={given[name]!r}" for name in others))
        _layout(settings)
    except ValueError as error:
        raise SourceError(
            f"the data set's README asks for CSV to be read with {error}, which bosrow does not do; "
            "convert it with `datasets` and give the files with --data_files"
        ) from None
    return json.dumps(settings)


def _layout(settings: dict[str, object]) -> Layout:
    """The layout that `settings` describe. Raises ValueError, naming a setting that cannot be followed."""
    separator, quote = (_one_byte(settings, name, default) for name, default in (("sep", ","), ("quotechar", '"')))
    names, header, quoting = settings.get("names"), settings.get("header", "infer"), settings.get("quoting")
    if not (names is None or (isinstance(names, list) and names and all(isinstance(name, str) for name in names))):
        raise ValueError(f"names={names!r}")
    if header not in ("infer", 0, None) or (header is None and names is None):
        raise ValueError(f"header={header!r} and names={names!r}")
    if quoting not in (None, 0, 1, 2, QUOTE_NONE):
        raise ValueError(f"quoting={quoting!r}")
    quoted = quoting != QUOTE_NONE if quoting is not None else separator != b"\t"
    return Layout(
        dialect=Dialect(separator=separator, quote=quote if quoted else None),
        encoding=_encoding(settings.get("encoding")),
        has_header=header == 0 or (header == "infer" and names is None),
        names=names,
    )


def _one_byte(settings: dict[str, object], name: str, default: str) -> bytes:
    value = settings.get(name, default)
    if not isinstance(value, str) or len(value) != 1 or not value.isascii() or value in "\r\n":
        raise ValueError(f"{name}={value!r}")
    return value.encode()


def _encoding(name: object) -> str | None:
    """The encoding's name in Python; None for UTF-8, the default. Raises ValueError for one that is not supported."""
    try:
        found = codecs.lookup(str(name or "utf-8")).name
    except LookupError:
        found = ""
    if not found.startswith(ENCODINGS):
        raise ValueError(f"encoding={name!r}")
    return None if found.startswith("utf-8") else found


def layout_of(source: Source, index: int) -> Layout:
    """How a file is written: by the settings, or else by its name."""
    suffixes = [suffix.lower() for suffix in PurePosixPath(source.files[index].name).suffixes[-2:]]
    try:
        return _layout(({"sep": "\t"} if ".tsv" in suffixes else {}) | json.loads(source.settings))
    except (TypeError, ValueError) as error:
        raise DataSetError(f"{error} is not a setting of CSV; the state file was edited, --fresh starts over") from None


@contextmanager
def _opened(source: Source, index: int, place: int = 0) -> Iterator[tuple[Iterator[CsvRow], BinaryIO]]:
    """The rows of a file from byte `place` of its text on (from byte 0: the header too), and the open file."""
    name = source.files[index].name
    with opened(source, index) as packed:
        stream = unpacked(packed, name)
        start = b""
        if place == 0:
            start = read_bytes(stream, name, FIRST_BYTES)
            check_plain(name, start)
            if start.startswith(UTF16_BOMS):
                raise BadRowError(f"{name} is UTF-16; convert it to UTF-8")
            if start.startswith(UTF8_BOM):
                start, place = start[len(UTF8_BOM) :], len(UTF8_BOM)
        elif compression_of(name):
            skip_bytes(stream, name, place)
        else:
            packed.seek(place)
        yield rows_of(partial(read_bytes, stream, name), layout_of(source, index).dialect, start, place), packed


def _names(source: Source, index: int, rows: Iterator[CsvRow]) -> list[str]:
    """The names of the columns. Takes the header, if there is one, from `rows`. Raises BadRowError if it is missing."""
    name, layout = source.files[index].name, layout_of(source, index)
    header = next(rows, None) if layout.has_header else None
    if layout.names:
        return layout.names
    if header is None:
        raise BadRowError(f"{name} is empty; a header that names the columns was required")
    if header.wrong:
        raise BadRowError(f"{name} does not begin with a header that names the columns ({header.wrong})")
    return [cell.decode(layout.encoding or "utf-8", "replace") for cell in header.cells]


def _names_of(source: Source, index: int) -> list[str]:
    with _opened(source, index) as (rows, _):
        return _names(source, index, rows)


def _schema(names: list[str]) -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in names])


def schema_of(source: Source, index: int) -> pa.Schema:
    """The columns of a file, all of them text. Raises BadRowError if it has no header."""
    return _schema(_names_of(source, index))


def units_of(source: Source, begin: Position) -> Iterator[Unit]:
    """The units of a file from `begin` on, with their documents as payload."""
    index, row, size = begin.file, begin.row, 0
    documents: list[Document | BadRow] = []
    bad: BadRowError | None = None
    end = begin
    try:
        with _opened(source, index, begin.part) as (rows, packed):
            names = _names_of(source, index) if begin.part else _names(source, index, rows)
            document_of = _reader(source, index, names)
            for found in rows:
                if size >= UNIT_BYTES or len(documents) == UNIT_DOCUMENTS:
                    share = source.share(index, packed.tell() / max(1, source.files[index].size))
                    yield Unit(begin, end, share, documents)
                    begin, documents, size = end, [], 0
                document = document_of(row, found)
                documents.append(document)
                row, size = row + 1, size + (len(document.text) if isinstance(document, Document) else 0)
                end = Position(index, found.end, row)
    except BadRowError as error:
        bad = error
    yield Unit(begin, end if bad else Position(index + 1), source.share(index, 1.0), documents)
    if bad:
        raise bad


def _reader(source: Source, index: int, names: list[str]) -> Callable[[int, CsvRow], Document | BadRow]:
    """A function that makes a document, or a bad row, of a row's number and the row."""
    layout = layout_of(source, index)
    text_field, *_ = columns_of(source, _schema(names))
    text, name = names.index(text_field), names.index(source.id_field) if source.id_field else None
    encoding = layout.encoding
    hint = "" if layout.dialect.quote else "; where quotes enclose cells, give --csv_quoting quoted"

    def document_of(row: int, found: CsvRow) -> Document | BadRow:
        if found.wrong:
            return BadRow(index, row, f"not CSV ({found.wrong})")
        cells = found.cells
        if len(cells) != len(names):
            quoted = hint if any(b'"' in cell for cell in cells) else ""
            detail = f"{len(cells)} where the header has {len(names)}{quoted}"
            return BadRow(index, row, f"wrong number of cells ({detail})")
        try:
            value = cells[text].decode(encoding).encode() if encoding else cells[text]
        except UnicodeDecodeError as error:
            return BadRow(index, row, f"not {encoding} ({error.reason} at byte {error.start} of the cell)")
        return Document(index, row, value, None if name is None else cells[name].decode(encoding or "utf-8", "replace"))

    return document_of
