"""The validation loss is one figure, whatever the micro batch and however many ranks share its rows."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch
from synthetic import write_data_set
from tiny import TINY, roughened

import bosrow
from bosrow.distributed.world import World
from bosrow.train.validation import chosen_rows, validation_loss


class Shared:
    """Sums over ranks that are threads here; those of real processes are tested in test_distributed.py."""

    def __init__(self, size: int) -> None:
        self.parts: list[torch.Tensor] = []
        self.barrier = Barrier(size)


class ThreadWorld(World):
    """One of several ranks in this process."""

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        shared: Shared = self.__dict__["shared"]
        shared.parts.append(values.clone())
        shared.barrier.wait()
        return torch.stack(shared.parts).sum(0)


def losses_of(rows, *, wanted: int, batch_size: int, world_size: int) -> list[float]:
    shared = Shared(world_size)

    def one(rank: int) -> float:
        world = ThreadWorld(rank=rank, size=world_size, local_rank=rank, device=torch.device("cpu"))
        world.__dict__["shared"] = shared
        found = validation_loss(
            roughened(TINY),
            rows,
            wanted,
            batch_size=batch_size,
            dtype=torch.float32,
            world=world,
            stop_asked=lambda: False,
        )
        assert found.rows == (wanted or len(rows))
        return found.loss

    with ThreadPoolExecutor(world_size) as threads:
        return list(threads.map(one, range(world_size)))


@pytest.fixture(scope="module")
def val_rows(tmp_path_factory):
    return bosrow.open_rows(write_data_set(tmp_path_factory.mktemp("val"), val_rows=53, vocab_size=61), "val")


@pytest.mark.parametrize("wanted", [0, 30])
def test_the_loss_is_the_same_to_1e_6_for_every_micro_batch_and_world_size(val_rows, wanted):
    model, tokens = roughened(TINY), val_rows[chosen_rows(53, wanted)].astype(np.int64)
    x, y = torch.from_numpy(tokens[:, :-1]), torch.from_numpy(tokens[:, 1:])
    with torch.no_grad():
        logits = model(x).double().flatten(0, 1)
    expected = float(torch.nn.functional.cross_entropy(logits, y.flatten()))
    for world_size in (1, 2, 4):
        for batch_size in (1, 3, 8, 64):
            found = losses_of(val_rows, wanted=wanted, batch_size=batch_size, world_size=world_size)
            assert found == pytest.approx([expected] * world_size, abs=1e-6)
