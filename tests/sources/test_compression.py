"""Compressed files: what is read of sound, padded, joined and odd ones, and how the others are named."""

import bz2
import gzip
import io
import lzma
from pathlib import Path

import numpy as np
import pytest
import zstandard
from bad_rows import texts

from bosrow.errors import BadRowError
from bosrow.prepare.prepare_options import PrepareOptions
from bosrow.sources.compression import Unpacked
from bosrow.sources.find import find_source
from bosrow.sources.reading import documents_of, units_of
from bosrow.sources.unit import BadRow, Position

TEXT = b"".join(b"line %d\n" % number for number in range(100_000))
PACK = {
    "gzip": gzip.compress,
    "bzip2": lambda data: bz2.compress(data, 1),
    "xz": lzma.compress,
    "zstd": zstandard.compress,
}
ENDINGS = {".gz": "gzip", ".gzip": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd", ".zstd": "zstd"}


def read_texts(path: Path) -> list[str]:
    """The documents of a file as `prepare` finds and reads it."""
    source = find_source(PrepareOptions(out_dir=path.parent / "out", data_files=(str(path),)))
    documents = [document for unit in units_of(source, Position()) for document in documents_of(source, unit)]
    for document in documents:
        if isinstance(document, BadRow):
            raise BadRowError(document.reason)
    return [bytes(document.text).decode() for document in documents]


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("size", [1, 4096, 1 << 20, -1])
def test_joined_streams_with_zero_bytes_between_and_behind_them_are_read_in_stretches_of_any_size(kind, size):
    packed = PACK[kind](TEXT[:5000]) + PACK[kind](b"") + bytes(512) + PACK[kind](TEXT[5000:9000]) + bytes(70_000)
    stream = Unpacked(io.BytesIO(packed), "x", kind)
    found = []
    while part := stream.read(size):
        found.append(part)
    assert b"".join(found) == TEXT[:9000]
    assert all(len(part) == size for part in found[:-1])


@pytest.mark.parametrize("kind", PACK)
def test_a_stream_cut_short_anywhere_gives_a_beginning_of_its_text_and_then_says_so(kind):
    packed = PACK[kind](TEXT)
    for length in (len(packed) * 3 // 4, len(packed) - 9, len(packed) - 1):
        stream = Unpacked(io.BytesIO(packed[:length]), "x", kind)
        whole = Unpacked(io.BytesIO(packed[:length]), "x", kind)
        found = stream.read(len(TEXT))
        assert found
        assert TEXT.startswith(found)
        for fails in (lambda stream=stream: stream.read(1), whole.read):
            with pytest.raises(BadRowError, match="was cut short"):
                fails()


@pytest.mark.parametrize("kind", PACK)
def test_much_from_few_bytes_is_unpacked_in_bounded_stretches(kind):
    packed = PACK[kind](bytes(80 << 20))
    chunks = [len(chunk) for chunk in Unpacked(io.BytesIO(packed), "x", kind)._unpack()]
    assert sum(chunks) == 80 << 20
    assert max(chunks) <= 68 << 20


def test_zstd_with_the_largest_window_is_read(tmp_path):
    settings = zstandard.ZstdCompressionParameters(window_log=31, enable_ldm=True)
    packer = zstandard.ZstdCompressor(compression_params=settings).compressobj()  # without a size, so the window stays
    packed = packer.compress(texts("one", "two")) + packer.flush()
    assert zstandard.get_frame_parameters(packed).window_size == 1 << 31
    (tmp_path / "a.jsonl.zst").write_bytes(packed)
    assert read_texts(tmp_path / "a.jsonl.zst") == ["one", "two"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending_is_read_for_lines_and_for_whole_texts(tmp_path, ending):
    (tmp_path / f"a.jsonl{ending}").write_bytes(PACK[ENDINGS[ending]](texts("one", "two")))
    (tmp_path / f"a.txt{ending}").write_bytes(PACK[ENDINGS[ending]](b"one\ntwo"))
    assert read_texts(tmp_path / f"a.jsonl{ending}") == ["one", "two"]
    assert read_texts(tmp_path / f"a.txt{ending}") == ["one\ntwo"]


def tar(_: bytes) -> bytes:
    return b"a.txt".ljust(257, b"\0") + b"ustar\x0000".ljust(255, b"\0") + bytes(1024)


ZIP, LZ4 = b"PK\x03\x04" + bytes(40), b"\x04\x22\x4d\x18" + bytes(40)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", gzip.compress(b"{}"), "is in gzip format, but its name does not say so; rename it to end in .gz"),
        ("a.jsonl", bz2.compress(b"{}"), "is in bzip2 format, but its name does not say so; rename it to end in .bz2"),
        ("a.txt", lzma.compress(b"{}"), "is in xz format, but its name does not say so; rename it to end in .xz"),
        ("dump", zstandard.compress(b"{}"), "in zstd format, but its name does not say so; rename it to end in .zst"),
        ("a.jsonl.lz4", LZ4, "is in LZ4 format; decompress it, or compress the text once with gzip, bzip2, xz or zstd"),
        ("a.zip", ZIP, "is in zip format; decompress it"),
        ("a.jsonl.gz", gzip.compress(zstandard.compress(b"{}")), "is in zstd format inside its gzip compression"),
        ("a.jsonl.gz", zstandard.compress(b"{}"), "is in zstd format, not gzip"),
        ("a.gz", gzip.compress(tar(b"")), "is in tar format inside its gzip compression; decompress it"),
    ],
)
def test_what_is_packed_in_another_way_than_its_name_says_is_named(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadRowError) as caught:
        read_texts(tmp_path / name)
    assert f"{name} is {message.removeprefix('is ')}" in str(caught.value)


def test_a_text_that_only_speaks_of_compression_is_a_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"BZh9 and PK are the first bytes of archives.")
    assert read_texts(tmp_path / "a.txt") == ["BZh9 and PK are the first bytes of archives."]


