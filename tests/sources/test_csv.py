"""CSV and TSV: cells as RFC 4180 has them; a row that does not fit is one bad row, and nothing else is lost."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from corpora import bosrow, contents, documents, prepared, write_corpus
from hub_server import Hub
from hypothesis import given
from hypothesis import strategies as st
from kills import kill_randomly

from bosrow.dataset.documents import read_documents
from bosrow.dataset.provenance import Provenance
from bosrow.dataset.state_file import STATE, read_state, write_state
from bosrow.errors import BadRowError, DataSetError, OptionError, SourceError
from bosrow.prepare import run as run_module
from bosrow.prepare.prepare_options import PrepareOptions
from bosrow.sources import csv_files, csv_rows, reading
from bosrow.sources.csv_rows import CsvRow, Dialect, rows_of
from bosrow.sources.find import find_source
from bosrow.sources.unit import Position
from bosrow.tokenizers.gpt2 import load_tokenizer

HEAD = b"text,id\n"
WHOLE: dict[str, Any] = {"policy": "keep", "seq_len": 1, "val_fraction": 0.0}
TOO_MANY = "wrong number of cells (3 where the header has 2)"
AFTER_QUOTE = "not CSV (there is text after a closing quote)"
NEVER_CLOSED = "not CSV (a quote is never closed)"
LONE_CR = "not CSV (a carriage return stands outside quotes)"


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "UNIT_DOCUMENTS", 7)


def texts_of(folder: Path) -> list[tuple[int, str]]:
    """Row and text of each document of a data set that lost nothing."""
    tokenizer = load_tokenizer()
    return [(info.source_row, tokenizer.decode(tokens[1:])) for info, tokens in read_documents(Provenance(folder))]


def bad_rows_of(folder: Path) -> list[tuple[int, str]]:
    path = folder / "bad_rows.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [(line["row"], line["reason"]) for line in lines]


# ---- the rows of a stream of bytes


def oracle(data: str) -> list[list[str] | None]:
    """The rows as Python's csv module reads them, one at a time; None where it cannot, and the next line is next."""
    lines = io.StringIO(data, newline="\n").readlines()
    rows: list[list[str] | None] = []
    while lines:
        reader = csv.reader(iter(lines), strict=True)
        try:
            row: list[str] | None = next(reader)
            taken = reader.line_num
        except csv.Error:
            row, taken = None, 1
        lines = lines[taken:]
        if row != []:
            rows.append(row)
    return rows


def found_in(data: bytes, size: int = 1 << 20, place: int = 0) -> list[CsvRow]:
    stream = io.BytesIO(data)
    stream.seek(place)
    return list(rows_of(lambda _: stream.read(size), Dialect(), place=place))


@given(st.text(alphabet='a,"\n\r', max_size=40))
def test_rows_are_those_of_pythons_csv_module_and_wrong_where_that_is_strict(data):
    rows = [None if row.wrong else [cell.decode() for cell in row.cells] for row in found_in(data.encode())]
    assert rows == oracle(data)


@given(st.lists(st.lists(st.text(alphabet='aé,"\n\r \t'), min_size=2, max_size=4), max_size=8))
def test_what_pythons_csv_module_writes_comes_back_cell_by_cell(rows):
    file = io.StringIO(newline="")
    csv.writer(file).writerows(rows)
    assert [[cell.decode() for cell in row.cells] for row in found_in(file.getvalue().encode())] == rows


@given(st.text(alphabet='a,"\n\r', max_size=30), st.integers(1, 9))
def test_rows_are_the_same_however_the_bytes_arrive_and_wherever_reading_begins(data, size):
    rows = found_in(data.encode())
    assert found_in(data.encode(), size) == rows
    for number, row in enumerate(rows):
        assert found_in(data.encode(), size, row.end) == rows[number + 1 :]


def test_a_quote_that_is_never_closed_takes_bounded_memory_and_one_row(monkeypatch):
    monkeypatch.setattr(csv_rows, "BLOCK_BYTES", 1 << 10)
    monkeypatch.setattr(csv_rows, "MAX_ROW_BYTES", 1 << 16)
    lines = [b'"open,1\n', *[b"good,%d\n" % number for number in range(100_000)]]
    stream, largest = io.BytesIO(b"".join(lines)), 0

    def read(size: int) -> bytes:
        nonlocal largest
        largest = max(largest, size)
        return stream.read(size)

    first, *others = rows_of(read, Dialect())
    assert first.wrong == csv_rows.TOO_LONG
    assert largest <= csv_rows.MAX_ROW_BYTES
    assert [row.cells for row in others] == [[b"good", b"%d" % number] for number in range(100_000)]


