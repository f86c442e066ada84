"""Rows and files that hold no usable text, or only look as if they did, for test_bad_rows.py.

A case is a few files, the documents that they hold, and what is unusable in them. `a.*` and `z.*` hold good
documents before and after, so that reading is seen to go on in the right place.
"""

import gzip
import json
import lzma
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

GOOD = [f"Document {number} says that water is wet." for number in range(4)]
Write = bytes | Callable[[Path], Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """`hostile` is the file between the good ones; `bad` and `good` are its rows, in order."""

    hostile: Write
    suffix: str = ".jsonl"
    bad: tuple[tuple[int, str], ...] = ()  # row, how the reason begins
    good: tuple[tuple[int, str], ...] = ()  # row, text
    later: Callable[[Path], Any] | None = None  # done to the file after it was found and before it is read


def lines(*rows: Any, end: bytes = b"\n") -> bytes:
    """Lines of JSON; bytes stand as they are."""
    return b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + end for row in rows)


def texts(*values: Any) -> bytes:
    return lines(*({"text": value} for value in values))


def table(column: Any, name: str = "text") -> pa.Table:
    column = column if isinstance(column, pa.Array) else pa.array(column)
    return pa.table({name: column, "number": list(range(len(column)))})


def parquet(found: pa.Table, **settings: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(found, sink, **{"row_group_size": 4, "use_dictionary": False} | settings)
    return sink.getvalue().to_pybytes()


def flipped(data: bytes, where: bytes, distance: int = 0) -> bytes:
    """`data` with a bit flipped `distance` bytes after the one place where `where` stands."""
    place = data.index(where) + distance
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def strings(*values: bytes) -> pa.Array:
    """A column of strings that need not be UTF-8."""
    offsets = [0]
    for value in values:
        offsets.append(offsets[-1] + len(value))
    body = b"".join(values)
    return pa.StringArray.from_buffers(
        len(values), pa.array(offsets, pa.int32()).buffers()[1], pa.py_buffer(body if body else b"\0")
    )


def page_of(data: bytes) -> int:
    """A place inside the text column's page, well after its header."""
    chunk = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0).column(0)
    return chunk.data_page_offset + chunk.total_compressed_size - 5


def with_bit_flipped_in_page(**settings: Any) -> bytes:
    data = parquet(table(GOOD), write_page_checksum=True, **settings)
    place = page_of(data)
    return data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def rewrite(path: Path) -> None:
    path.write_bytes(path.read_bytes() * 2)


def into_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


PACKED = texts(*GOOD)
MANY = texts(*(f"{number} {os.urandom(40).hex()}" for number in range(3000)))  # incompressible
SOME = b"".join(MANY.splitlines(keepends=True)[:100])
UNREADABLE = ((0, "unreadable ("),)
FOUR = tuple(enumerate(GOOD))


def cut_short(ending: str, packed: bytes, decoder: Any) -> Case:
    """A file that lacks its end: the lines are good that a decoder makes of the rest."""
    rest = packed[:-1000]
    whole = decoder.decompress(rest).split(b"\n")[:-1]
    assert 0 < len(whole) < SOME.count(b"\n")
    good = tuple((row, json.loads(line)["text"]) for row, line in enumerate(whole))
    cut = f"unreadable (h.jsonl{ending} was cut short"
    return Case(hostile=rest, suffix=f".jsonl{ending}", bad=((len(whole), cut),), good=good)


