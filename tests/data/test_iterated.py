"""Sources that `datasets` iterates for us: the same documents, rows, ids and bytes as of any other source."""

import dataclasses
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from corpora import ITERATED, bosrow, contents, documents, prepared, write_corpus
from hub_server import Hub
from kills import kill_randomly

from bosrow.data import iterated, units
from bosrow.data.lookup import Provenance
from bosrow.data.options import PrepareOptions
from bosrow.data.rebuild import rebuild
from bosrow.data.source import find_source
from bosrow.data.tokenizer import load_tokenizer
from bosrow.data.unit import Position
from bosrow.errors import BadRowError, DataSetError, SourceError

HEAD = b"text,id\n"


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iterated, "UNIT_DOCUMENTS", 7)


def texts_of(folder: Path) -> list[str]:
    """The texts of a data set that lost nothing."""
    return [load_tokenizer().decode(tokens[1:]) for _, tokens in rebuild(Provenance(folder))]


def decoded(folder: Path) -> list[tuple[str, int, str | None]]:
    """File, row and id of each document."""
    provenance = Provenance(folder)
    infos = provenance.documents_of(range(provenance.documents))
    return [(infos[n].source_file, infos[n].source_row, infos[n].id) for n in range(provenance.documents)]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_any_number_of_workers_gives_the_same_bytes(tmp_path, small_units, workers):
    flags = write_corpus(tmp_path / "corpus", "csv", documents(100))
    settings: dict[str, Any] = {"data_files": (flags[1],), "policy": "keep", "id_field": "id"}
    alone = prepared(tmp_path / "alone", **settings)
    assert prepared(tmp_path / "out", workers=workers, **settings) == alone


@pytest.mark.parametrize("kind", ITERATED)
def test_reading_can_begin_at_any_unit(tmp_path, small_units, kind):
    flags = write_corpus(tmp_path / "corpus", kind, documents(60))
    field = "txt" if kind == "webdataset" else "text"
    options = PrepareOptions(data_files=(flags[1],), text_field=field, out_dir=tmp_path / "out")
    source = find_source(options)
    found = list(units.units_of(source, Position()))
    assert len(found) == 10
    assert sorted(unit.share for unit in found) == [unit.share for unit in found]
    for number, unit in enumerate(found):
        assert [rest.payload for rest in units.units_of(source, unit.next)] == [
            rest.payload for rest in found[number + 1 :]
        ]


def test_documents_are_named_by_file_row_and_id(tmp_path, small_units):
    flags = write_corpus(tmp_path / "corpus", "arrow", documents(40))
    prepared(tmp_path / "out", data_files=(flags[1],), policy="keep", id_field="id", val_fraction=0.0)
    expected = [(f"part_{n // 20}.arrow", n % 20, f"id-{n}") for n in range(40)]
    assert decoded(tmp_path / "out") == expected


def test_a_field_of_csv_is_the_text_that_stands_there(tmp_path):
    (tmp_path / "a.csv").write_bytes(HEAD + b'NA,1\n007,2\n,3\n"two\nlines, ""quoted""",4\nnull,5\n1e3,6\nshort line\n')
    prepared(tmp_path / "out", data_files=(str(tmp_path / "a.csv"),), policy="keep", seq_len=4, val_fraction=0.0)
    assert texts_of(tmp_path / "out") == ["NA", "007", "", 'two\nlines, "quoted"', "null", "1e3", "short line"]


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.soak)])
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path, kills):
    flags = write_corpus(tmp_path / "corpus", "csv", documents(400, median_words=100))
    settings = ["--policy", "keep", "--id_field", "id", "--seq_len", "64", "--shard_rows", "300"]
    done = bosrow("prepare", *flags, *settings, "--workers", "0", "--out_dir", tmp_path / "undisturbed")
    assert done.returncode == 0, done.stderr
    command = [*flags, *settings, "--workers", "2", "--checkpoint_seconds", "0.02"]
    expected = contents(tmp_path / "undisturbed")
    assert kill_randomly(command, tmp_path, kills=kills, seed=11, seconds=4.0, expected=expected)["data sets"] >= 1


