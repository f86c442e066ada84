"""Three formats: text files, a document each; lines of text, a document each; and lines of JSON.

A file of lines is cut after a line end about every 16 MB. Workers read their part of the file themselves; compressed
files and files on the Hub are read by the reader process, which passes on the text. Promise: a line that is not a
document is reported by its number, and the lines after it are read. If a compressed file was cut short, its complete
lines are read and the rest is one bad row. If it is damaged, it is one bad row from the unit on in which that shows.
"""

from collections.abc import Iterator

from bosrow.errors import BadRowError
from bosrow.sources.byte_stream import UTF8_BOM, read_bytes, skip_bytes
from bosrow.sources.compression import check_plain, compression_of, unpacked
from bosrow.sources.json_lines import check_lines, parse_line
from bosrow.sources.source import HubSource, Source
from bosrow.sources.unit import UNIT_BYTES, BadRow, Document, Position, Unit, opened


def units_of(source: Source, begin: Position) -> Iterator[Unit]:
    """The units from `begin` on: to the end of the corpus for text files, to the end of the file for lines."""
    return _units_of_texts(source, begin) if source.format == "text" else _units_of_lines(source, begin)


def _units_of_texts(source: Source, start: Position) -> Iterator[Unit]:
    """Units of one or several files, each file a document, from `start` to the end of the corpus."""
    first = start.file
    while first < len(source.files):
        stop, size = first + 1, source.files[first].size
        while stop < len(source.files) and size + source.files[stop].size <= UNIT_BYTES:
            size += source.files[stop].size
            stop += 1
        yield Unit(Position(first), Position(stop), source.share(stop, 0.0))
        first = stop


def _text_documents(source: Source, unit: Unit) -> Iterator[Document | BadRow]:
    for index in range(unit.start.file, unit.next.file):
        try:
            name = source.files[index].name
            with opened(source, index) as packed:
                text = read_bytes(unpacked(packed, name), name, -1)
            check_plain(name, text)
        except BadRowError as error:
            yield BadRow(index, 0, f"unreadable ({error})")
        else:
            yield Document(index, 0, text.removeprefix(UTF8_BOM))


def _units_of_lines(source: Source, start: Position) -> Iterator[Unit]:
    """The units of one file from `start` on, cut after a line end about every UNIT_BYTES of decompressed text."""
    file = source.files[start.file]
    travels = isinstance(source, HubSource) or compression_of(file.name) is not None
    with opened(source, start.file) as packed:
        stream = unpacked(packed, file.name)
        skip_bytes(stream, file.name, start.part)
        begin, size = start, 0  # size: bytes read from `begin` on
        parts: list[bytes] = []  # these bytes, if the unit carries them
        # Blocks end at the same places after a restart, so that a file that is damaged later gives the same units.
        while block := read_bytes(stream, file.name, UNIT_BYTES - (begin.part + size) % UNIT_BYTES):
            if begin.part + size == 0:
                check_plain(file.name, block)
                if source.format == "json":
                    check_lines(file.name, block)
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


def _lines(source: Source, unit: Unit) -> Iterator[tuple[int, memoryview]]:
    """The lines of a unit without their line feeds, each with its number."""
    data = unit.payload
    assert data is None or isinstance(data, bytes)
    if data is None:
        name, length = source.files[unit.start.file].name, unit.next.part - unit.start.part
        with opened(source, unit.start.file) as stream:
            stream.seek(unit.start.part)
            data = read_bytes(stream, name, length)
        if len(data) < length:
            raise BadRowError(f"{name} became shorter while it was read")
    view, row = memoryview(data), unit.start.row
    begin = len(UTF8_BOM) if unit.start.part == 0 and data.startswith(UTF8_BOM) else 0
    while begin < len(data):
        end = data.find(b"\n", begin)
        end = len(data) if end < 0 else end
        yield row, view[begin:end]
        begin, row = end + 1, row + 1


def _line_documents(source: Source, unit: Unit) -> Iterator[Document | BadRow]:
    for row, line in _lines(source, unit):
        yield Document(unit.start.file, row, line[:-1] if line[-1:] == b"\r" else line)


def _json_documents(source: Source, unit: Unit) -> Iterator[Document | BadRow]:
    for row, line in _lines(source, unit):
        if line[:1].tobytes().strip() or line.tobytes().strip():
            text, name, bad = parse_line(line, source.text_field, source.id_field)
            yield BadRow(unit.start.file, row, bad) if bad else Document(unit.start.file, row, text, name)


def documents_of(source: Source, unit: Unit) -> Iterator[Document | BadRow]:
    """The documents of a unit, in order."""
    return READERS[source.format](source, unit)


READERS = {"json": _json_documents, "lines": _line_documents, "text": _text_documents}
