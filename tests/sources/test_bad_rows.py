"""Rows and files that hold no usable text, or only look as if they did: each kind stopped at, and each skipped."""

import bz2
import errno
import gzip
import json
import lzma
import os
import re
import resource
import shutil
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from bad_rows import CASES, CHANGED, GOOD, PACKED, Case, parquet, strings, table, texts, write_case
from corpora import bosrow, contents, prepared, write_corpus

from bosrow.dataset.documents import read_documents
from bosrow.dataset.provenance import Provenance
from bosrow.errors import BadRowError, MachineError, SourceError
from bosrow.prepare import run as run_module
from bosrow.prepare.prepare_options import PrepareOptions
from bosrow.sources import reading
from bosrow.sources.find import find_source
from bosrow.sources.source import Source
from bosrow.sources.unit import BadRow, Document, Position, Unit, damage
from bosrow.tokenizers.gpt2 import END_OF_TEXT, load_tokenizer

TOKENIZER = load_tokenizer()


def do_later(monkeypatch: pytest.MonkeyPatch, case: Case, path: Path) -> None:
    """What happens to a file while a preparation runs happens when its workers start."""
    later = case.later
    assert later is not None
    open_pool = run_module.open_pool

    def spoil_first(*arguments: Any) -> Any:
        later(path)
        return open_pool(*arguments)

    monkeypatch.setattr(run_module, "open_pool", spoil_first)


def options_of(folder: Path, **more: Any) -> dict[str, Any]:
    """Rows of nine tokens, but for what would make hundreds of thousands of them."""
    large = sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) > 1_600_000
    seq_len = 1024 if large else 8
    return {"data_files": (str(folder / "*"),), "policy": "keep", "val_fraction": 0.0, "seq_len": seq_len} | more


@pytest.mark.parametrize("name", CASES)
def test_what_is_bad_is_counted_and_named_and_everything_else_is_read(name, tmp_path):
    case = CASES[name]
    path = write_case(tmp_path / "corpus", case)
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

    around = "{}" + (case.suffix if case.suffix in (".txt", ".parquet") else ".jsonl")
    expected = [
        (around.format("a"), 0, GOOD[0]),
        *((path.name, *row) for row in case.good),
        (around.format("z"), 0, GOOD[1]),
    ]
    found = [(info.source_file, info.source_row, tokens.tolist()) for info, tokens in read_documents(Provenance(out))]
    assert found == [(file, row, [END_OF_TEXT, *TOKENIZER.encode(text).tolist()]) for file, row, text in expected]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.bad and not callable(case.hostile)])
def test_a_bad_row_stops_the_run_by_default_and_the_same_command_with_skip_goes_on(name, tmp_path):
    case = CASES[name]
    path = write_case(tmp_path / "corpus", case)
    with pytest.raises(BadRowError) as caught:
        prepared(tmp_path / "out", **options_of(path.parent))
    row, reason = case.bad[0]
    assert str(caught.value).startswith(f"{path.name}, row {row}: {reason}")
    assert "--on_bad_row skip" in str(caught.value)
    assert not (tmp_path / "out" / "meta.json").exists()
    gone_on = prepared(tmp_path / "out", on_bad_row="skip", **options_of(path.parent))
    assert gone_on == prepared(tmp_path / "anew", on_bad_row="skip", **options_of(path.parent))


@pytest.mark.parametrize("name", CHANGED)
def test_a_file_that_changes_or_vanishes_meanwhile_stops_the_run_and_is_no_bad_row(name, tmp_path, monkeypatch):
    case, told = CHANGED[name]
    path = write_case(tmp_path / "corpus", case)
    do_later(monkeypatch, case, path)
    with pytest.raises((SourceError, MachineError), match=re.escape(f"{path.name} {told}")) as caught:
        prepared(tmp_path / "out", on_bad_row="skip", **options_of(path.parent))
    assert not isinstance(caught.value, BadRowError)
    assert not (tmp_path / "out" / "bad_rows.jsonl").exists()


