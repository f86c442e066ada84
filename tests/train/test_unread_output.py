"""Output is for people to watch: a reader who leaves ends nothing."""

import os
import subprocess
import sys

import pytest
from running import QUIET, arguments, losses, scalars


def started(data_dir, run_dir, stdout, stderr, flags):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "bosrow", *arguments(data_dir, run_dir, flags)],
        stdout=stdout,
        stderr=stderr,
        env=environment,
    )


@pytest.mark.parametrize("both", [False, True])
def test_a_run_whose_reader_leaves_goes_on_to_its_end(data_dir, tmp_path, both):
    """As `bosrow train ... | head -1`, and with 2>&1."""
    flags = f"--max_train_steps 30 {QUIET} --save_every 10"
    process = started(data_dir, tmp_path, subprocess.PIPE, subprocess.STDOUT if both else subprocess.PIPE, flags)
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert not errors
    assert (tmp_path / "ckpt_final_step0000030").exists()


def test_a_stop_that_nobody_reads_of_ends_with_75(data_dir, tmp_path):
    process = started(data_dir, tmp_path, subprocess.PIPE, subprocess.STDOUT, f"--max_train_steps 100000 {QUIET}")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    while not scalars(tmp_path):
        assert process.poll() is None
    process.terminate()
    assert process.wait(timeout=120) == 75
    assert list(tmp_path.glob("ckpt_periodic_*"))
    assert losses(tmp_path)


def test_a_full_disk_under_the_log_ends_nothing(data_dir, tmp_path):
    with open("/dev/full", "w") as full:
        process = started(data_dir, tmp_path, full, full, f"--max_train_steps 3 {QUIET}")
        assert process.wait(timeout=120) == 0
    assert len(losses(tmp_path)) == 3
