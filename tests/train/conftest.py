"""One small data set for all tests of training."""

import pytest
import torch
from synthetic import write_data_set


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    return write_data_set(tmp_path_factory.mktemp("data"), train_rows=100, val_rows=21, seq_len=16, vocab_size=61)


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)