DAMAGED = {
    "a line with too many fields": (HEAD + b"good,1\n" * 1500 + b"a,b,c\n" + b"lost,1\n" * 5, 1000),
    "a quote that is never closed": (HEAD + b'good,1\n"open,1\n', 0),
    "not UTF-8": (HEAD + b"\xff\xfe,1\n", 0),
    "a column missing": (b"body,id\nx,1\n", 0),
    "empty": (b"", 0),
}


@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.usefixtures("small_units")
def test_the_rest_of_a_file_that_cannot_be_read_on_is_one_bad_row(tmp_path, kind):
    content, kept = DAMAGED[kind]
    for name, data in (("a.csv", HEAD + b"first,1\n"), ("b.csv", content), ("c.csv", HEAD + b"last,1\n")):
        (tmp_path / name).write_bytes(data)
    settings: dict[str, Any] = {
        "data_files": (str(tmp_path / "*.csv"),),
        "policy": "keep",
        "seq_len": 1,
        "val_fraction": 0.0,
    }
    with pytest.raises(BadRowError, match=rf"b\.csv, row {kept}: unreadable"):
        prepared(tmp_path / "out", **settings)
    prepared(tmp_path / "out", on_bad_row="skip", **settings)
    assert texts_of(tmp_path / "out") == ["first", *["good"] * kept, "last"]
    (bad,) = [json.loads(line) for line in (tmp_path / "out" / "bad_rows.jsonl").read_text().splitlines()]
    assert (bad["file"], bad["row"]) == ("b.csv", kept)


