"""Cross entropy of a linear head over a large vocabulary, without ever holding all logits.

GPT-2's logits are its largest tensor: 10 rows of 1,024 tokens make 2 GB of them in fp32, and the usual
loss keeps three such. Here the head and the loss are computed a few hundred tokens at a time; the gradients of each
piece are computed at once and its logits freed. Promise: the same loss and gradients as `F.cross_entropy`
on the full logits, to rounding. Cost: one gradient of the head's weight held from forward to backward;
no additional matrix product.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

MIN_CHUNK = 256  # tokens a piece; below this, matrix products become inefficient
TILE = 1 << 14  # words whose gradients stand a second time in low precision


def _chunks(hidden: torch.Tensor) -> range:
    """First tokens of the pieces. One of C tokens keeps logits as small as the weight itself, (V, C)."""
    return range(0, hidden.shape[0], max(MIN_CHUNK, hidden.shape[1]))


def _log_probabilities(hidden: torch.Tensor, weight: torch.Tensor, vocab_size: int) -> torch.Tensor:
    """fp32 log-probabilities (n, V) of `hidden` (n, C); rows of `weight` (V, C) from vocab_size on get none."""
    logits = (hidden @ weight.t()).float()
    logits[:, vocab_size:] = float("-inf")
    return torch.log_softmax(logits, dim=1)


class _LinearCrossEntropy(torch.autograd.Function):
    """Mean loss in forward, with the gradients; backward only scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,  # (N, C)
        weight: torch.Tensor,  # (V, C)
        targets: torch.Tensor,  # (N,)
        vocab_size: int,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        tokens = hidden.shape[0]
        low_hidden, low_weight = hidden.to(dtype), weight.to(dtype)
        loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
        hidden_grad = torch.empty_like(hidden)
        weight_grad = None
        starts = _chunks(hidden)
        for start in starts:
            piece = slice(start, min(start + starts.step, tokens))
            answers = targets[piece, None]
            log_p = _log_probabilities(low_hidden[piece], low_weight, vocab_size)
            loss -= log_p.gather(1, answers).sum()
            logits_grad = log_p.exp_()  # d(loss)/d(logits) = (p - onehot) / N
            logits_grad.scatter_add_(1, answers, torch.full_like(answers, -1, dtype=logits_grad.dtype))
            logits_grad = logits_grad.div_(tokens).to(dtype)
            del log_p  # in another dtype it would stay beside its copy
            if weight_grad is None:  # only now, when the first log-probabilities have gone
                weight_grad = torch.zeros_like(weight)
            hidden_grad[piece] = logits_grad @ low_weight
            if dtype == weight.dtype:
                weight_grad.addmm_(logits_grad.t(), low_hidden[piece])
            else:  # sums over pieces stay in the weight's own precision
                for grad, columns in zip(weight_grad.split(TILE), logits_grad.split(TILE, dim=1), strict=True):
                    grad += columns.t() @ low_hidden[piece]
        ctx.save_for_backward(hidden_grad, weight_grad)
        return loss.div_(tokens)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None, None]:
        hidden_grad, weight_grad = ctx.saved_tensors
        return hidden_grad.mul_(scale), weight_grad.mul_(scale), None, None, None


def linear_cross_entropy(
    hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, vocab_size: int
) -> torch.Tensor:
    """Mean cross entropy of `targets` (N,) under `hidden` (N, C) @ `weight` (V, C) transposed: an fp32 scalar.

    Only the first `vocab_size` rows of `weight` are words. Under autocast the matrix products run in its dtype.
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    with torch.autocast(device, enabled=False):
        return _LinearCrossEntropy.apply(hidden, weight, targets, vocab_size, dtype)


@torch.no_grad()
def token_losses(hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, vocab_size: int) -> torch.Tensor:
    """Cross entropy of each target (N,) in nats, fp32, a few hundred logits at a time."""
    losses = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
    starts = _chunks(hidden)
    for start in starts:
        piece = slice(start, start + starts.step)
        log_p = _log_probabilities(hidden[piece], weight, vocab_size)
        losses[piece] = F.nll_loss(log_p, targets[piece], reduction="none")
    return losses