@pytest.mark.parametrize("line", [b"x" * 300_000, b'"' + b"x" * 300_000], ids=["plain", "quoted"])
def test_a_line_too_long_to_be_held_is_one_wrong_row_and_the_next_is_read(monkeypatch, line):
    monkeypatch.setattr(csv_rows, "BLOCK_BYTES", 1 << 10)
    monkeypatch.setattr(csv_rows, "MAX_ROW_BYTES", 1 << 16)
    first, wrong, last = found_in(b"a,b\n" + line + b"\nc,d\n", size=1 << 10)
    assert (first.cells, wrong.wrong, last.cells) == ([b"a", b"b"], csv_rows.TOO_LONG, [b"c", b"d"])
    assert last.end == 9 + len(line)


# ---- files


CASES: dict[str, tuple[bytes, list[tuple[int, str]], list[tuple[int, str]]]] = {
    "fields that look like nulls and numbers": (
        HEAD + b'NA,1\n007,2\n,3\n"two\nlines, ""quoted""",4\nnull,5\n1e3,6\n',
        [(0, "NA"), (1, "007"), (2, ""), (3, 'two\nlines, "quoted"'), (4, "null"), (5, "1e3")],
        [],
    ),
    "an unquoted comma in a file of one column": (
        b"text\nwords before, words after\nwhole\n",
        [(1, "whole")],
        [(0, "wrong number of cells (2 where the header has 1)")],
    ),
    "a row with too many cells": (HEAD + b"a,1\nb,c,2\nd,3\n", [(0, "a"), (2, "d")], [(1, TOO_MANY)]),
    "a row short of cells": (
        HEAD + b"a,1\nshort\nd,3\n",
        [(0, "a"), (2, "d")],
        [(1, "wrong number of cells (1 where the header has 2)")],
    ),
    "a quote that is never closed": (
        HEAD + b'a,1\n"open,1\nb,2\nc,3\n',
        [(0, "a"), (2, "b"), (3, "c")],
        [(1, NEVER_CLOSED)],
    ),
    "a stray quote before rows in quotes": (
        HEAD + b'a,1\n"open,1\n"b",2\n"c",3\n',
        [(0, "a"), (2, "b"), (3, "c")],
        [(1, AFTER_QUOTE)],
    ),
    "quotes inside a cell that has none around it": (HEAD + b'six 6" nails,1\n', [(0, 'six 6" nails')], []),
    "bytes that are no UTF-8": (
        HEAD + b"a,1\n\xff\xfe,2\nb,\xff\n",
        [(0, "a"), (2, "b")],
        [(1, "not UTF-8 (invalid start byte at byte 0 of a piece)")],
    ),
    "CRLF, a BOM and lines of nothing": (
        b'\xef\xbb\xbf"text",id\r\n\r\na,1\r\n\r\n"b\r\nc",2\r\n\r\n',
        [(0, "a"), (1, "b\r\nc")],
        [],
    ),
    "a lone carriage return": (HEAD + b'a\rb,1\n"c\rd",2\n', [(1, "c\rd")], [(0, LONE_CR)]),
    "no line end at the end": (HEAD + b'a,1\n"b",2', [(0, "a"), (1, "b")], []),
}


@pytest.mark.parametrize(
    ("workers", "kind"), [*((0, kind) for kind in CASES), *((2, kind) for kind in ("a quote that is never closed",))]
)
def test_every_row_that_fits_is_read_and_every_other_one_is_told_by_number(tmp_path, kind, workers):
    data, good, bad = CASES[kind]
    (tmp_path / "a.csv").write_bytes(data)
    settings = WHOLE | {"data_files": (str(tmp_path / "a.csv"),), "workers": workers}
    if bad:
        with pytest.raises(BadRowError) as caught:
            prepared(tmp_path / "out", **settings)
        assert str(caught.value).startswith(f"a.csv, row {bad[0][0]}: {bad[0][1]}")
    prepared(tmp_path / "out", on_bad_row="skip", **settings)
    assert texts_of(tmp_path / "out") == good
    assert bad_rows_of(tmp_path / "out") == bad


def test_one_ragged_line_among_thousands_costs_itself_alone(tmp_path):
    rows = [b"document %d,%d\n" % (number, number) for number in range(6000)]
    rows[4567] = b"document, ragged,4567\n"
    (tmp_path / "a.csv").write_bytes(HEAD + b"".join(rows))
    prepared(tmp_path / "out", data_files=(str(tmp_path / "a.csv"),), on_bad_row="skip", **WHOLE)
    assert texts_of(tmp_path / "out") == [(n, f"document {n}") for n in range(6000) if n != 4567]
    assert bad_rows_of(tmp_path / "out") == [(4567, TOO_MANY)]