@pytest.mark.parametrize("kind", ["arrow", "webdataset"])
def test_a_file_that_is_cut_between_two_documents_is_not_taken_for_whole(tmp_path, kind):
    """Where the formats' readers see nothing amiss."""
    flags = write_corpus(tmp_path / "corpus", kind, ["some words"] * 80)
    path = sorted((tmp_path / "corpus").iterdir())[0]
    data = path.read_bytes()
    members = 20 if kind == "webdataset" else 1
    cut = 1024 * members if kind == "webdataset" else data.index(b"\xff\xff\xff\xff", 8 + len(data) // 2)
    path.write_bytes(data[:cut])
    field = {"text_field": "txt"} if kind == "webdataset" else {}
    settings: dict[str, Any] = {"data_files": (flags[1],), "policy": "keep", "seq_len": 4, "val_fraction": 0.0}
    prepared(tmp_path / "out", on_bad_row="skip", **settings, **field)
    assert len(texts_of(tmp_path / "out")) == 60
    (bad,) = [json.loads(line) for line in (tmp_path / "out" / "bad_rows.jsonl").read_text().splitlines()]
    assert (bad["file"], bad["row"]) == (path.name, 20)
    assert "was cut short" in bad["reason"]


def test_a_csv_file_of_a_header_alone_has_no_rows(tmp_path):
    (tmp_path / "a.csv").write_bytes(HEAD)
    (tmp_path / "b.csv").write_bytes(HEAD + b"words,1\n")
    prepared(
        tmp_path / "out",
        data_files=(str(tmp_path / "*.csv"),),
        policy="keep",
        seq_len=1,
        val_fraction=0.0,
        id_field="id",
    )
    assert decoded(tmp_path / "out") == [("b.csv", 0, "1")]


def test_settings_that_no_readme_can_give_are_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(HEAD + b"words,1\n")
    source = find_source(PrepareOptions(data_files=(str(tmp_path / "a.csv"),), out_dir=tmp_path / "out"))
    edited = dataclasses.replace(source, settings=json.dumps({"cache_dir": str(tmp_path / "cache")}))
    with pytest.raises(DataSetError, match="cache_dir: no setting of a file format"):
        list(units.units_of(edited, Position()))
    assert not (tmp_path / "cache").exists()


def test_rows_without_text_are_bad_one_by_one(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        # `datasets` takes the fields of the first five for those of all.
        members = [(f"{number}.{kind}", b"1") for number in range(5) for kind in ("txt", "cls")]
        for name, data in [*members, ("5.cls", b"1"), ("6.txt", b"six")]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    settings: dict[str, Any] = {"data_files": (str(tmp_path / "a.tar"),), "text_field": "txt", "seq_len": 1}
    settings |= {"policy": "keep", "val_fraction": 0.0, "on_bad_row": "skip", "id_field": "__key__"}
    prepared(tmp_path / "out", **settings)
    assert decoded(tmp_path / "out") == [("a.tar", n, str(n)) for n in (0, 1, 2, 3, 4, 6)]
    assert json.loads((tmp_path / "out" / "bad_rows.jsonl").read_text()) == {
        "file": "a.tar",
        "row": 5,
        "reason": "null",
    }


def test_a_changed_file_is_refused_when_a_run_goes_on(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(HEAD + b"some words,1\n,2\n")
    settings: dict[str, Any] = {"data_files": (str(path),), "policy": "keep", "val_fraction": 0.0, "seq_len": 512}
    with pytest.raises(SourceError, match="not one full row"):
        prepared(tmp_path / "out", **settings)
    path.write_bytes(HEAD + b"other words,1\n,2\n")
    with pytest.raises(DataSetError, match=r"a\.csv +24 bytes.* -> +25 bytes"):
        prepared(tmp_path / "out", **settings)


def test_a_column_that_is_not_there_or_holds_no_text_is_told_at_once(tmp_path):
    table = pa.table({"text": ["a"], "number": [1]})
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    settings: dict[str, Any] = {"data_files": (str(tmp_path / "a.arrow"),)}
    with pytest.raises(SourceError, match=r"--text_field is 'body'.*its columns are: text, number"):
        prepared(tmp_path / "out", text_field="body", **settings)
    with pytest.raises(SourceError, match="holds int64, text"):
        prepared(tmp_path / "out", text_field="number", **settings)
    assert not (tmp_path / "out").exists()


def test_a_format_that_may_run_code_is_no_format(tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"")
    with pytest.raises(SourceError, match="--dataset is one of parquet, json, text, csv, arrow, webdataset"):
        prepared(tmp_path / "out", dataset="pandas", data_files=(str(tmp_path / "a.pkl"),))


def test_files_with_names_that_are_patterns_or_addresses_are_read_as_they_are(tmp_path):
    for number, name in enumerate(("a[1]*.csv", "zip:::x.csv", "s3::b.csv", ".hidden.csv")):
        (tmp_path / name).write_bytes(HEAD + f"{number},0\n".encode())
    names = sorted(path.name for path in tmp_path.iterdir())
    settings: dict[str, Any] = {"policy": "keep", "seq_len": 1, "val_fraction": 0.0}
    prepared(
        tmp_path / "out", dataset="csv", data_files=(str(tmp_path / "[!.]*.csv"), str(tmp_path / ".h*")), **settings
    )
    assert sorted(file for file, _, _ in decoded(tmp_path / "out")) == names


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "tsv"])
def test_csv_files_of_the_hub_are_read_as_their_readme_says(hub: Hub, tmp_path, suffix):
    import gzip

    readme = b"---\nconfigs:\n- config_name: default\n  sep: ';'\n  data_files: '*.%b'\n---\n" % suffix.encode()
    texts = documents(60)
    lines = [";".join(('"' + text.replace('"', '""') + '"', str(n))) for n, text in enumerate(texts)]
    data = ("text;n\n" + "\n".join(lines)).encode()
    name = f"train.{suffix}"
    hub.add("someone/tables", {"README.md": readme, name: gzip.compress(data, mtime=0) if "gz" in suffix else data})
    settings: dict[str, Any] = {"policy": "keep", "val_fraction": 0.0}
    prepared(tmp_path / "out", dataset="someone/tables", id_field="n", workers=1, **settings)
    assert texts_of(tmp_path / "out") == texts
    assert decoded(tmp_path / "out")[59] == (name, 59, "59")
