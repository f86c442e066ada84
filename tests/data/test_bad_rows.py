"""Rows and files that hold no usable text, or only look as if they did: each kind stopped at, and each skipped.

A case is a few files, the documents that they hold, and what is unusable in them. `a.*` and `z.*` hold good
documents before and after, so that reading is seen to go on in the right place.
"""

import gzip
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from corpora import bosrow, contents, prepared

from bosrow.data import prepare as prepare_module
from bosrow.data.lookup import Provenance
from bosrow.data.tokenizer import END_OF_TEXT, load_tokenizer
from bosrow.errors import BadRowError

GOOD = [f"Document {number} says that water is wet." for number in range(4)]
TOKENIZER = load_tokenizer()
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
UNREADABLE = ((0, "unreadable ("),)
FOUR = tuple(enumerate(GOOD))

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
    "gzip cut short": Case(hostile=gzip.compress(MANY)[:-3000], suffix=".jsonl.gz", bad=UNREADABLE),
    "gzip with a flipped bit": Case(
        hostile=flipped(gzip.compress(MANY, mtime=0), b"\x1f\x8b", 60_000), suffix=".jsonl.gz", bad=UNREADABLE
    ),
    "not gzip": Case(hostile=PACKED, suffix=".jsonl.gz", bad=UNREADABLE),
    "zstd cut short": Case(hostile=zstandard.compress(MANY)[:-3000], suffix=".jsonl.zst", bad=UNREADABLE),
    "zstd with a flipped bit": Case(
        hostile=flipped(zstandard.ZstdCompressor(write_checksum=True).compress(MANY), b"\x28\xb5", 60_000),
        suffix=".jsonl.zst",
        bad=UNREADABLE,
    ),
    "not zstd": Case(hostile=PACKED, suffix=".jsonl.zst", bad=UNREADABLE),
    "file that vanishes": Case(hostile=PACKED, later=Path.unlink, bad=UNREADABLE),
    "file that grows": Case(hostile=PACKED, later=rewrite, bad=UNREADABLE),
    "compressed file that changes": Case(
        hostile=gzip.compress(PACKED), suffix=".jsonl.gz", later=rewrite, bad=UNREADABLE
    ),
    "file that becomes a folder": Case(hostile=PACKED, later=into_folder, bad=UNREADABLE),
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
    "parquet that vanishes": Case(hostile=parquet(table(GOOD)), suffix=".parquet", later=Path.unlink, bad=UNREADABLE),
    "parquet that changes": Case(hostile=parquet(table(GOOD)), suffix=".parquet", later=os.utime, bad=UNREADABLE),
    "parquet, plain, with a flipped bit in a page": Case(
        hostile=with_bit_flipped_in_page(compression="none"), suffix=".parquet", bad=UNREADABLE
    ),
    "parquet, zstd, with a flipped bit in a page": Case(
        hostile=with_bit_flipped_in_page(compression="zstd"), suffix=".parquet", bad=UNREADABLE
    ),
    "parquet, snappy, with a flipped bit in a page": Case(
        hostile=with_bit_flipped_in_page(compression="snappy"), suffix=".parquet", bad=UNREADABLE
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


def do_later(monkeypatch: pytest.MonkeyPatch, case: Case, path: Path) -> None:
    """What happens to a file while a preparation runs happens when its workers start."""
    if case.later is None:
        return
    open_pool = prepare_module.open_pool

    def spoil_first(*arguments: Any) -> Any:
        case.later(path)
        return open_pool(*arguments)

    monkeypatch.setattr(prepare_module, "open_pool", spoil_first)


def options_of(folder: Path, **more: Any) -> dict[str, Any]:
    """Rows of nine tokens, but for what would make hundreds of thousands of them."""
    large = sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) > 1_600_000
    seq_len = 1024 if large else 8
    return {"data_files": (str(folder / "*"),), "policy": "keep", "val_fraction": 0.0, "seq_len": seq_len} | more


@pytest.mark.parametrize("name", CASES)
def test_what_is_bad_is_counted_and_named_and_everything_else_is_read(name, tmp_path, monkeypatch):
    case = CASES[name]
    path = write_case(tmp_path / "corpus", case)
    do_later(monkeypatch, case, path)
    out = tmp_path / "out"
    prepared(out, on_bad_row="skip", **options_of(path.parent))

    bad_rows = out / "bad_rows.jsonl"
    told = [json.loads(line) for line in bad_rows.read_bytes().splitlines()] if bad_rows.exists() else []
    assert [(line["file"], line["row"]) for line in told] == [(path.name, row) for row, _ in case.bad]
    for line, (_, reason) in zip(told, case.bad, strict=True):
        assert line["reason"].startswith(reason)

    kinds = Counter(reason.partition(" (")[0] for _, reason in case.bad)
    ledger = json.loads((out / "meta.json").read_bytes())["bosrow"]["ledger"]["train"]
    assert ledger["documents_dropped"] == kinds
    assert ledger["documents_read"] == 2 + len(case.good) + len(case.bad)

    around = path.name.replace("h", "{}", 1).removesuffix(".gz").removesuffix(".zst")
    expected = [
        (around.format("a"), 0, GOOD[0]),
        *((path.name, *row) for row in case.good),
        (around.format("z"), 0, GOOD[1]),
    ]
    found = [(info.source_file, info.source_row, tokens.tolist()) for info, tokens in Provenance(out).rebuild()]
    assert found == [(file, row, [END_OF_TEXT, *TOKENIZER.encode(text).tolist()]) for file, row, text in expected]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.bad and not callable(case.hostile)])