@pytest.mark.parametrize("name", ["a.jl", "a.jsonlines", "part-00000", "dump.0001", "part-00000.gz", "a.jl.xz"])
def test_lines_of_json_are_read_as_such_whatever_their_file_is_called(tmp_path, name):
    pack = PACK[ENDINGS[Path(name).suffix]] if Path(name).suffix in ENDINGS else bytes
    (tmp_path / name).write_bytes(pack(texts("one", "two")))
    assert read_texts(tmp_path / name) == ["one", "two"]


@pytest.mark.parametrize("text", ['{"body": "no text field"}\nb', "[1] a note\n", "{\n}", '{"text": 5}', ""])
def test_a_file_without_an_ending_that_holds_no_lines_of_json_is_one_text(tmp_path, text):
    (tmp_path / "LICENSE").write_text(text)
    assert read_texts(tmp_path / "LICENSE") == [text]


def test_the_last_ending_decides(tmp_path):
    (tmp_path / "x.gz.jsonl").write_bytes(texts("one"))
    assert read_texts(tmp_path / "x.gz.jsonl") == ["one"]
    (tmp_path / "x.jsonl.txt").write_bytes(texts("one"))
    assert read_texts(tmp_path / "x.jsonl.txt") == ['{"text": "one"}\n']


@pytest.mark.parametrize("kind", PACK)
def test_of_a_packed_file_cut_short_no_whole_line_is_lost_however_many_units_it_has(tmp_path, kind, monkeypatch):
    monkeypatch.setattr("bosrow.sources.text.UNIT_BYTES", 1 << 20)
    numbers = np.random.default_rng(5).integers(0, 10, (1_600, 900), np.uint8) + ord("0")
    whole = texts(*(row.tobytes().decode() for row in numbers))
    rest = PACK[kind](whole)[:-20_000]
    there = Unpacked(io.BytesIO(rest), "x", kind).read(len(whole)).count(b"\n")
    assert 1_200 < there < 1_600  # beyond the first unit
    ending = next(ending for ending, known in ENDINGS.items() if known == kind)
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(rest)
    source = find_source(PrepareOptions(out_dir=tmp_path / "out", data_files=(str(path),)))
    units = list(units_of(source, Position()))
    *good, bad = [document for unit in units for document in documents_of(source, unit)]
    assert len(units) == 3
    assert [document.row for document in good] == list(range(there))
    assert (bad.row, type(bad)) == (there, BadRow)
    assert list(units_of(source, units[0].next)) == units[1:]
    assert list(units_of(source, units[1].next)) == units[2:]
