"""A state file that says what bosrow never writes: one clear error, exit status 2, and nothing touched."""

import json
import os
import random

import numpy as np
import pytest
from corpora import prepared

from bosrow.cli import main
from bosrow.dataset.shard_writer import ShardWriter
from bosrow.dataset.state_file import STATE, read_state, write_state
from bosrow.errors import BadRowError, DataSetError, OptionError

HOSTILE = {
    "position": ["a", [], {"file": 1}, [0, 0, 0, 0], None, [5, 0, 0], [1 << 70, 0, 0], [1, 0, 0], [0, 1 << 70, 0]],
    "taken": [-1, "2", 1.5, 2, 1 << 70],
    "documents": [7, 0, 1.0, 1 << 70],
    "share": ["a", 2, -1, None],
    "seconds": ["a", -1, 10**400, None],
    "text_bytes": ["a", 1 << 70],
    "ledgers": [{}, [], {"train": {"rows": 1, "unheard": 2}, "val": {}}, None],
    "packers": [{}, [], {"train": 5}, {"train": {"policy": []}}],
    "bad_rows_bytes": [-1, 1 << 60, "1"],
    "document_log": [
        {},
        [],
        7,
        {"closed": [{"name": "../../etc/passwd"}], "records": 0, "ids_bytes": 0},
        {"closed": [], "records": 0, "ids_bytes": 0},
        {"closed": [], "records": 1, "ids_bytes": 5},
    ],
    "source": [{}, [], {"files": 5}],
    "identity": [[], 5],
    "engines": [[], "tiktoken", None],
}


LEDGER = {  # of train
    "tokens_read": ["9", 1 << 70, 0],
    "tokens_placed": [0],
    "rows": [1.5, 2, True],
    "cuts": ["x", -1, 1 << 70],
    "documents_read": [0, 5],
    "documents_dropped": ["ab", {"null": "1"}, {"null": 1}],
}
PACKER = {  # of the one packer: where in its state, and what
    ("shards", "rows"): [-1, 1 << 60, "2", None, 0],
    ("shards", "closed"): [
        5,
        [{}],
        [{"name": "../train_000000.bin", "split": "train", "rows": 1, "bytes": 66, "sha256": "0" * 64}],
        [{"name": "train_000001.bin", "split": "train", "rows": 1, "bytes": 66, "sha256": "0" * 64}],
        [{"name": "train_000000.bin", "split": "train", "rows": 1, "bytes": 1 << 60, "sha256": "0" * 64}],
    ],
    ("pieces", "open"): [["../../outside", 1], ["train_000000.bin", -1], ["train_000000.bin", 1 << 60], 5, None],
    ("pieces", "closed"): [[{"name": "/etc/passwd", "rows": 1, "bytes": 1, "sha256": "0" * 64}], [5]],
    ("policy", "waiting"): [None, [[1, 2]], "a", [[99, 5, 0]], [[0, 1 << 70, 0]], [[0, 42, 33]]],
    ("policy", "unfilled"): [
        [],
        [[9, 0, 5, False]],
        [[0, 33, 10, False]],
        [[0, 33, 10.0, True]],
        [[0, 33, 9, True]],
        [[0, 33, 10, True], [0, 33, 10, True]],
    ],
    ("policy", "rows_begun"): ["a", -1, 1.5],
    ("held",): [None, [[0]], 7, [], [[0, 42, 33, 1, -3]], [[0, 42, 33, 1, 1 << 70]], [[9, 42, 33, 1, 42]]],
}


@pytest.fixture
def stopped(tmp_path):
    """A preparation that stopped at a bad row, having written a row; and the flags to go on with it."""
    corpus, out = tmp_path / "a.jsonl", tmp_path / "out"
    corpus.write_text(json.dumps({"text": "water " * 40}) + "\n" + json.dumps({"text": None}) + "\n")
    with pytest.raises(BadRowError):
        prepared(out, data_files=(str(corpus),), policy="keep", val_fraction=0.0, buffer_docs=1)
    flags = ["--policy", "keep", "--val_fraction", "0", "--seq_len", "32", "--shard_rows", "50", "--buffer_docs", "1"]
    return out, ["prepare", *flags, "--data_files", str(corpus), "--out_dir", str(out), "--workers", "0"]


def contents(out):
    return {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name != ".lock"}


