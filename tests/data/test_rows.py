"""Rows of a data set: indexing, location, and what is refused."""

import pickle

import numpy as np
import pytest
from synthetic import learnable_rows, write_data_set

import bosrow
from bosrow.data import rows as rows_module
from bosrow.data.rows import open_rows
from bosrow.errors import DataSetError, OptionError


@pytest.fixture
def data_dir(tmp_path):
    return write_data_set(tmp_path / "data", train_rows=64, seq_len=16, shard_rows=25)


@pytest.fixture
def tokens():
    return learnable_rows(64, 17, 61)


def test_rows_read_like_the_array_they_were_written_from(data_dir, tokens):
    rows = bosrow.open_rows(data_dir, "train")
    assert len(rows) == 64
    assert rows[0].dtype == np.uint16
    assert rows[0].shape == (17,)
    for index in (
        0,
        24,
        25,
        63,
        -1,
        np.int64(40),
        slice(20, 60),
        slice(60, 10, -7),
        slice(5, 5),
        [3, 60, 3, 26, -64],
        [],
    ):
        assert np.array_equal(rows[index], tokens[index]), index


def test_a_batch_comes_in_the_order_asked_for_though_files_are_read_in_theirs(data_dir, tokens):
    shuffled = np.random.default_rng(0).permutation(64)
    assert np.array_equal(open_rows(data_dir, "train")[shuffled], tokens[shuffled])


@pytest.mark.parametrize("index", [64, -65, [0, 64], [1.5], [[1]], [True]])
def test_an_index_that_names_no_row_is_refused(data_dir, index):
    with pytest.raises((IndexError, TypeError)):
        open_rows(data_dir, "train")[index]


def test_a_row_is_located_in_its_shard(data_dir):
    rows = open_rows(data_dir, "train")
    assert [rows.locate(row) for row in (0, 24, 25, 63)] == [
        ("train_000000.bin", 0),
        ("train_000000.bin", 24),
        ("train_000001.bin", 0),
        ("train_000002.bin", 13),
    ]


def test_starts_are_where_bos_stands(data_dir, tokens):
    rows = open_rows(data_dir, "train")
    assert rows.starts(3).tolist() == np.flatnonzero(tokens[3] == 0).tolist()
    assert rows.starts(3)[0] == 0


def test_many_shards_do_not_need_many_open_files(tmp_path, monkeypatch):
    monkeypatch.setattr(rows_module, "MAX_OPEN_SHARDS", 4)
    rows = open_rows(write_data_set(tmp_path / "data", train_rows=30, shard_rows=1), "train")
    expected = learnable_rows(30, 17, 61)
    for _ in range(2):
        assert np.array_equal(rows[np.arange(30)], expected)
        assert len(rows._open) == 4


def test_rows_travel_to_another_process_without_their_maps(data_dir, tokens):
    rows = open_rows(data_dir, "train")
    rows[:]
    assert np.array_equal(pickle.loads(pickle.dumps(rows))[30:40], tokens[30:40])


def test_another_seq_len_is_refused_with_both_shown(data_dir):
    with pytest.raises(OptionError, match=r"seq_len 1024 was asked for, but .* holds rows of seq_len 16"):
        open_rows(data_dir, "train", seq_len=1024)


def test_a_split_that_is_not_there_is_refused(tmp_path):
    data_dir = write_data_set(tmp_path / "data", val_rows=0)
    with pytest.raises(OptionError, match="no rows in split 'val'; it has: train"):
        open_rows(data_dir, "val")


@pytest.mark.parametrize("change", ["truncate", "delete", "replace"])
def test_a_shard_that_changes_while_in_use_is_an_error_and_not_a_crash(data_dir, change):
    rows = open_rows(data_dir, "train")
    rows[0]
    shard = data_dir / "train_000000.bin"
    content = shard.read_bytes()
    if change == "truncate":
        with open(shard, "r+b") as file:
            file.truncate(10)
    elif change == "delete":
        shard.unlink()
    else:
        (data_dir / "new").write_bytes(content[::-1])
        (data_dir / "new").replace(shard)
    with pytest.raises(DataSetError, match=r"train_000000\.bin .*changed while in use"):
        rows[0]


def test_importing_the_package_and_opening_rows_imports_no_torch(data_dir):
    import subprocess
    import sys

    program = "import sys, bosrow; bosrow.open_rows(sys.argv[1])[0]; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program, data_dir], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