def test_every_kind_at_once_through_two_workers_gives_the_bytes_of_one_process(tmp_path):
    for suffix in (".jsonl", ".parquet", ".txt"):
        corpus = tmp_path / suffix[1:]
        corpus.mkdir()
        for number, case in enumerate(CASES.values()):
            if case.suffix.startswith(suffix) and isinstance(case.hostile, bytes):
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
    assert {info.source_file for info, _ in read_documents(Provenance(tmp_path / "out"))} == {"caf\ufffd.jsonl"}
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
    from bosrow.sources.reading import documents_of, units_of
    from bosrow.sources.source import SourceFile

    data = parquet(table(GOOD), write_page_checksum=True, compression=compression)
    path = tmp_path / "flipped.parquet"
    path.write_bytes(data)
    source = find_source(PrepareOptions(data_files=(str(path),), out_dir=tmp_path / "out"))
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    found_bad = 0
    for bit in range(0, 8 * footer, step):
        path.write_bytes(data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :])
        now = msgspec.structs.replace(source, files=(SourceFile.local(str(path), path.name),))
        documents = [document for unit in units_of(now, Position()) for document in documents_of(now, unit)]
        read = [bytes(document.text).decode() for document in documents if isinstance(document, Document)]
        found_bad += len(read) < len(GOOD)
        assert read == GOOD[: len(read)]
        assert len(read) == len(GOOD) or any(isinstance(document, BadRow) for document in documents)
    assert found_bad


@pytest.mark.soak
def test_a_hundred_megabytes_without_a_space_are_one_document(tmp_path):
    text = "ab1é" * 20_000_000
    (tmp_path / "a.jsonl").write_bytes(texts(text))
    prepared(tmp_path / "out", **options_of(tmp_path, data_files=(str(tmp_path / "a.jsonl"),), seq_len=1024))
    ((_, tokens),) = read_documents(Provenance(tmp_path / "out"))
    assert TOKENIZER.decode(tokens[1:]) == text
    shutil.rmtree(tmp_path / "out")


@pytest.mark.parametrize(
    "ids",
    [strings(b"first", b"\xff", b"third"), pa.array([1, 2**62, 3], pa.timestamp("us"))],
    ids=["not UTF-8", "a time beyond the calendar"],
)
def test_an_id_that_cannot_be_read_is_a_bad_row(tmp_path, ids):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.parquet").write_bytes(parquet(pa.table({"text": ["one", "two", "three"], "id": ids})))
    settings = options_of(tmp_path / "corpus", id_field="id", on_bad_row="skip") | {"seq_len": 2}
    prepared(tmp_path / "out", **settings)
    (line,) = (tmp_path / "out" / "bad_rows.jsonl").read_text().splitlines()
    assert json.loads(line)["row"] == 1
    assert json.loads(line)["reason"].startswith("unreadable id (")


MACHINE_FAULTS = [
    *(OSError(number, os.strerror(number)) for number in (errno.EIO, errno.EMFILE, errno.ENOSPC, errno.EDQUOT)),
    *(OSError(number, os.strerror(number)) for number in (errno.EROFS, errno.EACCES, errno.ENOENT, errno.ESTALE)),
    MemoryError(),
    pa.ArrowMemoryError("malloc of size 117000000 failed"),
    pa.lib.ArrowCapacityError("array cannot contain more than 2147483646 bytes"),
    RuntimeError("a defect of a library"),
]


@pytest.mark.parametrize("fault", MACHINE_FAULTS, ids=repr)
def test_what_proves_nothing_against_a_file_is_never_told_as_its_damage(fault):
    with pytest.raises(MachineError, match=r"^a file cannot be read .* nothing was left out"):
        damage("a file cannot be read", fault)
    hidden = ValueError("the file cannot be parsed")
    hidden.__cause__ = fault
    if isinstance(fault, OSError | MemoryError):
        with pytest.raises(MachineError):
            damage("a file cannot be read", hidden, ValueError)


PROOFS = [
    lambda: gzip.decompress(PACKED),
    lambda: gzip.decompress(gzip.compress(PACKED)[:-9]),
    lambda: bz2.decompress(PACKED),
    lambda: lzma.decompress(PACKED),
    lambda: zlib.decompress(PACKED),
    lambda: zstandard.decompress(PACKED),
    lambda: pa.CompressedInputStream(pa.BufferReader(PACKED), "gzip").read(),
    lambda: pa.CompressedInputStream(pa.BufferReader(PACKED), "zstd").read(),
    lambda: pa.ipc.open_file(pa.BufferReader(PACKED)),
    lambda: pq.ParquetFile(pa.BufferReader(PACKED)),
    lambda: b"\xff".decode(),
]