def refused(stopped, capsys):
    """What is said when the run is to go on; nothing may change by it."""
    out, command = stopped
    before = contents(out)
    capsys.readouterr()
    assert main(command) == 2
    assert contents(out) == before
    return capsys.readouterr().err


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in HOSTILE.items() for value in values])
def test_a_hostile_state_is_refused_in_one_message(stopped, capsys, name, value):
    out, _ = stopped
    state = read_state(out)
    assert name in state.value
    write_state(out, state.value | {name: value}, [state.tokens])
    told = refused(stopped, capsys)
    assert str(out) in told or "begun with other options" in told


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in LEDGER.items() for value in values])
def test_a_hostile_ledger_is_refused_in_one_message(stopped, capsys, name, value):
    out, _ = stopped
    state = read_state(out)
    assert name in state.value["ledgers"]["train"]
    state.value["ledgers"]["train"][name] = value
    write_state(out, state.value, [state.tokens])
    told = refused(stopped, capsys)
    assert told.count("\n") == 1
    assert f"{STATE} is damaged or was edited" in told


@pytest.mark.parametrize(("place", "value"), [(place, value) for place, values in PACKER.items() for value in values])
def test_a_hostile_packer_is_refused_in_one_message(stopped, capsys, place, value):
    out, _ = stopped
    state = read_state(out)
    inner = state.value["packers"]["train"]
    for name in place[:-1]:
        inner = inner[name]
    assert place[-1] in inner
    inner[place[-1]] = value
    write_state(out, state.value, [state.tokens])
    told = refused(stopped, capsys)
    assert told.count("\n") == 1
    assert str(out) in told


def test_what_the_hostile_values_are_put_into_is_a_state_that_goes_on(stopped):
    """It holds document 0, of 42 tokens, 33 of them in a row; so each refusal is of the one value that was put."""
    out, command = stopped
    state = read_state(out)
    packer = state.value["packers"]["train"]
    assert packer["policy"] == {"waiting": [], "unfilled": [[0, 33, 10, True]], "rows_begun": 1}
    assert packer["held"] == [[0, 42, 33, 1, 42]]
    write_state(out, state.value, [state.tokens])
    assert main([*command, "--on_bad_row", "skip"]) == 0


def test_a_state_that_ends_in_the_middle_of_a_token_is_refused(stopped, capsys):
    out, _ = stopped
    state = read_state(out)
    write_state(out, state.value, [state.tokens, b"x"])
    assert "85 bytes of tokens are no whole number of uint16" in refused(stopped, capsys)


def test_each_of_200_flipped_bytes_of_a_state_is_found(stopped, capsys):
    out, _ = stopped
    data, chosen = (out / STATE).read_bytes(), random.Random(5)
    for _ in range(200):
        place = chosen.randrange(len(data))
        (out / STATE).write_bytes(data[:place] + bytes([data[place] ^ chosen.randrange(1, 256)]) + data[place + 1 :])
        told = refused(stopped, capsys)
        assert told.count("\n") == 1
        assert STATE in told
        assert "--fresh" in told


@pytest.mark.parametrize("size", [0, 1, 40, 1 << 30, (4 << 30) + 1])
def test_a_state_of_another_size_is_refused(stopped, size):
    out, _ = stopped
    os.truncate(out / STATE, 0)
    os.truncate(out / STATE, size)  # a hole of zeros
    with pytest.raises(DataSetError, match=STATE):
        read_state(out)


def test_a_state_that_could_not_be_read_back_is_not_written(stopped, monkeypatch):
    out, _ = stopped
    state, before = read_state(out), contents(out)
    monkeypatch.setattr("bosrow.dataset.state_file.MAX_HEAD_BYTES", len((out / STATE).read_bytes().split(b"\n")[0]))
    with pytest.raises(DataSetError, match="fewer and larger source files"):
        write_state(out, state.value, [state.tokens])
    assert contents(out) == before


def test_a_state_of_more_files_than_fit_64_mebibytes_is_read_back(tmp_path):
    value = {"source": {"files": ["x" * 1000] * 70_000}}
    write_state(tmp_path, value, [])
    assert read_state(tmp_path).value["source"] == value["source"]


def test_a_shard_for_which_there_is_no_name_is_refused(tmp_path):
    writer = ShardWriter(tmp_path, 4, 1, np.dtype("<u2"), split_of=lambda shard: "train")
    writer.closed = [None] * 1_000_000
    writer._name_next()
    writer.next_row()[:] = 0
    writer.row_done()
    with pytest.raises(OptionError, match=r"--shard_rows 1 makes more than 1,000,000 shards"):
        writer.close_shard()
    assert not list(tmp_path.iterdir())