def test_cells_of_tsv_stand_as_they_are_unless_quoting_is_asked_for(tmp_path):
    lines = ['say "hi"', '"open', 'two "a" "b"', '"whole"', "it's"] * 6
    (tmp_path / "a.tsv").write_text("id\ttext\n" + "".join(f"{n}\t{line}\n" for n, line in enumerate(lines)))
    settings = WHOLE | {"data_files": (str(tmp_path / "a.tsv"),)}
    prepared(tmp_path / "out", **settings)
    assert texts_of(tmp_path / "out") == list(enumerate(lines))

    (tmp_path / "a.tsv").write_text('id\ttext\n0\t"two\nlines ""here"""\n1\tplain\n')
    with pytest.raises(
        BadRowError, match=r"row 1: .*1 where the header has 2; where quotes enclose cells, give --csv_quoting"
    ):
        prepared(tmp_path / "stopped", **settings)
    prepared(tmp_path / "quoted", csv_quoting="quoted", **settings)
    assert texts_of(tmp_path / "quoted") == [(0, 'two\nlines "here"'), (1, "plain")]


def test_csv_without_quoting_is_read_where_that_is_asked_for(tmp_path):
    (tmp_path / "a.csv").write_bytes(HEAD + b'"a,1\nb",2\n')
    prepared(tmp_path / "out", data_files=(str(tmp_path / "a.csv"),), csv_quoting="none", **WHOLE)
    assert texts_of(tmp_path / "out") == [(0, '"a'), (1, 'b"')]


@pytest.mark.parametrize(
    ("options", "error"),
    [({"data_files": ("a.jsonl",)}, SourceError), ({"from_dir": Path("data")}, OptionError)],
)
def test_quoting_of_what_is_no_csv_is_refused(tmp_path, monkeypatch, options, error):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(error, match="--csv_quoting says how CSV"):
        prepared(tmp_path / "out", csv_quoting="none", **options)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"text,id,text\na,1,b\n", "--text_field is 'text', but a.csv has several columns of this name"),
        (b"body,id\na,1\n", "--text_field is 'text', which a.csv lacks; its columns are: body, id"),
        (b"", "a.csv is empty; a header that names the columns was required"),
        ("text,id\na,1\n".encode("utf-16"), "a.csv is UTF-16; convert it to UTF-8"),
        (b'"text,id\na,1\n', r"does not begin with a header that names the columns \(a quote is never closed\)"),
    ],
)
def test_a_file_without_one_text_column_is_refused_before_anything_is_written(tmp_path, data, message):
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(SourceError, match=message):
        prepared(tmp_path / "out", data_files=(str(tmp_path / "a.csv"),), **WHOLE)
    assert not (tmp_path / "out").exists()
    (tmp_path / "0.csv").write_bytes(HEAD + b"first,1\n")
    prepared(tmp_path / "out", data_files=(str(tmp_path / "*.csv"),), on_bad_row="skip", **WHOLE)
    assert [text for _, text in texts_of(tmp_path / "out")] == ["first"]
    assert len(bad_rows_of(tmp_path / "out")) == 1


def test_a_file_of_a_header_alone_has_no_rows(tmp_path):
    (tmp_path / "a.csv").write_bytes(HEAD)
    (tmp_path / "b.csv").write_bytes(HEAD.strip())
    (tmp_path / "c.csv").write_bytes(HEAD + b"words,1\n")
    prepared(tmp_path / "out", data_files=(str(tmp_path / "*.csv"),), **WHOLE)
    assert texts_of(tmp_path / "out") == [(0, "words")]


@pytest.mark.parametrize("suffix", [".csv.gz", ".csv.zst", ".tsv.gz"])
@pytest.mark.usefixtures("small_units")
def test_compressed_files_give_the_same_documents_and_reading_can_begin_at_any_unit(tmp_path, suffix):
    pack = gzip.compress if suffix.endswith("gz") else zstandard.ZstdCompressor().compress
    kind = suffix.split(".")[1]
    (name,) = write_corpus(tmp_path / "plain", kind, documents(60), files=1)[1:]
    (plain,) = (tmp_path / "plain").iterdir()
    (tmp_path / f"part_0{suffix}").write_bytes(pack(plain.read_bytes()))
    found = []
    for path in (name, str(tmp_path / f"part_0{suffix}")):
        source = find_source(PrepareOptions(data_files=(path,), id_field="id", out_dir=tmp_path / "out"))
        found.append([(unit.start, unit.next, unit.payload) for unit in reading.units_of(source, Position())])
        for number, unit in enumerate(found[-1]):
            assert [rest.payload for rest in reading.units_of(source, unit[1])] == [
                payload for _, _, payload in found[-1][number + 1 :]
            ]
    assert len(found[0]) == 9
    assert found[0] == found[1]


