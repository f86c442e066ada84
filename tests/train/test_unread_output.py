"""Output is for people to watch: a reader who leaves ends nothing."""

import os

import pytest
from forked import Forked
from running import QUIET, command, losses, scalars


@pytest.fixture
def pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def read_a_line(pipe):
    """Read one line of what a run says, and leave."""
    with open(pipe) as reader:
        assert reader.readline()


@pytest.mark.parametrize("both", [False, True])
def test_a_run_whose_reader_leaves_goes_on_to_its_end(data_dir, tmp_path, pipe, both):
    """As `bosrow train ... | head -1`, and with 2>&1."""
    line = command(data_dir, tmp_path / "run", f"--max_train_steps 30 {QUIET} --save_every 10")
    errors = tmp_path / "errors"
    errors.touch()
    process = Forked(line, output=pipe, errors=pipe if both else errors)
    read_a_line(pipe)
    assert process.wait(timeout=120) == 0, errors.read_text()
    assert not errors.read_text()
    assert (tmp_path / "run" / "ckpt_final_step0000030").exists()


def test_a_stop_that_nobody_reads_of_ends_with_75(data_dir, tmp_path, pipe):
    run_dir = tmp_path / "run"
    process = Forked(command(data_dir, run_dir, f"--max_train_steps 100000 {QUIET}"), output=pipe, errors=pipe)
    read_a_line(pipe)
    while not scalars(run_dir):
        assert process.poll() is None
    process.terminate()
    assert process.wait(timeout=120) == 75
    assert list(run_dir.glob("ckpt_periodic_*"))
    assert losses(run_dir)


def test_a_full_disk_under_the_log_ends_nothing(data_dir, tmp_path):
    process = Forked(
        command(data_dir, tmp_path, f"--max_train_steps 3 {QUIET}"), output="/dev/full", errors="/dev/full"
    )
    assert process.wait(timeout=120) == 0
    assert len(losses(tmp_path)) == 3
