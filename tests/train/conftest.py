"""Training in this process computes with one thread; one undisturbed run on two ranks serves several tests."""

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from running import command, run_ranks


class Whole(NamedTuple):
    """An undisturbed run."""

    flags: str
    run_dir: Path
    output: str


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def two_ranks(data_dir, tmp_path_factory) -> Whole:
    """Twenty steps on two ranks, with all that is recorded of them."""
    flags = "--max_train_steps 20 --micro_batch_size 2 --eval_every 10 --save_every 0 --exposure_every 1"
    run_dir = tmp_path_factory.mktemp("two_ranks") / "run"
    return Whole(flags, run_dir, run_ranks(command(data_dir, run_dir, flags), 2))
