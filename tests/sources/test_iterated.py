"""Sources that `datasets` iterates for us (CSV too where the same is required): documents, rows, ids and bytes."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from corpora import HANDED_ON, documents, prepared, write_corpus

from bosrow.dataset.provenance import Provenance
from bosrow.errors import DataSetError, SourceError
from bosrow.prepare.prepare_options import PrepareOptions
from bosrow.sources import csv_files, reading, via_datasets
from bosrow.sources.find import find_source
from bosrow.sources.unit import Position


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    for reader in (via_datasets, csv_files):
        monkeypatch.setattr(reader, "UNIT_DOCUMENTS", 7)


def decoded(folder: Path) -> list[tuple[str, int, str | None]]:
    """File, row and id of each document."""
    provenance = Provenance(folder)
    infos = provenance.documents.of(range(len(provenance.documents)))
    return [(infos[n].source_file, infos[n].source_row, infos[n].id) for n in range(len(provenance.documents))]


@pytest.mark.parametrize("kind", HANDED_ON)
def test_reading_can_begin_at_any_unit(tmp_path, small_units, kind):
    flags = write_corpus(tmp_path / "corpus", kind, documents(60))
    field = "txt" if kind == "webdataset" else "text"
    options = PrepareOptions(data_files=(flags[1],), text_field=field, out_dir=tmp_path / "out")
    source = find_source(options)
    found = list(reading.units_of(source, Position()))
    assert len(found) == 10
    assert sorted(unit.share for unit in found) == [unit.share for unit in found]
    for number, unit in enumerate(found):
        assert [rest.payload for rest in reading.units_of(source, unit.next)] == [
            rest.payload for rest in found[number + 1 :]
        ]


def test_documents_are_named_by_file_row_and_id(tmp_path, small_units):
    flags = write_corpus(tmp_path / "corpus", "arrow", documents(40))
    prepared(tmp_path / "out", data_files=(flags[1],), policy="keep", id_field="id", val_fraction=0.0)
    expected = [(f"part_{n // 20}.arrow", n % 20, f"id-{n}") for n in range(40)]
    assert decoded(tmp_path / "out") == expected


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
    assert len(decoded(tmp_path / "out")) == 60
    (bad,) = [json.loads(line) for line in (tmp_path / "out" / "bad_rows.jsonl").read_text().splitlines()]
    assert (bad["file"], bad["row"]) == (path.name, 20)
    assert "was cut short" in bad["reason"]


def test_settings_that_no_readme_can_give_are_refused(tmp_path):
    flags = write_corpus(tmp_path / "corpus", "arrow", ["some words"] * 4)
    source = find_source(PrepareOptions(data_files=(flags[1],), out_dir=tmp_path / "out"))
    edited = msgspec.structs.replace(source, settings=json.dumps({"cache_dir": str(tmp_path / "cache")}))
    with pytest.raises(DataSetError, match="cache_dir is not a setting of a file format"):
        list(reading.units_of(edited, Position()))
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
