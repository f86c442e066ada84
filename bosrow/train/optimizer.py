"""AdamW for a GPT-2, and one optimizer step: accumulation, agreement of all ranks, clipping, update.

Promise: the update of a step depends on its rows alone, not on micro batches or ranks (up to rounding). If a loss or
gradient is not finite on any rank, or a signal interrupts the step on any rank, no rank changes a weight. The host
waits for the device once a step.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch.nn.parallel import DistributedDataParallel

from bosrow.distributed.device import autocast
from bosrow.distributed.world import World
from bosrow.model.gpt2 import GPT2
from bosrow.signals import Stopped
from bosrow.train.train_options import TrainOptions


def make_optimizer(model: GPT2, options: TrainOptions) -> torch.optim.AdamW:
    """Fused AdamW, with weight decay only on matrices and embeddings."""
    decayed = [parameter for parameter in model.parameters() if parameter.dim() >= 2]
    others = [parameter for parameter in model.parameters() if parameter.dim() < 2]
    groups = [{"params": decayed, "weight_decay": options.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=(options.beta1, options.beta2), fused=True)


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """The result of a step, over all ranks."""

    loss: float  # mean over the step's tokens
    last_micro_batch_loss: float
    grad_norm: float  # before clipping
    param_norm: float  # of the weights before the update
    finite: bool  # if not, no weight was changed
    stop_asked: bool  # on any rank, but too late to interrupt the step

    def clipped_grad_norm(self, grad_clip: float) -> float:
        """The gradient's norm after clipping."""
        return min(self.grad_norm, grad_clip) if grad_clip else self.grad_norm


def optimizer_step(
    model: GPT2 | DistributedDataParallel,
    optimizer: torch.optim.Optimizer,
    tokens: tuple[torch.Tensor, torch.Tensor],  # inputs and targets of this rank, (rows, T) each
    *,
    micro_batch_size: int,
    learning_rate: float,
    grad_clip: float,
    dtype: torch.dtype,
    world: World,
    stop_asked: Callable[[], bool],  # called before each micro batch, and before the ranks agree
) -> StepResult:
    """Take one optimizer step on `tokens`, in micro batches; see the module's promise.

    Raises Stopped, on every rank, if a stop is asked for on a rank that has micro batches left. Several ranks exchange
    their gradients in the last micro batch. So a rank computes that one even then, and tells the others afterwards.
    """
    micro_batches = list(zip(*(part.split(micro_batch_size) for part in tokens), strict=True))
    losses = []
    broken_off = False
    for number, (x, y) in enumerate(micro_batches, start=1):
        exchanges = isinstance(model, DistributedDataParallel) and number == len(micro_batches)
        if not exchanges and (broken_off or stop_asked()):
            broken_off = True
            continue
        with model.no_sync() if isinstance(model, DistributedDataParallel) and not exchanges else nullcontext():
            with autocast(world.device, dtype):
                loss = model(x, y)
            (loss / len(micro_batches)).backward()
        losses.append(loss.detach())
    if broken_off and world.size == 1:
        optimizer.zero_grad(set_to_none=True)
        raise Stopped
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    gradients = [parameter.grad for parameter in parameters]
    grad_norm = torch.nn.utils.get_total_norm(gradients)
    if grad_clip:
        torch.nn.utils.clip_grads_with_norm_(parameters, grad_clip, grad_norm)
    signs = [torch.full_like(grad_norm, float(sign)) for sign in (broken_off, stop_asked())]
    own = torch.stack([torch.stack(losses).mean(), losses[-1], (~grad_norm.isfinite()).float(), *signs])
    shared = world.sum(own)
    param_norm = torch.nn.utils.get_total_norm([parameter.detach() for parameter in parameters])
    # The host waits for the device only here: it must know that the gradients are finite before they are used.
    norms = torch.stack([grad_norm, param_norm])
    loss_sum, last_sum, bad, broken_off_by, asked_by, grad, param = torch.cat([shared, norms]).tolist()
    if broken_off_by:
        optimizer.zero_grad(set_to_none=True)
        raise Stopped
    finite = math.isfinite(loss_sum) and not bad
    if finite:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return StepResult(
        loss=loss_sum / world.size,
        last_micro_batch_loss=last_sum / world.size,
        grad_norm=grad,
        param_norm=param,
        finite=finite,
        stop_asked=asked_by > 0,
    )
