"""What may change when a preparation goes on, and what may not; two runs into one folder."""

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from corpora import bosrow, contents, documents, prepared, write_corpus
from kills import start

from bosrow.dataset.state_file import STATE
from bosrow.errors import DataSetError, UserError
from bosrow.prepare import run as run_module
from bosrow.prepare.command import prepare
from bosrow.prepare.prepare_options import FREE, PrepareOptions
from bosrow.tokenizers.gpt2 import Gpt2Tokenizer

# Another value for every option that changes bytes, and what else has to change with it.
OTHER: dict[str, dict[str, Any]] = {
    "dataset": {"dataset": "json"},
    "config": {"config": "sample"},
    "revision": {"revision": "v2"},
    "allow_lossy": {"allow_lossy": True},
    "split": {"split": "test"},
    "text_field": {"text_field": "more"},
    "csv_quoting": {"csv_quoting": "none"},
    "id_field": {"id_field": "id"},
    "seq_len": {"seq_len": 17},
    "policy": {"policy": "crop-long-first"},
    "buffer_docs": {"buffer_docs": 9},
    "buffer_tokens": {"buffer_tokens": 1 << 20},
    "shard_rows": {"shard_rows": 21},
    "val_shards": {"val_shards": 2},
    "val_fraction": {"val_fraction": 0.5},
    "no_provenance": {"no_provenance": True},
    "max_docs": {"max_docs": 90},
}
# Another value for those that do not.
FREE_VALUES: dict[str, Any] = {"workers": 1, "batch_docs": 3, "checkpoint_seconds": 7.0, "on_bad_row": "skip"}
FREE_VALUES |= {"engine": "gigatoken"}
COMPARED_ITSELF = {"data_files", "from_dir", "fresh", "out_dir"}  # or, of the last two, not at all
COMPARED_ITSELF |= {"tokenizer", "bos_token", "eos_token", "append_eos"}
REFUSED_EARLIER = {"split", "csv_quoting"}  # by messages of their own: local files have one split, these are no CSV


@pytest.fixture
def corpus(tmp_path) -> tuple[str, ...]:
    write_corpus(tmp_path / "corpus", "jsonl", documents(120, median_words=8))
    return (str(tmp_path / "corpus" / "part_0.jsonl"), str(tmp_path / "corpus" / "part_1.jsonl"))


@pytest.fixture
def begun(corpus, tmp_path, monkeypatch) -> dict[str, Any]:
    """Options of a preparation that came to its middle."""
    settings = {"data_files": corpus, "out_dir": tmp_path / "out", "seq_len": 16, "shard_rows": 20, "buffer_docs": 8}
    settings |= {"batch_docs": 6, "checkpoint_seconds": 1e-9, "workers": 0}
    interrupt(settings, monkeypatch)
    return settings


