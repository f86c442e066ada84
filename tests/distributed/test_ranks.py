"""Which rank of how many: arguments, else a process group, else torchrun, else a step of Slurm's srun."""

import subprocess
import sys

import pytest

from bosrow.distributed.ranks import local_rank_and_size, rank_and_size
from bosrow.errors import OptionError

NAMES = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "SLURM_PROCID",
    "SLURM_NTASKS",
    "SLURM_STEP_ID",
    "SLURM_STEP_NUM_TASKS",
)
STEP = {"SLURM_PROCID": "3", "SLURM_NTASKS": "8", "SLURM_STEP_ID": "0"}


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def environment(monkeypatch):
    return lambda values: [monkeypatch.setenv(*item) for item in values.items()]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, (0, 1)),
        ({"RANK": "1", "WORLD_SIZE": "2"}, (1, 2)),
        (STEP, (3, 8)),
        (STEP | {"RANK": "1", "WORLD_SIZE": "2"}, (1, 2)),  # srun torchrun
        (STEP | {"SLURM_STEP_NUM_TASKS": "4"}, (3, 4)),  # a step with fewer tasks than its job
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, (0, 1)),  # the shell of sbatch
        (STEP | {"SLURM_STEP_ID": "4294967290", "SLURM_PROCID": "0"}, (0, 1)),  # the shell of salloc
        (STEP | {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, (0, 1)),
    ],
)
def test_torchrun_counts_before_slurm_and_slurm_inside_a_step_alone(environment, values, expected):
    environment(values)
    assert rank_and_size() == expected


def test_arguments_count_before_the_environment(environment):
    environment(STEP | {"RANK": "1", "WORLD_SIZE": "2"})
    assert rank_and_size(2, 3) == (2, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"RANK": "1"}, "RANK is set in the environment, but WORLD_SIZE is not"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is set in the environment, but RANK is not"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK is 2 and WORLD_SIZE is 2"),
        ({"RANK": "one", "WORLD_SIZE": "2"}, "RANK is one and WORLD_SIZE is 2"),
        (STEP | {"SLURM_PROCID": "9"}, "SLURM_PROCID is 9 and SLURM_NTASKS is 8"),
    ],
)
def test_variables_that_name_no_rank_are_refused(environment, values, message):
    environment(values)
    with pytest.raises(OptionError, match=message):
        rank_and_size()


@pytest.mark.parametrize(
    ("rank", "size"), [(5, 2), (-1, 2), (0, 0), (0, -1), (0.5, 2), (True, 2), (None, 2), (1, None)]
)
def test_arguments_that_name_no_rank_are_refused(rank, size):
    with pytest.raises(OptionError, match="rank"):
        rank_and_size(rank, size)


IN_A_GROUP = """
import os, sys
import torch.distributed as dist
import torch.multiprocessing as mp
from bosrow.errors import OptionError
from bosrow.train import make_dataloader

def positions(**options):
    *_, meta = next(iter(make_dataloader(sys.argv[1], "train", 2, 16, with_meta=True, **options)))
    return meta.positions.tolist()

def refused(words, **options):
    try:
        positions(**options)
    except OptionError as error:
        assert words in str(error), error
        return
    raise AssertionError(options)

def main(rank):
    dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
    assert positions() == [rank, rank + 2]
    assert positions(rank=rank, world_size=2) == [rank, rank + 2]
    alone = [dist.new_group([one]) for one in range(2)]
    assert positions(group=alone[rank]) == [0, 1]
    refused("is not in the process group", group=alone[1 - rank])
    refused(f"this process is rank {rank} of 2", rank=1 - rank, world_size=2)
    refused(f"this process is rank {rank} of 2", rank=0, world_size=1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
    assert positions() == [rank, rank + 2]
    os.environ |= {"RANK": "0", "WORLD_SIZE": "1"}
    refused("contradict the initialised process group")
    assert positions(rank=rank, world_size=2) == [rank, rank + 2]
    dist.destroy_process_group()

if __name__ == "__main__":
    mp.spawn(main, nprocs=2)
"""


def test_the_ranks_of_a_process_group_share_the_rows_and_contradictions_are_refused(data_dir, tmp_path):
    (tmp_path / "program.py").write_text(IN_A_GROUP)
    command = [sys.executable, tmp_path / "program.py", data_dir, tmp_path / "meeting"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("values", "expected"),
    [({}, (0, 1)), ({"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, (1, 2)), ({"LOCAL_RANK": "3"}, (3, 1))],
)
def test_the_rank_on_this_machine_is_that_of_torchrun(environment, values, expected):
    environment(values)
    assert local_rank_and_size() == expected


@pytest.mark.parametrize(
    "values", [{"LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "2"}, {"LOCAL_RANK": "one"}, {"LOCAL_WORLD_SIZE": "many"}]
)
def test_a_rank_on_this_machine_that_cannot_be_is_refused(environment, values):
    environment(values)
    with pytest.raises(OptionError, match="LOCAL_RANK from 0 to LOCAL_WORLD_SIZE - 1"):
        local_rank_and_size()
