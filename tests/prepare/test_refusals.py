"""What `bosrow` refuses, through the real command line: one message, exit 2, and nothing that looks like a data set."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import bosrow, contents, documents, prepared, write_corpus
from synthetic import write_data_set

from bosrow import open_rows
from bosrow.cli import main
from bosrow.dataset.manifest import read_manifest


@pytest.fixture
def jsonl(tmp_path) -> Path:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text, "title": "t"}) + "\n" for text in documents(80)))
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The message of a command, which must be the only output and leave exit status 2."""
    status = main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    assert status == 2, output.err
    assert output.err.startswith(f"bosrow {arguments[0]}: ")
    assert output.err.count("bosrow prepare: ") <= 1
    assert "Traceback" not in output.err
    return output.err


# The flags after the corpus, and what the message must say: what was found, and what to do.
OPTIONS = {
    "a row length of 0": (["--seq_len", 0], ["--seq_len is 0", "at least 1"]),
    "a row beyond all use": (["--seq_len", (1 << 20) + 1], ["--seq_len is 1048577", "at most 1048576"]),
    "a buffer of no documents": (["--buffer_docs", 0], ["--buffer_docs is 0"]),
    "an endless time between checkpoints": (["--checkpoint_seconds", "nan"], ["--checkpoint_seconds is nan", "finite"]),
    "a slice of a split": (["--split", "train[:1%]"], ["train[:1%]", "--max_docs"]),
    "another split of local files": (["--split", "test"], ["'test'", "'train'"]),
    "two val options": (["--val_shards", 1, "--val_fraction", 0.1], ["--val_shards and --val_fraction", "one of them"]),
    "a val split of everything": (["--val_fraction", 1], ["--val_fraction is 1", "below 1"]),
    "val shards of a lossless policy": (["--val_shards", 1, "--policy", "keep"], ["--val_fraction"]),
    "not one full row": (["--seq_len", 60_000], ["not one full row", "a row takes 60,001", "smaller --seq_len"]),
    "a text field that no line has": (["--text_field", "body"], ["body", "text, title"]),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_flags_that_cannot_be_used_are_refused(jsonl, tmp_path, capsys, case):
    flags, parts = OPTIONS[case]
    message = refused(capsys, "prepare", "--data_files", jsonl, "--out_dir", tmp_path / "out", "--workers", 0, *flags)
    assert all(part in message for part in parts), message
    assert not (tmp_path / "out" / "meta.json").exists()


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--data_files", "no.jsonl"], ["there is no file no.jsonl"]),
        (["--data_files", "no/*.parquet"], ["no/*.parquet matches no file"]),
        (["--data_files", "folder"], ["folder is a folder", "a glob"]),
        (["--dataset", "parquet"], ["--data_files"]),
        ([], ["--dataset", "--data_files", "--from"]),
        (["--from", "folder"], ["folder has no meta.json"]),
        (["--from", "folder", "--data_files", "a.jsonl"], ["--from", "one of them"]),
    ],
)
def test_a_corpus_that_is_not_there_is_refused(tmp_path, capsys, monkeypatch, flags, parts):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    message = refused(capsys, "prepare", *flags, "--out_dir", "out")
    assert all(part in message for part in parts), message
    assert not (tmp_path / "out").exists()


def test_columns_that_cannot_be_text_are_refused_with_those_there_are(tmp_path, capsys):
    pq.write_table(pa.table({"id": [1, 2], "content": ["a", "b"]}), tmp_path / "a.parquet")
    command = ["prepare", "--data_files", tmp_path / "a.parquet", "--out_dir", tmp_path / "out"]
    assert "its columns are: id, content" in refused(capsys, *command)
    assert "'id' of a.parquet holds int64, text (string)" in refused(capsys, *command, "--text_field", "id")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and nothing")
    command[2] = tmp_path / "b.parquet"
    assert "b.parquet is not a readable Parquet file" in refused(capsys, *command)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("value", "reason"), [(None, "null"), (7, "not text (a int)"), (["a"], "not text (a list)")])