def interrupt(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C after the eighth message."""
    seen = 0

    def update(_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == 8:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(run_module.Progress, "update", update)
        with pytest.raises(run_module.Interrupted, match="SIGINT after 48 documents"):
            prepare(PrepareOptions(**settings))


def test_every_option_is_known_to_change_bytes_or_not_to():
    names = {field.name for field in dataclasses.fields(PrepareOptions)}
    assert names - set(OTHER) - set(FREE_VALUES) - COMPARED_ITSELF == set()
    assert set(FREE) == set(FREE_VALUES) | COMPARED_ITSELF


@pytest.mark.parametrize("name", OTHER)
def test_an_option_that_changes_bytes_is_refused_with_both_values_on_aligned_lines(begun, tmp_path, name):
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    changed = PrepareOptions(**begun | OTHER[name])
    old, new = getattr(PrepareOptions(**begun), name), getattr(changed, name)
    old = (
        PrepareOptions(**begun).val_by_hash if name == "val_fraction" else old
    )  # half a percent where none is asked for
    assert old != new
    with pytest.raises(UserError) as refused:
        prepare(changed)
    if name not in REFUSED_EARLIER:
        lines = [line for line in str(refused.value).splitlines() if "  ->  " in line]
        assert any(line.split() == [name, *str(old).split(), "->", *str(new).split()] for line in lines)
        assert len({line.index("  ->  ") for line in lines}) == 1
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}


def test_options_that_change_no_bytes_are_free(begun, tmp_path):
    prepare(PrepareOptions(**begun | FREE_VALUES))
    undisturbed = {name: begun[name] for name in ("data_files", "seq_len", "shard_rows", "buffer_docs")}
    assert contents(tmp_path / "out") == prepared(tmp_path / "alone", **undisturbed)


def test_changed_source_files_are_refused_by_name_and_size(begun, corpus):
    with open(corpus[1], "a") as file:
        file.write('{"text": "more"}\n')
    size = Path(corpus[1]).stat().st_size
    with pytest.raises(DataSetError, match="was begun with another source") as refused:
        prepare(PrepareOptions(**begun))
    (line,) = [line for line in str(refused.value).splitlines() if "  ->  " in line]
    assert line.split()[0] == "part_1.jsonl"
    assert f"{size - 17:,} bytes" in line.split("->")[0]
    assert f"{size:,} bytes" in line.split("->")[1]


def test_a_file_changed_without_another_size_is_refused(begun, corpus):
    path = Path(corpus[0])
    path.write_bytes(path.read_bytes().replace(b"the", b"teh", 1))
    with pytest.raises(DataSetError, match=r"part_0.jsonl +[\d,]+ bytes, changed .* -> +[\d,]+ bytes, changed"):
        prepare(PrepareOptions(**begun))


def test_a_link_to_nothing_that_was_mended_is_a_changed_file(begun, corpus, tmp_path):
    source = {"data_files": (*corpus, str(tmp_path / "corpus" / "part_2.jsonl")), "on_bad_row": "skip"}
    (tmp_path / "corpus" / "part_2.jsonl").symlink_to("nowhere")
    settings = begun | source | {"out_dir": tmp_path / "linked", "seq_len": 65534}
    with pytest.raises(UserError, match="not one full row"):
        prepare(PrepareOptions(**settings))
    (tmp_path / "corpus" / "nowhere").write_text('{"text": "more"}\n')
    with pytest.raises(DataSetError, match=r"part_2.jsonl +0 bytes unreadable +-> +17 bytes, changed"):
        prepare(PrepareOptions(**settings))


def test_more_and_fewer_files_are_refused(begun, corpus, tmp_path):
    with pytest.raises(DataSetError, match=r"part_1.jsonl +[\d,]+ bytes, changed .* -> +no such file"):
        prepare(PrepareOptions(**begun | {"data_files": corpus[:1]}))
    (tmp_path / "corpus" / "part_2.jsonl").write_text('{"text": "more"}\n')
    with pytest.raises(DataSetError, match=r"part_2.jsonl +no such file +-> +17 bytes"):
        prepare(PrepareOptions(**begun | {"data_files": (*corpus, str(tmp_path / "corpus" / "part_2.jsonl"))}))
    with pytest.raises(
        DataSetError, match=r"order of files +part_0.jsonl, part_1.jsonl +-> +part_1.jsonl, part_0.jsonl"
    ):
        prepare(PrepareOptions(**begun | {"data_files": corpus[::-1]}))


def test_another_revision_or_etag_is_told_from_the_first():
    from bosrow.prepare.same_run import check_same
    from bosrow.sources.source import HubSource, SourceFile

    def source(revision: str, etag: str) -> HubSource:
        file = SourceFile(path="a.parquet", name="a.parquet", size=9, mark=etag)
        return HubSource(
            format="parquet", files=(file,), text_field="text", id_field=None, dataset="some/one", revision=revision
        )

    then, now = source("1111", "aaaa"), source("2222", "bbbb")
    with pytest.raises(DataSetError) as refused:
        check_same(Path("out"), {"source": then.fingerprint}, {"source": now.fingerprint}, then, now)
    lines = [line.split() for line in str(refused.value).splitlines() if "  ->  " in line]
    assert ["source", "revision", "1111", "->", "2222"] in lines
    assert ["a.parquet", "9", "bytes", "aaaa", "->", "9", "bytes", "bbbb"] in lines


def test_another_vocabulary_is_refused(begun, monkeypatch):
    monkeypatch.setattr(Gpt2Tokenizer, "vocabulary_sha256", "f" * 64)
    with pytest.raises(DataSetError, match=f"vocabulary +[0-9a-f]+ +-> +{'f' * 64}"):
        prepare(PrepareOptions(**begun))


def test_a_state_of_another_schema_is_refused(begun, tmp_path, monkeypatch):
    monkeypatch.setattr("bosrow.dataset.state_file.STATE_SCHEMA", 99)
    with pytest.raises(DataSetError, match=r"has schema 3, this bosrow reads schema 99"):
        prepare(PrepareOptions(**begun))
    monkeypatch.undo()
    monkeypatch.setattr("bosrow.prepare.manifest_content.SCHEMA", 99)
    with pytest.raises(DataSetError, match=r"schema +1 +-> +99"):
        prepare(PrepareOptions(**begun))


def test_a_damaged_state_is_refused_and_fresh_starts_over(begun, tmp_path):
    state = tmp_path / "out" / STATE
    state.write_bytes(state.read_bytes()[:-1])
    with pytest.raises(
        DataSetError, match=r"does not match its own checksum; it was damaged or edited, --fresh starts over"
    ):
        prepare(PrepareOptions(**begun))
    prepare(PrepareOptions(**begun, fresh=True))
    undisturbed = {name: begun[name] for name in ("data_files", "seq_len", "shard_rows", "buffer_docs")}
    assert contents(tmp_path / "out") == prepared(tmp_path / "alone", **undisturbed)


def race(folder: Path, corpus: tuple[str, ...], expected: dict[str, bytes]) -> set[str]:
    """Two runs at once into one folder; what came of them."""
    command = ["--data_files", *corpus, "--seq_len", 32, "--shard_rows", 50, "--buffer_docs", 20, "--workers", 0]
    racers = [start(*command, "--out_dir", folder) for _ in range(2)]
    found = set()
    for racer, other in zip(racers, racers[::-1], strict=True):
        printed, said = racer.communicate(timeout=120)
        if racer.returncode == 0:
            found.add("found it complete" if "is complete" in printed else "won")
        else:
            assert racer.returncode == 1, said
            assert f"is in use by process {other.pid} on {os.uname().nodename} since 20" in said
            found.add("was told who holds it")
    assert "won" in found
    assert contents(folder) == expected
    return found


@pytest.mark.parametrize("races", [2, pytest.param(100, marks=pytest.mark.soak)])
def test_of_two_runs_into_one_folder_one_wins_and_the_other_says_who_holds_it(tmp_path, races):
    write_corpus(tmp_path / "corpus", "jsonl", documents(2000, median_words=60))
    corpus = (str(tmp_path / "corpus" / "part_*"),)
    expected = prepared(tmp_path / "alone", data_files=corpus)
    found = [race(tmp_path / str(number), corpus, expected) for number in range(races)]
    assert any("was told who holds it" in one for one in found)


def test_too_little_room_is_told_before_anything_is_written(corpus, tmp_path, monkeypatch, capsys):
    import shutil

    settings = {"data_files": corpus, "workers": 0, "seq_len": 16, "policy": "keep", "shard_rows": 20}
    prepare(PrepareOptions(out_dir=tmp_path / "whole", **settings))
    written = sum(path.stat().st_size for path in (tmp_path / "whole").glob("*.bin"))
    usage = shutil.disk_usage(tmp_path)
    for free, refused in ((written // 10, True), (written - 1, False)):
        monkeypatch.setattr(
            "bosrow.prepare.disk_space.shutil.disk_usage", lambda _, free=free: usage._replace(free=free)
        )
        capsys.readouterr()
        if refused:
            with pytest.raises(
                run_module.BosrowError, match=r"about 0\.0 MB will be written to .*out, 0\.0 MB are free"
            ):
                prepare(PrepareOptions(out_dir=tmp_path / "out", **settings))
            assert not (tmp_path / "out" / STATE).exists()
        else:
            prepare(PrepareOptions(out_dir=tmp_path / "out", **settings))
            assert "warning: about" in capsys.readouterr().err
            assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_run_killed_while_it_starts_over_leaves_no_complete_looking_data_set(begun, tmp_path, monkeypatch):
    prepare(PrepareOptions(**begun))
    order: list[str] = []
    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda path, **more: (order.append(path.name), unlink(path, **more)))
    prepare(PrepareOptions(**begun, fresh=True))
    assert order[0] == "meta.json"


@pytest.mark.parametrize("name", ["notes.txt", "provenance/mine.parquet", "train_1.bin"])
def test_a_folder_with_files_of_others_is_refused(corpus, tmp_path, name):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    done = bosrow("prepare", "--data_files", *corpus, "--out_dir", tmp_path / "out")
    assert done.returncode == 2
    assert f"holds other files ({name})" in done.stderr
    assert path.read_text() == "mine"
