"""Names of folders and files that are awkward: colons, blanks, bytes that are no UTF-8, patterns."""

import os

import pytest
from corpora import contents, documents, prepared, write_corpus

from bosrow.cli import main

AWKWARD = ["run-T14:20", "s3:bucket", "file:", "a b", "100%20", "#1?", "[x]*", "$HOME", os.fsdecode(b"caf\xe9")]


@pytest.mark.parametrize("name", AWKWARD)
def test_every_verb_of_the_data_works_in_a_folder_of_any_name(tmp_path, monkeypatch, capsys, name):
    """Relative, as people name them: an absolute path never looks like a URI."""
    monkeypatch.chdir(tmp_path)
    write_corpus(tmp_path / name / "texts", "jsonl", documents(40))
    made, again = f"{name}/made", f"{name}/again"
    sizes = ["--seq_len", "16", "--buffer_docs", "20", "--shard_rows", "50", "--workers", "0", "--val_fraction", "0"]
    corpus = ["--data_files", f"{name}/texts/part_0.jsonl", f"{name}/texts/part_1.jsonl"]
    for command in (
        ["prepare", *corpus, "--out_dir", made, "--policy", "stream", *sizes],
        ["verify", made],
        ["inspect", made],
        ["inspect", made, "--html", f"{name}/page.html"],
        ["trace", made, "--row", "0", "--text"],
        ["trace", made, "--document", "0", "--max_train_steps", "9"],
        ["prepare", "--from", made, "--out_dir", again, "--policy", "keep", *sizes],
        ["policies", "--from", made, "--seq_len", "16"],
    ):
        assert main(command) == 0, (command, capsys.readouterr().err)
    expected = prepared(tmp_path / "plain", data_files=tuple(corpus[1:]), policy="keep", seq_len=16, val_fraction=0.0)
    found = contents(tmp_path / name / "again")
    shards = {file for file in expected if file.endswith(".bin")}
    assert {file: found[file] for file in shards} == {file: expected[file] for file in shards}


@pytest.mark.parametrize("kind", ["parquet", "csv", "arrow", "webdataset", "text", "jsonl.gz"])
@pytest.mark.parametrize("name", AWKWARD[:2] + AWKWARD[-1:])
def test_files_of_every_format_are_read_in_a_folder_of_any_name(tmp_path, monkeypatch, kind, name):
    monkeypatch.chdir(tmp_path)
    texts = documents(30)
    flags = write_corpus(tmp_path / "written", kind, texts)  # pyarrow cannot write to all of these names
    (tmp_path / "written").rename(tmp_path / name)
    field = flags[-1] if kind == "webdataset" else "text"
    files = tuple(f"{name}/{file}" for file in sorted(os.listdir(name)))
    found = prepared(tmp_path / "out", data_files=files, policy="stream", val_fraction=0.0, text_field=field)
    write_corpus(tmp_path / "plain", "jsonl", texts)
    expected = prepared(
        tmp_path / "expected", data_files=(str(tmp_path / "plain" / "*"),), policy="stream", val_fraction=0.0
    )
    assert found["train_000000.bin"] == expected["train_000000.bin"]
