"""A state file that says what bosrow never writes: one clear error, exit status 2, and nothing touched."""

import json
import os
import random

import pytest
from corpora import prepared

from bosrow.cli import main
from bosrow.data.state import STATE, read_state, write_state
from bosrow.errors import BadRowError, DataSetError

HOSTILE = {
    "position": ["a", [], {"file": 1}, [0, 0, 0, 0], None],
    "taken": [-1, "2", 1.5],
    "ledgers": [{}, [], {"train": {"rows": 1, "unheard": 2}, "val": {}}, None],
    "packers": [{}, [], {"train": 5}, {"train": {"policy": []}}],
    "bad_rows_bytes": [-1, 1 << 60, "1"],
    "document_log": [{}, [], 7, {"closed": [{"name": "../../etc/passwd"}], "records": 0, "ids_bytes": 0}],
    "source": [{}, [], {"files": 5}],
    "identity": [[], 5],
    "engines": [[], "tiktoken", None],
}


PACKER = {  # of the one packer: where in its state, and what
    ("shards", "rows"): [-1, 1 << 60, "2", None],
    ("shards", "closed"): [
        5,
        [{}],
        [{"name": "../train_000000.bin", "split": "train", "rows": 1, "bytes": 66, "sha256": "0" * 64}],
        [{"name": "train_000001.bin", "split": "train", "rows": 1, "bytes": 66, "sha256": "0" * 64}],
        [{"name": "train_000000.bin", "split": "train", "rows": 1, "bytes": 1 << 60, "sha256": "0" * 64}],
    ],
    ("pieces", "open"): [["../../outside", 1], ["train_000000.bin", -1], ["train_000000.bin", 1 << 60], 5],
    ("pieces", "closed"): [[{"name": "/etc/passwd", "rows": 1, "bytes": 1, "sha256": "0" * 64}], [5]],
    ("policy", "waiting"): [None, [[1, 2]], "a"],
    ("held",): [None, [[0]], 7],
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
    write_state(out, state.value | {name: value}, [state.tokens])
    told = refused(stopped, capsys)
    assert str(out) in told or "begun with other options" in told


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