def test_a_compressed_file_that_is_cut_short_keeps_what_stands_before(tmp_path):
    rows = b"".join(b"document %d %s,1\n" % (n, str(hash(n * 7919)).encode()) for n in range(200_000))
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(HEAD + rows)[:-5000])
    prepared(
        tmp_path / "out",
        data_files=(str(tmp_path / "a.csv.gz"),),
        on_bad_row="skip",
        **WHOLE | {"seq_len": 1024, "no_provenance": True},
    )
    ((row, reason),) = bad_rows_of(tmp_path / "out")
    assert 100_000 < row < 200_000
    assert reason.startswith("unreadable (a.csv.gz was cut short")


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.usefixtures("small_units")
def test_any_number_of_workers_gives_the_same_bytes(tmp_path, workers):
    flags = write_corpus(tmp_path / "corpus", "csv", documents(100))
    settings: dict[str, Any] = {"data_files": (flags[1],), "policy": "keep", "id_field": "id"}
    alone = prepared(tmp_path / "alone", **settings)
    assert prepared(tmp_path / "out", workers=workers, **settings) == alone


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.soak)])
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path, kills):
    flags = write_corpus(tmp_path / "corpus", "csv", documents(400, median_words=100))
    settings = ["--policy", "keep", "--id_field", "id", "--seq_len", "64", "--shard_rows", "300"]
    done = bosrow("prepare", *flags, *settings, "--workers", "0", "--out_dir", tmp_path / "undisturbed")
    assert done.returncode == 0, done.stderr
    command = [*flags, *settings, "--workers", "2", "--checkpoint_seconds", "0.02"]
    expected = contents(tmp_path / "undisturbed")
    assert kill_randomly(command, tmp_path, kills=kills, seed=11, seconds=4.0, expected=expected)["data sets"] >= 1


