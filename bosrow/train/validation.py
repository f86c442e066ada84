"""Validation loss over fixed rows of the val split, shared among the ranks.

Promise: the same rows, and to 1e-6 the same loss, for every micro batch size and world size; sums are in float64. If a
signal interrupts validation on any rank, it ends on all. Cost: one forward pass over the chosen rows; the ranks
communicate once, at the end.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from bosrow.dataset.mixture import MixedRows
from bosrow.dataset.rows import Rows
from bosrow.distributed.device import autocast
from bosrow.distributed.world import World
from bosrow.model.gpt2 import GPT2
from bosrow.signals import Stopped


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The mean loss per token in nats, and over how many batches and rows it was measured."""

    loss: float
    batches: int
    rows: int


def chosen_rows(available: int, wanted: int) -> np.ndarray:
    """`wanted` row numbers spread evenly over `available` rows (0: all of them).

    >>> chosen_rows(10, 4).tolist()
    [0, 2, 5, 7]
    """
    count = min(wanted, available) if wanted else available
    return np.arange(count) * available // count


@torch.no_grad()
def validation_loss(
    model: GPT2,
    rows: Rows | MixedRows,
    wanted: int,
    *,
    batch_size: int,
    dtype: torch.dtype,
    world: World,
    stop_asked: Callable[[], bool],  # called before each batch
) -> Validation:
    """The loss of `model` over `wanted` rows of `rows`; called on all ranks, the same result on each.

    Raises Stopped, on every rank, if one of them was asked to stop before it had finished.
    """
    everyone = chosen_rows(len(rows), wanted)
    mine = everyone[world.rank :: world.size]
    total = 0.0
    broken_off = False
    model.eval()
    for start in range(0, len(mine), batch_size):
        if stop_asked():
            broken_off = True
            break
        tokens = torch.from_numpy(rows[mine[start : start + batch_size]].astype(np.int64)).to(world.device)
        with autocast(world.device, dtype):
            losses = model.token_losses(tokens[:, :-1], tokens[:, 1:])
        total += float(losses.cpu().double().sum())
    model.train()
    own = torch.tensor([total, broken_off], dtype=torch.float64, device=_float64_device(world))
    total, broken_off_by = world.sum(own).tolist()
    if broken_off_by:
        raise Stopped
    batches = sum(-(-len(everyone[rank :: world.size]) // batch_size) for rank in range(world.size))
    return Validation(loss=total / (len(everyone) * (rows.row_tokens - 1)), batches=batches, rows=len(everyone))


def _float64_device(world: World) -> torch.device:
    """Where to sum in float64, which Apple GPUs (always a single rank) do not have."""
    return torch.device("cpu") if world.device.type == "mps" else world.device
