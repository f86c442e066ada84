"""Text files, a document each; lines of text, a document each; and lines of JSON.

A file of lines is cut after a line's end about every 16 MB. Workers read their stretch themselves, but for compressed
files and those on the Hub, which the reader process unpacks and hands on. Promise: a line that is no document is told
by its number, and the lines after it are read; a compressed file that is damaged ends there, as one bad row.
"""

import json
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.json

from bosrow.data.source import Source, compression_of
from bosrow.data.tokenizer import utf8
from bosrow.data.unit import UNIT_BYTES, Document, Position, Unit, check_machine, damage, id_of, opened
from bosrow.errors import BadRowError

LARGE_LINE_BYTES = 1 << 20  # a longer line of JSON is parsed by Arrow, which makes no str of it
MAX_BLOCK_BYTES = (1 << 31) - 1  # that Arrow parses at once
UTF8_BOM = b"\xef\xbb\xbf"


def units_of_texts(source: Source, start: Position) -> Iterator[Unit]:
    """Units of several files each, a document a file, from `start` to the end of the corpus."""
    first = start.file
    while first < len(source.files):
        stop, size = first + 1, source.files[first].size
        while stop < len(source.files) and size + source.files[stop].size <= UNIT_BYTES:
            size += source.files[stop].size
            stop += 1
        yield Unit(Position(first), Position(stop), source.share(stop, 0.0))
        first = stop


def _text_documents(source: Source, unit: Unit) -> Iterator[Document]:
    for index in range(unit.start.file, unit.next.file):
        try:
            with opened(source, index) as stream, _unpacked(stream, source.files[index].name) as unpacked:
                text = _read(unpacked, source.files[index].name, -1).removeprefix(UTF8_BOM)
        except BadRowError as error:
            yield Document(index, 0, bad=f"unreadable ({error})")
        else:
            yield Document(index, 0, text)


def units_of_lines(source: Source, start: Position) -> Iterator[Unit]:
    """The units of one file from `start` on, cut after a line's end about every UNIT_BYTES of its unpacked bytes."""
    file = source.files[start.file]
    travels = source.dataset is not None or compression_of(file.name) is not None
    with opened(source, start.file) as packed, _unpacked(packed, file.name) as stream:
        _skip(stream, file.name, start.part)
        begin, size = start, 0  # size: of what was read from `begin` on
        parts: list[bytes] = []  # the same bytes, where they travel
        # Blocks end at the same places after a restart, so a file damaged further on gives the same units.
        while block := _read(stream, file.name, UNIT_BYTES - (begin.part + size) % UNIT_BYTES):
            cut = block.rfind(b"\n") + 1
            if travels:
                parts.append(block[:cut] if cut else block)
            if cut:
                end = Position(start.file, begin.part + size + cut, begin.row + block.count(b"\n"))
                share = source.share(start.file, packed.tell() / max(1, file.size))
                yield Unit(begin, end, share, b"".join(parts) if travels else None)
                begin, size = end, -cut
                parts = [block[cut:]] if travels else []
            size += len(block)
        if size:
            end = Position(start.file, begin.part + size, begin.row + 1)
            yield Unit(begin, end, source.share(start.file, 1.0), b"".join(parts) if travels else None)


def _skip(stream: BinaryIO, name: str, length: int) -> None:
    while length:
        skipped = len(_read(stream, name, min(length, UNIT_BYTES)))
        if not skipped:
            raise BadRowError(f"{name} became shorter while it was read")
        length -= skipped


def _lines(source: Source, unit: Unit) -> Iterator[tuple[int, memoryview]]:
    """The lines of a unit, without their ends, by number."""
    data = unit.payload
    assert not isinstance(data, list)
    if data is None:
        name, length = source.files[unit.start.file].name, unit.next.part - unit.start.part
        with opened(source, unit.start.file) as stream:
            stream.seek(unit.start.part)
            data = _read(stream, name, length)
        if len(data) < length:
            raise BadRowError(f"{name} became shorter while it was read")
    view, row = memoryview(data), unit.start.row
    begin = len(UTF8_BOM) if unit.start.part == 0 and data.startswith(UTF8_BOM) else 0
    while begin < len(data):
        end = data.find(b"\n", begin)
        end = len(data) if end < 0 else end
        yield row, view[begin:end]
        begin, row = end + 1, row + 1


def _line_documents(source: Source, unit: Unit) -> Iterator[Document]:
    for row, line in _lines(source, unit):
        yield Document(unit.start.file, row, line[:-1] if line[-1:] == b"\r" else line)


def _json_documents(source: Source, unit: Unit) -> Iterator[Document]:
    for row, line in _lines(source, unit):
        if LARGE_LINE_BYTES < len(line) < MAX_BLOCK_BYTES and (text := _large_text(source, line)) is not None:
            yield Document(unit.start.file, row, text)
        elif line[:1].tobytes().strip() or line.tobytes().strip():
            yield _json_document(source, unit.start.file, row, line.tobytes())


def _json_document(source: Source, file: int, row: int, line: bytes) -> Document:
    try:
        value = json.loads(line)
    except UnicodeDecodeError as error:
        return Document(file, row, bad=f"not UTF-8 ({error.reason} at byte {error.start} of the line)")
    except (ValueError, RecursionError) as error:
        return Document(file, row, bad=f"not JSON ({error})")
    if not isinstance(value, dict):
        return Document(file, row, bad=f"not JSON (an object was required, this is a {type(value).__name__})")
    text = value.get(source.text_field)
    if isinstance(text, str):
        return Document(file, row, utf8(text), id_of(value.get(source.id_field)))
    if text is not None:
        return Document(file, row, bad=f"not text (a {type(text).__name__})")
    if source.text_field in value:
        return Document(file, row, bad="null")
    fields = ", ".join(value)[:200]
    return Document(file, row, bad=f"no text (there is no field {source.text_field!r}; there are: {fields})")


def _large_text(source: Source, line: memoryview) -> memoryview | None:
    """The text of a long line, read by Arrow; None for whatever is not simply text, which json.loads shall judge.

    json.loads makes two strs of a line, which one emoji makes four times larger each.
    """
    if source.id_field is not None:
        return None
    options = pyarrow.json.ParseOptions(
        explicit_schema=pa.schema([(source.text_field, pa.large_string())]), unexpected_field_behavior="ignore"
    )
    whole = pyarrow.json.ReadOptions(use_threads=False, block_size=len(line) + 1)
    try:
        table = pyarrow.json.read_json(pa.BufferReader(line), whole, options)
    except pa.ArrowException as error:
        check_machine("a long line of JSON cannot be parsed", error)
        return None
    if len(table) != 1 or (text := table[source.text_field][0].as_buffer()) is None:
        return None
    return memoryview(text)


def _unpacked(stream: BinaryIO, name: str) -> BinaryIO:
    kind = compression_of(name)
    return pa.CompressedInputStream(stream, kind) if kind else stream


def _read(stream: BinaryIO, name: str, size: int) -> bytes:
    """Up to `size` bytes (-1: all). A compressed file that ends too early raises, as damage does."""
    try:
        return stream.read() if size < 0 else stream.read(size)
    except OSError as error:
        raise damage(f"{name} cannot be read to its end", error) from None


def documents_of(source: Source, unit: Unit) -> Iterator[Document]:
    """The documents of a unit, in order."""
    return READERS[source.format](source, unit)


READERS = {"json": _json_documents, "lines": _line_documents, "text": _text_documents}
