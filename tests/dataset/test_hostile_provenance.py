"""Provenance and meta.json from elsewhere, with right checksums, through the command line: one clear error each."""

import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from corpora import bosrow, documents, prepared, write_corpus
from edited import change_meta, change_provenance, put

from bosrow.cli import main

PIECES, DOCUMENTS, TAIL = "train_000000.parquet", "documents_000000.parquet", "train_tail.parquet"


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    write_corpus(folder, "parquet", documents(120, seed=8))
    prepared(folder / "store", data_files=(str(folder / "*.parquet"),), policy="keep", val_fraction=0.0, id_field="id")
    return folder / "store"


def cast(column: str, kind: pa.DataType):
    return lambda t: t.set_column(t.column_names.index(column), column, t[column].cast(kind))


def all_called(column: str, value: str, indices: pa.DataType):
    words = pa.array([value])
    return lambda t: t.set_column(
        t.column_names.index(column),
        column,
        pa.DictionaryArray.from_arrays(pa.array([0] * len(t), indices), words),
    )


CHANGES = {
    "a row beyond the shard": (PIECES, lambda t: put(t, "row", 5, 10_000)),
    "a column beyond the row": (PIECES, lambda t: put(t, "column", 5, 65_535)),
    "a length beyond the row": (PIECES, lambda t: put(t, "length", 5, 65_535)),
    "an empty piece": (PIECES, lambda t: put(t, "length", 5, 0)),
    "a document that is not there": (PIECES, lambda t: put(t, "document", 5, 1 << 63)),
    "an offset beyond the document": (PIECES, lambda t: put(t, "offset", 5, 1 << 31)),
    "a gap in a document": (PIECES, lambda t: put(t, "offset", 5, t["offset"][5].as_py() + 3)),
    "a row without a number": (PIECES, lambda t: put(t, "row", 5, None)),
    "a document without a number": (PIECES, lambda t: put(t, "document", 5, None)),
    "rows as text": (PIECES, cast("row", pa.string())),
    "signed documents": (PIECES, cast("document", pa.int64())),
    "fractions of a length": (PIECES, cast("length", pa.float64())),
    "no pieces": (PIECES, lambda t: t.slice(0, 0)),
    "pieces in another order": (PIECES, lambda t: t.take(list(range(len(t)))[::-1])),
    "every piece twice": (PIECES, lambda t: pa.concat_tables([t, t])),
    "no column of offsets": (PIECES, lambda t: t.drop_columns(["offset"])),
    "a document with fewer tokens": (DOCUMENTS, lambda t: put(t, "tokens", 3, 1)),
    "a first document of no tokens": (DOCUMENTS, lambda t: put(t, "tokens", 0, 0)),
    "a document with 4 billion tokens": (DOCUMENTS, lambda t: put(t, "tokens", 3, (1 << 32) - 1)),
    "a document without tokens": (DOCUMENTS, lambda t: put(t, "tokens", 3, None)),
    "a document of another number": (DOCUMENTS, lambda t: put(t, "document", 3, 99)),
    "fewer documents": (DOCUMENTS, lambda t: t.slice(20)),
    "a file that no one read": (DOCUMENTS, all_called("source_file", "../../etc/passwd", pa.int32())),
    "a file without a name": (DOCUMENTS, lambda t: put(t, "source_file", 3, None)),
    "a split that is none": (DOCUMENTS, all_called("split", "test", pa.int8())),
    "source files as plain text": (DOCUMENTS, cast("source_file", pa.string())),
    "ids that are numbers": (DOCUMENTS, lambda t: t.set_column(5, "id", pa.array(range(len(t))))),
    "a tail of other tokens": (TAIL, lambda t: put(t, "tokens", 0, [1])),
    "a tail without tokens": (TAIL, lambda t: put(t, "tokens", 0, None)),
    "a tail with a token that is none": (TAIL, lambda t: put(t, "tokens", 0, [None] * t["length"][0].as_py())),
    "a tail of a document that is not there": (TAIL, lambda t: put(t, "document", 0, 1 << 60)),
    "a tail with a hole": (TAIL, lambda t: put(t, "offset", 0, (1 << 32) - 1)),
}


def verbs(folder: Path) -> dict[str, list[str]]:
    out = folder.parent / "again"
    return {
        "verify": ["verify", str(folder)],
        "from": ["prepare", "--from", str(folder), "--out_dir", str(out), "--seq_len", "16", "--workers", "0"],
        "inspect": ["inspect", str(folder), "--rows", "5"],
        "row": ["trace", str(folder), "--row", "1"],
        "document": ["trace", str(folder), "--document", "3", "--max_train_steps", "2"],
    }


