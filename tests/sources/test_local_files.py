"""What `--data_files` takes: names before globs, each file once, and of a folder what it can read."""

import json
import shutil
from pathlib import Path

import pytest
from corpora import prepared
from synthetic import write_data_set

from bosrow.cli import main
from bosrow.prepare.prepare_options import PrepareOptions
from bosrow.sources.find import find_source


def write(path: Path, text: str = "a few words") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"text": text}) + "\n")
    return path


def names(*patterns: str | Path, **more) -> list[str]:
    source = find_source(PrepareOptions(data_files=tuple(map(str, patterns)), out_dir=Path("out"), **more))
    return [file.name for file in source.files]


def test_a_name_that_exists_is_that_file_though_it_looks_like_a_glob(tmp_path, capsys):
    """As a shell expands p*.jsonl beside files of such names."""
    files = [write(tmp_path / name) for name in ("p1.jsonl", "p[1].jsonl", "p*.jsonl", "p?.jsonl")]
    assert names(*files) == ["p1.jsonl", "p[1].jsonl", "p*.jsonl", "p?.jsonl"]
    assert capsys.readouterr().err == ""
    files[1].unlink()
    assert names(tmp_path / "p[1].jsonl") == ["p1.jsonl"]


def test_a_file_that_several_patterns_name_is_read_once_and_that_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.jsonl", "a.jsonl", "c.jsonl"):
        write(tmp_path / name)
    assert names("b.jsonl", "*.jsonl", "./b.jsonl", tmp_path / "a.jsonl") == ["b.jsonl", "a.jsonl", "c.jsonl"]
    assert "names 3 files more than once; each is read once (the first: b.jsonl)" in capsys.readouterr().err
    (tmp_path / "again.jsonl").symlink_to("a.jsonl")  # a name of its own, by which a file is read twice on purpose
    assert names("a.jsonl", "again.jsonl") == ["a.jsonl", "again.jsonl"]


def test_a_folder_is_all_files_of_a_known_format_below_it_in_sorted_order(tmp_path, capsys):
    corpus = tmp_path / "corpus"
    for name in ("b.jsonl", "a/z.json", "a/y.jsonl.gz", "c.ndjson", "a.jsonl"):
        write(corpus / name)
    for name in ("README.md", "LICENSE", "sums.sha256", ".hidden.jsonl", ".cache/x.jsonl", "a/x.jsonl.tmp"):
        write(corpus / name)
    (corpus / "link.jsonl").symlink_to("b.jsonl")
    (corpus / "up").symlink_to(tmp_path)
    expected = ["a.jsonl", "a/y.jsonl.gz", "a/z.json", "b.jsonl", "c.ndjson"]
    assert names(corpus) == expected
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{corpus}: 5 files, ")
    assert all(part in line for part in ("2 hidden", "2 link", "4 of another kind"))
    assert names(f"{corpus}/", corpus / "b.jsonl") == expected


def test_a_folder_of_text_files_leaves_its_readme_out(tmp_path):
    for name in ("1.txt", "2.TXT", "README", "README.md", "notes.rst"):
        (tmp_path / "books" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "books" / name).write_text("once upon a time")
    assert names(tmp_path / "books") == ["1.txt", "2.TXT"]
    assert names(tmp_path / "books", dataset="text") == ["1.txt", "2.TXT"]


def test_data_sets_of_ours_below_a_folder_are_left_out_and_only_those(tmp_path, capsys):
    corpus = tmp_path / "corpus"
    write(corpus / "a.jsonl")
    write_data_set(corpus / "made")
    write(corpus / "made" / "bad_rows.jsonl")
    interrupted = corpus / "interrupted"
    write(interrupted / "bad_rows.jsonl")
    (interrupted / "state.bin").write_bytes(b'{"schema": 3, "more": 1}\n')
    write(corpus / "theirs" / "b.jsonl")
    write(corpus / "theirs" / "meta.json", "of another tool")
    assert names(corpus) == ["a.jsonl", "theirs/b.jsonl", "theirs/meta.json"]
    assert "2 data set of bosrow" in capsys.readouterr().err
    prepared(corpus / "out", data_files=(str(corpus),), seq_len=2, policy="stream", val_fraction=0.0)
    capsys.readouterr()
    prepared(corpus / "out", data_files=(str(corpus),), seq_len=2, policy="stream", val_fraction=0.0)
    assert "is complete" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("files", "parts"),
    [
        ((), ["without a file of a known format", "empty"]),
        (("README.md",), ["without a file of a known format", "1 of another kind"]),
        (("a.txt", "b.bin"), ["several formats", "a.txt is text", "b.bin is tokens", "--dataset"]),
        (("a.jsonl", "b.parquet"), ["several formats", "a.jsonl is json", "b.parquet is parquet"]),
    ],
)
def test_a_folder_that_is_no_corpus_is_refused_with_what_it_holds(tmp_path, capsys, files, parts):
    (tmp_path / "corpus").mkdir()
    for name in files:
        (tmp_path / "corpus" / name).write_text("text")
    assert main(["prepare", "--data_files", str(tmp_path / "corpus"), "--out_dir", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert all(part in told for part in parts), told
    assert not (tmp_path / "out").exists()


def test_dataset_says_which_files_of_a_mixed_folder_are_meant(tmp_path):
    write(tmp_path / "corpus" / "a.jsonl")
    (tmp_path / "corpus" / "b.txt").write_text("text")
    assert names(tmp_path / "corpus", dataset="json") == ["a.jsonl"]
    assert names(tmp_path / "corpus", dataset="text") == ["b.txt"]


def test_a_data_set_of_ours_given_as_a_folder_of_files_is_refused_with_the_flag_to_give(tmp_path, capsys):
    write_data_set(tmp_path / "made")
    shutil.copytree(tmp_path / "made", tmp_path / "corpus" / "made")
    for folder in ("made", "corpus"):
        assert main(["prepare", "--data_files", str(tmp_path / folder), "--out_dir", str(tmp_path / "out")]) == 2
        assert "--from" in capsys.readouterr().err