def test_a_changed_file_is_refused_when_a_run_goes_on(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(HEAD + b"some words,1\n,2\n")
    settings: dict[str, Any] = {"data_files": (str(path),), "policy": "keep", "val_fraction": 0.0, "seq_len": 512}
    with pytest.raises(SourceError, match="not one full row"):
        prepared(tmp_path / "out", **settings)
    path.write_bytes(HEAD + b"other words,1\n,2\n")
    with pytest.raises(DataSetError, match=r"a\.csv +24 bytes.* -> +25 bytes"):
        prepared(tmp_path / "out", **settings)


def test_files_with_names_that_are_patterns_or_addresses_are_read_as_they_are(tmp_path):
    for number, name in enumerate(("a[1]*.csv", "zip:::x.csv", "s3::b.csv", ".hidden.csv")):
        (tmp_path / name).write_bytes(HEAD + f"{number},0\n".encode())
    names = sorted(path.name for path in tmp_path.iterdir())
    patterns = (str(tmp_path / "[!.]*.csv"), str(tmp_path / ".h*"))
    prepared(tmp_path / "out", dataset="csv", data_files=patterns, **WHOLE)
    assert sorted(info.source_file for info, _ in read_documents(Provenance(tmp_path / "out"))) == names


# ---- states of before


def test_a_csv_run_that_an_older_bosrow_began_is_refused_with_the_way_out_and_not_touched(tmp_path, monkeypatch):
    flags = write_corpus(tmp_path / "corpus", "csv", documents(40))
    settings: dict[str, Any] = {"data_files": (flags[1],), "seq_len": 16, "val_fraction": 0.0}

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "open_pool", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepared(tmp_path / "out", **settings)
    saved = read_state(tmp_path / "out")
    assert saved is not None
    assert saved.value["source"]["format"] == "csv"
    saved.value["source"]["settings"] = "{}"  # as it stood there
    write_state(tmp_path / "out", saved.value, [saved.tokens])
    before = (tmp_path / "out" / STATE).read_bytes()
    with pytest.raises(DataSetError, match=r"begun by an older bosrow, which read CSV by the rules of pandas.*--fresh"):
        prepared(tmp_path / "out", **settings)
    assert (tmp_path / "out" / STATE).read_bytes() == before
    assert prepared(tmp_path / "out", fresh=True, **settings) == prepared(tmp_path / "anew", **settings)


def test_a_complete_csv_data_set_is_complete_and_another_quoting_is_another_data_set(tmp_path, capsys):
    flags = write_corpus(tmp_path / "corpus", "csv", documents(40))
    settings: dict[str, Any] = {"data_files": (flags[1],), "val_fraction": 0.0}
    expected = prepared(tmp_path / "out", **settings)
    assert prepared(tmp_path / "out", **settings) == expected
    assert "is complete" in capsys.readouterr().out
    with pytest.raises(DataSetError, match=r"csv_quoting +None +-> +none"):
        prepared(tmp_path / "out", csv_quoting="none", **settings)


# ---- the Hub


def readme(**settings: Any) -> bytes:
    lines = "".join(f"  {name}: {json.dumps(value)}\n" for name, value in settings.items())
    return f"---\nconfigs:\n- config_name: default\n{lines}---\n".encode()


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "csv.zst", "tsv"])
@pytest.mark.usefixtures("small_units")
def test_csv_files_of_the_hub_are_read_as_their_readme_says(hub: Hub, tmp_path, suffix):
    texts = documents(60)
    lines = [";".join(('"' + text.replace('"', '""') + '"', str(n))) for n, text in enumerate(texts)]
    data = ("text;n\n" + "\n".join(lines)).encode()
    packed = {"gz": gzip.compress, "zst": zstandard.compress}.get(suffix.rpartition(".")[2], bytes)(data)
    name = f"train.{suffix}"
    hub.add("someone/tables", {"README.md": readme(sep=";", data_files=f"*.{suffix}"), name: packed})
    settings: dict[str, Any] = {"policy": "keep", "val_fraction": 0.0, "dataset": "someone/tables", "id_field": "n"}
    for workers in (0, 1):
        prepared(tmp_path / f"{workers}", workers=workers, **settings)
        assert texts_of(tmp_path / f"{workers}") == list(enumerate(texts))
        infos = [info for info, _ in read_documents(Provenance(tmp_path / f"{workers}"))]
        assert (infos[59].source_file, infos[59].id) == (name, "59")


def test_tsv_of_the_hub_stands_as_it_is_and_names_and_encodings_of_a_readme_are_followed(hub: Hub, tmp_path):
    hub.add("someone/plain", {"train.tsv": b'text\tn\n"open\t1\nsay "hi"\t2\n'})
    prepared(tmp_path / "plain", dataset="someone/plain", **WHOLE)
    assert texts_of(tmp_path / "plain") == [(0, '"open'), (1, 'say "hi"')]

    settings = {"column_names": ["id", "text"], "quotechar": "|", "encoding": "latin-1", "data_files": "*.csv"}
    data = "1,|caf\xe9, noir|\n2,th\xe9\n".encode("latin-1")
    hub.add("someone/latin", {"README.md": readme(**settings), "train.csv": data})
    prepared(tmp_path / "latin", dataset="someone/latin", **WHOLE)
    assert texts_of(tmp_path / "latin") == [(0, "caf\xe9, noir"), (1, "th\xe9")]


@pytest.mark.parametrize(
    "settings", [{"skiprows": 3}, {"sep": "::"}, {"escapechar": "\\"}, {"encoding": "utf-16"}, {"header": 2}]
)
def test_settings_that_would_change_the_text_and_are_not_followed_are_refused(hub: Hub, tmp_path, settings):
    number = abs(hash(json.dumps(settings)))
    hub.add(f"someone/odd{number}", {"README.md": readme(data_files="*.csv", **settings), "train.csv": HEAD + b"a,1\n"})
    with pytest.raises(SourceError, match=f"README asks for CSV to be read with {next(iter(settings))}=.*--data_files"):
        prepared(tmp_path / "out", dataset=f"someone/odd{number}", **WHOLE)
    assert not (tmp_path / "out").exists()


def test_settings_that_no_readme_can_give_are_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(HEAD + b"words,1\n")
    source = find_source(PrepareOptions(data_files=(str(tmp_path / "a.csv"),), out_dir=tmp_path / "out"))
    for settings in ({"rules": "RFC 4180", "sep": 7}, {"quoting": "all"}, [1], {"names": [1]}, {"encoding": "idna"}):
        edited = msgspec.structs.replace(source, settings=json.dumps(settings))
        with pytest.raises(DataSetError, match="not a setting of CSV"):
            list(reading.units_of(edited, Position()))
