"""The ranks of a run: which one this process is, how they exchange values, and what happens when one is gone.

Promise: one process needs no set-up; under torchrun, ranks exchange tensors alone (no pickled objects),
and a rank that dies or hangs ends the others with a message instead of blocking them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist

from bosrow.distributed.device import choose_device, prepare_device
from bosrow.distributed.ranks import local_rank_and_size, rank_and_size
from bosrow.distributed.rendezvous import store_of_this_start
from bosrow.errors import MachineError, OptionError


@dataclass(frozen=True, kw_only=True)
class World:
    """This process among the ranks of a run."""

    rank: int
    size: int
    local_rank: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this rank writes files and talks."""
        return self.rank == 0

    def say(self, text: str) -> None:
        """Print `text` on the main rank; the others are silent."""
        if self.is_main:
            print(text, flush=True)

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """`values` summed over all ranks, in place, without waiting for the device."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def any(self, value: bool) -> bool:
        """Whether it is true on any rank."""
        return bool(self.sum(torch.tensor(float(value), device=self.device)))

    def sum_array(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The elementwise sum of `values` over all ranks, on every rank."""
        if self.size == 1:  # where the device may have no float64
            return values
        return self.sum(torch.from_numpy(values).to(self.device)).cpu().numpy()

    def from_main(self, values: list[int]) -> list[int]:
        """The main rank's `values`, on every rank."""
        shared = torch.tensor(values, dtype=torch.int64, device=self.device)
        if self.size > 1:
            dist.broadcast(shared, src=0)
        return shared.tolist()

    def bytes_from_main(self, data: bytes) -> bytes:
        """The main rank's `data` (at least one byte), on every rank."""
        if self.size == 1:
            return data
        (size,) = self.from_main([len(data)])
        shared = torch.empty(size, dtype=torch.uint8, device=self.device)
        if self.is_main:
            shared.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        dist.broadcast(shared, src=0)
        return shared.cpu().numpy().tobytes()

    def smallest(self, value: int) -> int:
        """The smallest of the ranks' values."""
        shared = torch.tensor(value, dtype=torch.int64, device=self.device)
        if self.size > 1:
            dist.all_reduce(shared, op=dist.ReduceOp.MIN)
        return int(shared)

    def wait_for_all(self) -> None:
        """Return when every rank has arrived here."""
        self.smallest(0)


@contextmanager
def joined_world(device: str, timeout_seconds: float) -> Iterator[World]:
    """Join the ranks that torchrun started, or be a world of one.

    A collective that fails, since another rank died or did not come within the timeout, is a MachineError.
    """
    rank, size = rank_and_size()
    local_rank, local_size = local_rank_and_size()
    chosen = choose_device(device, local_rank, local_size)
    prepare_device(chosen)
    world = World(rank=rank, size=size, local_rank=local_rank, device=chosen)
    if size == 1:
        yield world
        return
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise OptionError(
            f"this is rank {rank} of {size}, but {missing[0]} is not set; start several ranks with torchrun "
            "(under Slurm: srun --ntasks-per-node=1 torchrun ...), or set RANK=0 WORLD_SIZE=1 for a run of its own"
        )
    port = os.environ["MASTER_PORT"]
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise OptionError(f"MASTER_PORT is {port!r}; a port from 1 to 65535 is required")
    timeout = timedelta(seconds=timeout_seconds)
    try:
        store = store_of_this_start(rank, size, timeout)
        dist.init_process_group(
            "nccl" if chosen.type == "cuda" else "gloo",
            store=store,
            rank=-1 if store is None else rank,
            world_size=-1 if store is None else size,
            timeout=timeout,
            device_id=chosen if chosen.type == "cuda" else None,
        )
        yield world
    except RuntimeError as error:
        if "EADDRINUSE" in str(error):
            raise MachineError(
                f"rank {rank} of {size}: MASTER_PORT {port} is in use by another process of this machine; "
                "give another one (torchrun --master-port), or let torchrun choose with --standalone"
            ) from error
        if not _is_lost_peer(error):
            raise
        raise MachineError(
            f"rank {rank} of {size}: another rank died, or did not answer within {timeout_seconds:g} seconds; "
            "its own message tells why. The same command goes on from the last checkpoint "
            f"(torchrun --max-restarts=N does so by itself). [{str(error).splitlines()[0][:200]}]"
        ) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _is_lost_peer(error: RuntimeError) -> bool:
    """Whether a collective failed; gloo raises plain RuntimeErrors, so their text has to tell."""
    if isinstance(error, dist.DistError):
        return True
    text = str(error).lower()
    return any(sign in text for sign in ("gloo", "nccl", "connection closed", "connection reset", "timed out"))