@pytest.mark.parametrize("number", range(len(PROOFS)))
def test_what_libraries_say_of_damaged_bytes_is_told_as_damage(number):
    with pytest.raises(Exception) as caught:  # noqa: PT011 (of every library another one)
        PROOFS[number]()
    assert str(damage("it cannot be read", caught.value)).startswith("it cannot be read (")


KINDS = ("parquet", "jsonl", "jsonl.gz", "lines", "csv", "tsv", "arrow", "webdataset", "text")


def units_with_skip(folder: Path, kind: str) -> tuple[Source, Iterator[Unit]]:
    """The units of a corpus of several files."""
    flags = write_corpus(folder, kind, ["some words"] * 40)
    more = {"dataset": "text"} if kind == "lines" else {"text_field": "txt"} if kind == "webdataset" else {}
    options = PrepareOptions(data_files=(flags[-1],) if kind == "lines" else (flags[1],), out_dir=folder, **more)
    return (source := find_source(options)), reading.units_of(source, Position())


def read_all(source: Source, found: Iterator[Unit]) -> list[Document | BadRow]:
    return [document for unit in found for document in reading.documents_of(source, unit)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_is_gone_is_no_bad_file(tmp_path, kind):
    """A file system that is taken away in the middle leaves names of nothing."""
    source, found = units_with_skip(tmp_path / "corpus", kind)
    (tmp_path / "corpus").rename(tmp_path / "gone")
    with pytest.raises(MachineError, match="No such file or directory"):
        read_all(source, found)


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_open_files_is_no_bad_file(tmp_path, kind):
    source, found = units_with_skip(tmp_path / "corpus", kind)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(os.devnull, os.O_RDONLY)]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 1, hard))
        with pytest.raises((MachineError, OSError), match="Too many open files") as caught:
            read_all(source, found)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(taken[0])
    assert not isinstance(caught.value, SourceError)


@pytest.mark.parametrize("suffix", [".jsonl", ".txt", ".csv", ".jsonl.gz"])
def test_a_disk_that_cannot_be_read_is_no_bad_file(tmp_path, suffix):
    """/proc/self/mem opens, and every read of it is an input/output error."""
    good = b"text\nwords\n" if suffix == ".csv" else gzip.compress(PACKED) if suffix == ".jsonl.gz" else PACKED
    (tmp_path / f"a{suffix}").write_bytes(good)
    (tmp_path / f"b{suffix}").symlink_to("/proc/self/mem")
    with pytest.raises(MachineError, match="Input/output error"):
        prepared(tmp_path / "out", data_files=(str(tmp_path / f"*{suffix}"),), seq_len=1, on_bad_row="skip")
    assert not (tmp_path / "out" / "bad_rows.jsonl").exists()


@pytest.mark.parametrize("kind", ["arrow", "webdataset"])
def test_a_cache_that_cannot_be_written_is_named_and_no_bad_file(tmp_path, kind):
    flags = write_corpus(tmp_path / "corpus", kind, ["some words"] * 40)
    command = ["prepare", *flags, "--out_dir", tmp_path / "out", "--on_bad_row", "skip", "--workers", "1"]
    done = bosrow(*command, env={**os.environ, "HF_HOME": "/proc/cache"})
    assert done.returncode == 1, done.stderr
    assert "/proc/cache" in done.stderr
    assert "HF_HOME sets another place" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_cache_that_fails_in_the_middle_stops_the_run_which_goes_on_when_it_is_mended(tmp_path):
    from datasets import config

    flags = write_corpus(tmp_path / "corpus", "arrow", ["some words"] * 40)
    settings = {"data_files": (flags[1],), "policy": "keep", "seq_len": 8, "on_bad_row": "skip"}
    expected = prepared(tmp_path / "expected", **settings)
    cache = tmp_path / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "HF_DATASETS_CACHE", str(cache / "datasets"))
        source = find_source(PrepareOptions(data_files=(flags[1],), out_dir=tmp_path / "out"))
        found = reading.units_of(source, Position())
        assert all(isinstance(document, Document) for document in next(found).payload)
        shutil.rmtree(cache)
        cache.write_text("no folder any more")
        with pytest.raises(MachineError, match=re.escape(str(cache))):
            list(found)
        with pytest.raises(MachineError):
            prepared(tmp_path / "out", **settings)
    assert prepared(tmp_path / "out", **settings) == expected