def test_a_bad_row_stops_the_run_by_default_and_the_same_command_with_skip_goes_on(name, tmp_path, monkeypatch):
    case = CASES[name]
    path = write_case(tmp_path / "corpus", case)
    with monkeypatch.context() as patch:
        do_later(patch, case, path)
        with pytest.raises(BadRowError) as caught:
            prepared(tmp_path / "out", **options_of(path.parent))
    row, reason = case.bad[0]
    assert str(caught.value).startswith(f"{path.name}, row {row}: {reason}")
    assert "--on_bad_row skip" in str(caught.value)
    assert not (tmp_path / "out" / "meta.json").exists()
    if case.later is None:
        gone_on = prepared(tmp_path / "out", on_bad_row="skip", **options_of(path.parent))
        assert gone_on == prepared(tmp_path / "anew", on_bad_row="skip", **options_of(path.parent))


def test_every_kind_at_once_through_two_workers_gives_the_bytes_of_one_process(tmp_path):
    for suffix in (".jsonl", ".parquet", ".txt"):
        corpus = tmp_path / suffix[1:]
        corpus.mkdir()
        for number, case in enumerate(CASES.values()):
            if case.suffix.startswith(suffix) and isinstance(case.hostile, bytes) and case.later is None:
                (corpus / f"{number:03}{case.suffix}").write_bytes(case.hostile)
        (corpus / f"999{suffix}").write_bytes(
            {".txt": b"the end", ".parquet": parquet(table(GOOD))}.get(suffix, PACKED)
        )
        flags = ["--data_files", corpus / "*", "--policy", "keep", "--val_fraction", "0"]
        flags += [
            "--seq_len",
            str(options_of(corpus)["seq_len"]),
            "--shard_rows",
            "50",
            "--buffer_docs",
            "20",
            "--workers",
            "2",
            "--out_dir",
            tmp_path / f"two{suffix}",
        ]
        stopped = bosrow("prepare", *flags)
        assert stopped.returncode == 2, stopped.stderr
        assert "Traceback" not in stopped.stderr
        done = bosrow("prepare", *flags, "--on_bad_row", "skip")
        assert done.returncode == 0, done.stderr
        assert contents(tmp_path / f"two{suffix}") == prepared(
            tmp_path / f"one{suffix}", on_bad_row="skip", **options_of(corpus)
        )


def test_files_that_cannot_be_opened_at_the_start_are_named_with_the_way_out(tmp_path):
    (tmp_path / "h.jsonl").symlink_to("h.jsonl")
    done = bosrow("prepare", "--data_files", tmp_path / "*.jsonl", "--out_dir", tmp_path / "out")
    assert done.returncode == 2
    assert "h.jsonl cannot be read (a broken link, or no permission)" in done.stderr
    assert "--on_bad_row skip" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_name_that_is_not_utf8_is_read_and_told_with_replacement_characters(tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / os.fsdecode(b"caf\xe9.jsonl")).write_bytes(texts(*GOOD, None))
    prepared(tmp_path / "out", on_bad_row="skip", **options_of(corpus))
    assert {info.source_file for info, _ in Provenance(tmp_path / "out").rebuild()} == {"caf\ufffd.jsonl"}
    assert json.loads((tmp_path / "out" / "bad_rows.jsonl").read_bytes())["file"] == "caf\ufffd.jsonl"


@pytest.mark.parametrize("compression", ["none", "zstd", "snappy"])
def test_no_flipped_bit_in_a_checksummed_parquet_file_ever_changes_a_text_or_ends_a_run(tmp_path, compression):
    flip_everywhere(tmp_path, compression, step=97)


@pytest.mark.soak
@pytest.mark.parametrize("compression", ["none", "zstd", "snappy"])
def test_each_single_bit_of_a_checksummed_parquet_file_flipped(tmp_path, compression):
    flip_everywhere(tmp_path, compression, step=1)


def flip_everywhere(tmp_path: Path, compression: str, step: int) -> None:
    """Flip every `step`-th bit before the footer, which no checksum covers, and read the file."""
    from bosrow.data.options import PrepareOptions
    from bosrow.data.source import SourceFile, find_source
    from bosrow.data.units import Position, documents_of, units_of

    data = parquet(table(GOOD), write_page_checksum=True, compression=compression)
    path = tmp_path / "flipped.parquet"
    path.write_bytes(data)
    source = find_source(PrepareOptions(data_files=(str(path),), out_dir=tmp_path / "out"))
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    found_bad = 0
    for bit in range(0, 8 * footer, step):
        path.write_bytes(data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :])
        now = type(source)(**vars(source) | {"files": (SourceFile.local(str(path), path.name),)})
        documents = [document for unit in units_of(now, Position()) for document in documents_of(now, unit)]
        read = [bytes(document.text).decode() for document in documents if document.bad is None]
        found_bad += len(read) < len(GOOD)
        assert read == GOOD[: len(read)]
        assert len(read) == len(GOOD) or any(document.bad for document in documents)
    assert found_bad


@pytest.mark.soak
def test_a_hundred_megabytes_without_a_space_are_one_document(tmp_path):
    text = "ab1é" * 20_000_000
    (tmp_path / "a.jsonl").write_bytes(texts(text))
    prepared(tmp_path / "out", **options_of(tmp_path, data_files=(str(tmp_path / "a.jsonl"),), seq_len=1024))
    ((_, tokens),) = Provenance(tmp_path / "out").rebuild()
    assert TOKENIZER.decode(tokens[1:]) == text
    shutil.rmtree(tmp_path / "out")
