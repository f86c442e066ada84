"""Rows of a data set: indexing, location, and what is refused."""

import json
import os
import pickle
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from synthetic import learnable_rows, write_data_set

import bosrow
from bosrow.cli import main
from bosrow.dataset.rows import open_rows
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


def python_with_open_files(limit, program, *arguments):
    """Run a program that may have `limit` files open; what it prints."""
    shell = ["bash", "-c", f'ulimit -n {limit}; exec "$@"', "bash"]
    done = subprocess.run([*shell, sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_data_sets_of_a_process_share_one_budget_of_open_files(tmp_path):
    folders = [write_data_set(tmp_path / str(seed), train_rows=40, shard_rows=1, seed=seed) for seed in range(5)]
    program = """if True:
        import os, sys, numpy as np, bosrow
        splits = [bosrow.open_rows(folder) for folder in sys.argv[1:]]
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(2):
            read = [rows[np.arange(40)].sum(axis=1) for rows in splits]
        print(len(os.listdir("/proc/self/fd")) - before)
        print(*np.concatenate(read))
        """
    opened, sums = python_with_open_files(64, program, *folders).splitlines()
    assert 0 < int(opened) <= 8
    expected = [learnable_rows(40, 17, 61, seed).sum(axis=1) for seed in range(5)]
    assert sums.split() == [str(value) for value in np.concatenate(expected)]


def test_too_few_descriptors_are_a_fault_of_the_machine(data_dir):
    program = """if True:
        import os, sys, bosrow
        from bosrow.errors import MachineError
        rows = bosrow.open_rows(sys.argv[1])
        try:
            while True:
                os.open("/dev/null", os.O_RDONLY)
        except OSError:
            pass
        try:
            rows[0]
        except MachineError as error:
            print(error)
        """
    said = python_with_open_files(64, program, data_dir)
    assert re.search(r"train_000000\.bin cannot be read: Too many open files.*raise the limit with ulimit -n", said)


def test_documents_come_back_from_more_shards_than_files_may_be_open(tmp_path):
    texts = [f"document {number} " + "and more " * (number % 9) for number in range(400)]
    source = tmp_path / "texts.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    commands = []
    for policy in ("crop", "keep"):
        made, again = tmp_path / policy, tmp_path / f"{policy}_again"
        flags = "--seq_len 8 --workers 0 --shard_rows 4"
        prepare = f"prepare --data_files {source} --out_dir {made} --policy {policy} --val_fraction 0 {flags}"
        assert main(prepare.split()) == 0
        assert len(list(made.glob("*.bin"))) > 64
        commands += [f"verify {made}", f"inspect {made}"]
        commands += [f"prepare --from {made} --allow_lossy --out_dir {again} --policy keep {flags}"]
    program = "import sys; from bosrow.cli import main; print([main(command.split()) for command in sys.argv[1:]])"
    assert python_with_open_files(64, program, *commands).endswith("[0, 0, 0, 0, 0, 0]\n")


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system cannot drop a file from its cache")
def test_rows_all_over_a_data_set_cost_the_disk_their_own_pages_alone(tmp_path):
    folder = write_data_set(tmp_path / "data", train_rows=40_000, seq_len=255, shard_rows=20_000)
    for shard in folder.glob("*.bin"):
        with open(shard, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    program = """if True:
        import sys, numpy as np, bosrow
        rows = bosrow.open_rows(sys.argv[1])
        rows[[0, 39_999]]
        def read_bytes():
            return next(int(line.split()[1]) for line in open("/proc/self/io") if line.startswith("read_bytes"))
        before = read_bytes()
        rows[np.random.default_rng(0).integers(0, len(rows), 200)]
        print(read_bytes() - before)
        """
    read = int(python_with_open_files(64, program, folder))
    if read == 0:
        pytest.skip("the temporary files are not on a disk")
    assert read <= 200 * 2 * 4096  # a row of 512 bytes lies on one page, or two


def test_threads_and_forked_processes_read_the_same_rows(data_dir, tokens):
    rows = open_rows(data_dir, "train")
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda row: rows[[row, 63 - row]], [row % 64 for row in range(2000)]))
        child = os.fork()
        if child == 0:
            os._exit(0 if np.array_equal(rows[:], tokens) else 1)
    assert all(np.array_equal(pair, tokens[[row % 64, 63 - row % 64]]) for row, pair in enumerate(found))
    assert os.waitpid(child, 0)[1] == 0


def test_a_data_set_made_anew_in_its_place_is_read_as_it_is_now(tmp_path):
    for seed in (0, 1):
        folder = write_data_set(tmp_path / "data", seed=seed)
        assert np.array_equal(open_rows(folder)[:], learnable_rows(64, 17, 61, seed))


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
    program = "import sys, bosrow; bosrow.open_rows(sys.argv[1])[0]; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program, data_dir], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