@pytest.mark.parametrize("change", CHANGES)
def test_hostile_provenance_is_refused_by_all_that_need_it_in_one_line(store, tmp_path, capsys, change):
    shutil.copytree(store, tmp_path / "set")
    change_provenance(tmp_path / "set", *CHANGES[change])
    before = {path: path.read_bytes() for path in (tmp_path / "set").rglob("*") if path.is_file()}
    said = {}
    for name, command in verbs(tmp_path / "set").items():
        status = main(command)
        said[name] = (status, capsys.readouterr().err)
    assert said["verify"][0] == 1, said
    assert said["from"][0] == 2, said
    assert all(status in (0, 2) and "Traceback" not in told for status, told in list(said.values())[1:]), said
    assert all(told.count("\n") == 1 for status, told in said.values() if status == 2), said
    assert not (tmp_path / "again" / "meta.json").exists()
    assert before == {path: path.read_bytes() for path in (tmp_path / "set").rglob("*") if path.is_file()}


@pytest.mark.parametrize("link", ["outside", "pipe", "loop"])
def test_a_provenance_file_that_is_no_file_is_refused(store, tmp_path, capsys, link):
    shutil.copytree(store, tmp_path / "set")
    path = tmp_path / "set" / "provenance" / PIECES
    path.rename(tmp_path / "outside")
    if link == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "outside" if link == "outside" else path)
    for name, command in verbs(tmp_path / "set").items():
        assert main(command) == (1 if name == "verify" else 2)
        told = capsys.readouterr()
        assert PIECES in told.err + told.out
        assert told.err.count("\n") <= 1


META_CHANGES = {
    "no identity": lambda meta: meta["bosrow"].pop("identity"),
    "an identity that is none": lambda meta: meta["bosrow"].update(identity=[1]),
    "no source": lambda meta: meta["bosrow"].pop("source"),
    "a source without files": lambda meta: meta["bosrow"]["source"].pop("files"),
    "files that are numbers": lambda meta: meta["bosrow"]["source"].update(files=[1, 2]),
    "a file of half a character": lambda meta: meta["bosrow"]["source"]["files"].append("\ud800"),
    "no documents": lambda meta: meta["bosrow"]["provenance"].pop(0),
    "a ledger beyond all numbers": lambda meta: meta["bosrow"]["ledger"]["train"].update(tokens_placed=10**400),
    "other files": lambda meta: meta["bosrow"]["source"].update(files=["../../x"]),
    "no ledger of val": lambda meta: meta["bosrow"]["ledger"].pop("val"),
    "a ledger with text": lambda meta: meta["bosrow"]["ledger"]["train"].update(tokens_read="9"),
    "a negative ledger": lambda meta: meta["bosrow"]["ledger"]["train"].update(tokens_placed=-1),
    "a ledger of more": lambda meta: meta["bosrow"]["ledger"]["train"].update(unheard=1),
    "a policy that is none": lambda meta: meta["bosrow"].update(policy="best"),
    "provenance that is missing": lambda meta: meta["bosrow"]["provenance"].pop(),
    "provenance of another name": lambda meta: meta["bosrow"]["provenance"][0].update(
        name="../documents_000000.parquet"
    ),
    "no such tokenizer": lambda meta: meta["bosrow"]["tokenizer"].update(vocabulary_sha256="1" * 64),
    "a tokenizer without a checksum": lambda meta: meta["bosrow"]["tokenizer"].update(vocabulary_sha256=None),
}


@pytest.mark.parametrize("change", META_CHANGES)
def test_a_hostile_meta_json_is_refused_by_those_whom_it_concerns(store, tmp_path, capsys, change):
    shutil.copytree(store, tmp_path / "set")
    change_meta(tmp_path / "set", META_CHANGES[change])
    said = {}
    corpus = str(store.parent / "*.parquet")
    commands = verbs(tmp_path / "set") | {
        "again": ["prepare", "--data_files", corpus, "--out_dir", str(tmp_path / "set"), "--workers", "0"]
    }
    for name, command in commands.items():
        status = main(command)
        said[name] = (status, capsys.readouterr().err)
    assert {said["verify"][0], said["from"][0], said["again"][0]} != {0}, said
    assert all(status in (0, 1, 2) and "Traceback" not in told for status, told in said.values()), said
    del said["again"]  # it may list old and new, a line each
    assert all(told.count("\n") == 1 for status, told in said.values() if status == 2), said


@pytest.mark.parametrize("value", [json.loads("[" * 900 + "]" * 900), "x" * 100_000, "\ud800", 10**4000])
def test_what_meta_json_says_is_not_printed_whole_where_it_is_wrong(store, tmp_path, capsys, value):
    shutil.copytree(store, tmp_path / "set")
    change_meta(tmp_path / "set", lambda meta: meta.update(rows_written_total=value))
    assert main(["verify", str(tmp_path / "set")]) == 1
    assert "rows_written_total" in (told := capsys.readouterr().out)
    assert max(map(len, told.splitlines())) < 400


def test_what_is_refused_leaves_nothing_behind(store, tmp_path):
    """The same by a process: status, one line, and no file of the data set that was to be."""
    shutil.copytree(store, tmp_path / "set")
    change_provenance(tmp_path / "set", *CHANGES["a row beyond the shard"])
    done = bosrow(*verbs(tmp_path / "set")["from"])
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert not [path for path in (tmp_path / "again").glob("*") if path.name in ("meta.json",)]
