"""One matrix that is both embedding and head, with one gradient for both uses.

Autograd would make two gradients of the size of GPT-2's largest matrix, one for each use, and hold both at the end of
the backward pass. Here the embedding's gradient, which concerns a few words only, is added to the head's in place.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable


class _TiedEmbedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.save_for_backward(tokens)
        return F.embedding(tokens, weight), weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, states_grad: torch.Tensor, weight_grad: torch.Tensor) -> tuple[None, torch.Tensor]:
        (tokens,) = ctx.saved_tensors
        return None, weight_grad.index_add_(0, tokens.flatten(), states_grad.flatten(0, -2))


def tied_embedding(tokens: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """States (..., C) of `tokens` (...) by `weight` (V, C), and `weight` for the head that is tied to it.

    The head must be `linear_cross_entropy`, or another that makes a gradient of its own for the weight.
    """
    return _TiedEmbedding.apply(tokens, weight)