def test_a_row_without_text_stops_the_run_with_file_and_row(tmp_path, capsys, value, reason):
    lines = [{"text": "a few words"}, {"text": value}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    message = refused(
        capsys, "prepare", "--data_files", tmp_path / "a.jsonl", "--out_dir", tmp_path / "out", "--workers", 0
    )
    assert f"a.jsonl, row 1: {reason}" in message
    assert "--on_bad_row skip" in message
    assert not (tmp_path / "out" / "meta.json").exists()


def test_a_folder_that_holds_something_else_is_left_as_it_is(jsonl, tmp_path, capsys):
    prepared(tmp_path / "other", data_files=(str(jsonl),), seq_len=16)
    before = {path: path.read_bytes() for path in (tmp_path / "other").rglob("*") if path.is_file()}
    message = refused(capsys, "prepare", "--data_files", jsonl, "--out_dir", tmp_path / "other", "--seq_len", 32)
    assert [line.split() for line in message.splitlines() if "seq_len" in line] == [["seq_len", "16", "->", "32"]]
    assert {path: path.read_bytes() for path in before} == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    message = refused(capsys, "prepare", "--data_files", jsonl, "--out_dir", tmp_path / "mine", "--fresh")
    assert "thesis.tex" in message
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


def test_a_data_directory_that_is_incomplete_or_cut_short_is_refused(tmp_path, capsys):
    folder = write_data_set(tmp_path / "data")
    assert "is not a directory" in refused(capsys, "prepare", "--from", tmp_path / "no", "--out_dir", tmp_path / "out")
    shard = folder / "train_000001.bin"
    shard.write_bytes(shard.read_bytes()[:-2])
    assert main(["verify", str(folder)]) == 1  # found damage, which is what it was asked for
    assert "train_000001.bin has 848 bytes" in capsys.readouterr().out
    (folder / "meta.json").unlink()
    assert "has no meta.json, so it is not a complete data set" in refused(capsys, "verify", folder)


def test_a_refusal_by_the_program_itself_is_one_message_and_status_2(tmp_path):
    """The same once more as a process of its own, with workers."""
    flags = write_corpus(tmp_path / "corpus", "jsonl", documents(40))
    done = bosrow("prepare", *flags, "--out_dir", tmp_path / "out", "--text_field", "body", "--workers", 2)
    assert done.returncode == 2
    assert re.fullmatch(r"tokenizer gpt2: .*\n", done.stdout)
    assert done.stderr.startswith("bosrow prepare: part_0.jsonl, row 0: no text (there is no field 'body'")
    assert done.stderr.count("\n") == 1


def test_fresh_deletes_nothing_before_the_source_is_found(tmp_path, capsys):
    store = tmp_path / "store"
    expected = prepared(
        store, data_files=tuple(write_corpus(tmp_path / "c", "jsonl", documents(80))[1:]), policy="keep"
    )
    for source, message in (
        (["--dataset", "json", "--data_files", tmp_path / "typo.jsonl"], "there is no file"),
        (["--data_files", tmp_path / "typo*.jsonl"], "matches no file"),
        (["--from", store], "holds the source"),
        (["--data_files", store / "train_*.bin"], "holds the source"),
    ):
        assert message in refused(capsys, "prepare", *source, "--out_dir", store, "--fresh")
        assert contents(store) == expected


@pytest.mark.parametrize("name", [".owner.json", "state.bin", "train_000000.bin", "provenance", "provenance/x.ids"])
def test_nothing_is_written_through_a_link(jsonl, tmp_path, capsys, name):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "notes.ids").write_text("mine")
    (tmp_path / "out" / name).parent.mkdir(parents=True)
    (tmp_path / "out" / name).symlink_to(outside if name == "provenance" else outside / "notes.ids")
    for flags in ([], ["--fresh"]):
        said = refused(capsys, "prepare", "--data_files", jsonl, "--out_dir", tmp_path / "out", *flags)
        assert f"holds a link ({tmp_path / 'out' / name})" in said
    assert (outside / "notes.ids").read_text() == "mine"
    assert len(list(outside.iterdir())) == 1


def test_val_shards_that_take_all_rows_are_warned_of_at_the_start_and_refused_at_the_end(jsonl, tmp_path, capsys):
    flags = ["--seq_len", "32", "--val_shards", "1000", "--shard_rows", "1"]
    assert main(["prepare", "--data_files", str(jsonl), "--out_dir", str(tmp_path / "out"), *flags]) == 2
    warning, refusal = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: the source holds about")
    assert "--val_shards 1000 takes the first 1,000 for val" in warning
    assert "no rows are left for training" in refusal
    assert "--fresh" in refusal


def test_by_default_a_small_corpus_leaves_rows_for_training(jsonl, tmp_path):
    assert main(["prepare", "--data_files", str(jsonl), "--out_dir", str(tmp_path / "out"), "--seq_len", "32"]) == 0
    assert len(open_rows(tmp_path / "out", "train")) > 50
    assert read_manifest(tmp_path / "out").origin.identity["val_fraction"] == 0.005


def test_with_its_output_closed_a_command_still_works(jsonl, tmp_path):
    flags = f"--data_files {jsonl} --out_dir {tmp_path / 'out'} --seq_len 16 --val_fraction 0"
    done = subprocess.run(["bash", "-c", f"exec {shlex.quote(sys.executable)} -m bosrow prepare {flags} >&- 2>&-"])
    assert done.returncode == 0
    assert (tmp_path / "out" / "meta.json").exists()


def test_a_module_in_the_working_folder_is_not_run(jsonl, tmp_path):
    (tmp_path / "lzma.py").write_text("raise SystemExit('run')")
    flags = f"--data_files {jsonl} --out_dir {tmp_path / 'out'} --seq_len 16 --val_fraction 0 --workers 1"
    command = [Path(sys.executable).with_name("bosrow"), "prepare", *flags.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