CASES = {
    "null": Case(hostile=texts("one", None, "two"), bad=((1, "null"),), good=((0, "one"), (2, "two"))),
    "number": Case(
        hostile=texts("one", 5, 2.5), bad=((1, "not text (a int"), (2, "not text (a float")), good=((0, "one"),)
    ),
    "boolean": Case(hostile=texts(True), bad=((0, "not text (a bool"),)),
    "list": Case(hostile=texts(["a", "b"], "one"), bad=((0, "not text (a list"),), good=((1, "one"),)),
    "nested": Case(hostile=texts({"text": "inside"}), bad=((0, "not text (a dict"),)),
    "missing field": Case(
        hostile=lines({"body": "x"}, {"text": "one"}),
        bad=((0, "no text (there is no field 'text'"),),
        good=((1, "one"),),
    ),
    "not an object": Case(hostile=lines([1, 2], "text", None), bad=((0, "not JSON"), (1, "not JSON"), (2, "not JSON"))),
    "broken line": Case(
        hostile=lines({"text": "one"}, b'{"text": "tw', {"text": "three"}),
        bad=((1, "not JSON"),),
        good=((0, "one"), (2, "three")),
    ),
    "cut last line": Case(hostile=lines({"text": "one"}) + b'{"text": "tw', bad=((1, "not JSON"),), good=((0, "one"),)),
    "two objects on a line": Case(hostile=b'{"text": "a"} {"text": "b"}\n', bad=((0, "not JSON"),)),
    "invalid UTF-8": Case(
        hostile=lines(b'{"text": "\xff\xfe"}', {"text": "one"}), bad=((0, "not UTF-8"),), good=((1, "one"),)
    ),
    "UTF-8 cut in a character": Case(hostile=lines(b'{"text": "\xe6\xa8"}'), bad=((0, "not UTF-8"),)),
    "a long line that is not UTF-8": Case(
        hostile=lines(b'{"text": "' + b"word " * 300_000 + b'\xff"}', {"text": "one"}),
        bad=((0, "not UTF-8"),),
        good=((1, "one"),),
    ),
    "endless nesting": Case(
        hostile=lines(b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"), bad=((0, "not JSON"),)
    ),
    "a number without end": Case(hostile=lines(b'{"text": ' + b"9" * 10_000 + b"}"), bad=((0, "not JSON"),)),
    "lone surrogates": Case(hostile=lines(b'{"text": "a\\ud800b"}'), good=((0, "a\ufffdb"),)),
    "NULs": Case(hostile=texts("a\0b\0"), good=((0, "a\0b\0"),)),
    "only white space": Case(hostile=texts(" \t\n\u3000 ", ""), good=((0, " \t\n\u3000 "), (1, ""))),
    "two million spaces and a letter": Case(hostile=texts(" " * 2_000_000 + "a"), good=((0, " " * 2_000_000 + "a"),)),
    "a megabyte without a space": Case(hostile=texts("ab1é" * 250_000), good=((0, "ab1é" * 250_000),)),
    "a literal end of text": Case(
        hostile=texts("a<|endoftext|>b", "<|endoftext|>"), good=((0, "a<|endoftext|>b"), (1, "<|endoftext|>"))
    ),
    "BOM": Case(hostile=b"\xef\xbb\xbf" + texts("one"), good=((0, "one"),)),
    "CRLF and blank lines": Case(
        hostile=lines({"text": "one"}, b"", {"text": "two"}, end=b"\r\n"), good=((0, "one"), (2, "two"))
    ),
    "empty file": Case(hostile=b""),
    "gzip cut short": cut_short(".gz", gzip.compress(SOME), zlib.decompressobj(wbits=31)),
    "xz cut short": cut_short(".xz", lzma.compress(SOME), lzma.LZMADecompressor()),
    "gzip with a flipped bit": Case(
        hostile=flipped(gzip.compress(MANY, mtime=0), b"\x1f\x8b", 60_000), suffix=".jsonl.gz", bad=UNREADABLE
    ),
    "not gzip": Case(hostile=PACKED, suffix=".jsonl.gz", bad=UNREADABLE),
    "zstd with a flipped bit": Case(
        hostile=flipped(zstandard.ZstdCompressor(write_checksum=True).compress(MANY), b"\x28\xb5", 60_000),
        suffix=".jsonl.zst",
        bad=UNREADABLE,
    ),
    "not zstd": Case(hostile=PACKED, suffix=".jsonl.zst", bad=UNREADABLE),
    "a second gzip stream that is damaged": Case(
        hostile=gzip.compress(PACKED) + b"\x1f\x8b\x08 no stream",
        suffix=".jsonl.gz",
        bad=((4, "unreadable (h.jsonl.gz has other bytes after its gzip stream"),),
        good=FOUR,
    ),
    "an array over many lines": Case(
        hostile=b"[\n" + texts("one").replace(b"}", b"},") + texts("two") + b"]\n",
        suffix=".json",
        bad=((0, "unreadable (h.json begins with an array over several lines, one object a line was required"),),
    ),
    "an object over many lines": Case(
        hostile=b'{\n "text":\n "one"\n}\n',
        suffix=".json",
        bad=((0, "unreadable (h.json begins with an object over several lines"),),
    ),
    "an array on one line": Case(
        hostile=lines([{"text": "one"}]),
        bad=((0, "not JSON (an object was required, this is a list; `jq -c '.[]' FILE` makes lines of an array"),),
    ),
    "a number of thousands of digits beside the text": Case(
        hostile=lines(b'{"text": "one", "n": ' + b"9" * 5000 + b"}"), good=((0, "one"),)
    ),
    "nesting of thousands beside the text": Case(
        hostile=lines(b'{"text": "one", "n": ' + b"[" * 3000 + b"]" * 3000 + b"}"), good=((0, "one"),)
    ),
    "loop of links": Case(hostile=loop, bad=UNREADABLE),
    "link to nothing": Case(hostile=lambda path: path.symlink_to("nowhere"), bad=UNREADABLE),
    "text that is not UTF-8": Case(hostile=b"caf\xe9", suffix=".txt", bad=((0, "not UTF-8"),)),
    "text with BOM and CRLF": Case(hostile=b"\xef\xbb\xbfone\r\ntwo", suffix=".txt", good=((0, "one\r\ntwo"),)),
    "empty text file": Case(hostile=b"", suffix=".txt", good=((0, ""),)),
    "null in parquet": Case(
        hostile=parquet(table(["one", None, "two"])),
        suffix=".parquet",
        bad=((1, "null"),),
        good=((0, "one"), (2, "two")),
    ),
    "invalid UTF-8 in parquet": Case(
        hostile=parquet(table(strings(b"one", b"\xff\xff", b"two"))),
        suffix=".parquet",
        bad=((1, "not UTF-8"),),
        good=((0, "one"), (2, "two")),
    ),
    "numbers in parquet": Case(hostile=parquet(table([1, 2])), suffix=".parquet", bad=UNREADABLE),
    "bytes in parquet": Case(hostile=parquet(table([b"a"])), suffix=".parquet", bad=UNREADABLE),
    "nested text in parquet": Case(hostile=parquet(table([{"text": "a"}])), suffix=".parquet", bad=UNREADABLE),
    "column missing in one file": Case(hostile=parquet(table(GOOD, "body")), suffix=".parquet", bad=UNREADABLE),
    "parquet without rows": Case(hostile=parquet(table(pa.array([], pa.string()))), suffix=".parquet"),
    "parquet cut short": Case(hostile=parquet(table(GOOD))[:-40], suffix=".parquet", bad=UNREADABLE),
    "parquet of no bytes": Case(hostile=b"", suffix=".parquet", bad=UNREADABLE),
    "not parquet": Case(hostile=PACKED, suffix=".parquet", bad=UNREADABLE),
    "parquet, plain, with a flipped bit in a page": Case(
        hostile=with_bit_flipped_in_page(compression="none"), suffix=".parquet", bad=UNREADABLE
    ),
    "parquet, zstd, with a flipped bit in a page": Case(
        hostile=with_bit_flipped_in_page(compression="zstd"), suffix=".parquet", bad=UNREADABLE
    ),
    "parquet, snappy, with a flipped bit in a page": Case(
        hostile=with_bit_flipped_in_page(compression="snappy"), suffix=".parquet", bad=UNREADABLE
    ),
    "two columns of one name in parquet": Case(
        hostile=parquet(pa.table([GOOD, GOOD], names=["text", "text"])), suffix=".parquet", bad=UNREADABLE
    ),
    "one row group of three is damaged": Case(
        hostile=(lambda data: flipped(data, b"second group 1"))(
            parquet(
                table([f"{name} group {n}" for name in ("first", "second", "third") for n in range(4)]),
                compression="none",
                write_page_checksum=True,
                write_statistics=False,
            )
        ),
        suffix=".parquet",
        bad=((4, "unreadable (row group 1 cannot be read"),),
        good=tuple(
            (row, f"{name} group {n}")
            for first, name in ((0, "first"), (8, "third"))
            for row, n in zip(range(first, first + 4), range(4), strict=True)
        ),
    ),
}

VANISHED, CHANGED_TEXT = "cannot be found any more (No such file", "has changed since it was found"
# What is no fault inside a file is never counted as one; what is said instead.
CHANGED = {
    "file that vanishes": (Case(hostile=PACKED, later=Path.unlink), VANISHED),
    "file that grows": (Case(hostile=PACKED, later=rewrite), CHANGED_TEXT),
    "compressed file that changes": (
        Case(hostile=gzip.compress(PACKED), suffix=".jsonl.gz", later=rewrite),
        CHANGED_TEXT,
    ),
    "file that becomes a folder": (Case(hostile=PACKED, later=into_folder), CHANGED_TEXT),
    "parquet that vanishes": (Case(hostile=parquet(table(GOOD)), suffix=".parquet", later=Path.unlink), VANISHED),
    "parquet that changes": (Case(hostile=parquet(table(GOOD)), suffix=".parquet", later=os.utime), CHANGED_TEXT),
}


def write_case(folder: Path, case: Case) -> Path:
    """The good files and, between them, the hostile one; its path."""
    folder.mkdir()
    around = {".txt": lambda text: text.encode(), ".parquet": lambda text: parquet(table([text]))}
    write = around.get(case.suffix, lambda text: texts(text))
    for name, text in (("a", GOOD[0]), ("z", GOOD[1])):
        plain = case.suffix if case.suffix in around else ".jsonl"
        (folder / f"{name}{plain}").write_bytes(write(text))
    path = folder / f"h{case.suffix}"
    if isinstance(case.hostile, bytes):
        path.write_bytes(case.hostile)
    else:
        case.hostile(path)
    return path
