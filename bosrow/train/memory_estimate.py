"""How much device memory training takes: an estimate before the start, and smaller micro batches if that is not enough.

Promise: the estimate counts what autograd keeps and what the step allocates besides, to within about a tenth (tests
compare it with what torch really keeps). If memory runs out at the start, micro batches become smaller and are
accumulated more often: the same tokens a step, the same result.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch

from bosrow.dataset.batch_plan import BatchPlan
from bosrow.distributed.device import autocast
from bosrow.errors import MachineError
from bosrow.model.cross_entropy import MIN_CHUNK
from bosrow.model.gpt2 import VOCAB_MULTIPLE, ModelConfig

CUDA_CONTEXT = 1 << 30  # driver, cuBLAS workspace and fragmentation


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes on one device."""

    weights: int
    gradients: int
    optimizer_moments: int
    low_precision_weights: int
    activations: int
    head_and_loss: int
    cuda_context: int

    @property
    def total(self) -> int:
        """The sum of all parts."""
        return sum(asdict(self).values())


def activation_bytes(config: ModelConfig, tokens: int, dtype: torch.dtype, *, recompute: bool) -> int:
    """Bytes that autograd keeps of the layers for a micro batch of `tokens` tokens.

    These are vectors of n_embd numbers per token and layer. In fp32 (4 bytes each): the inputs of the two norms, 2. In
    `dtype`, the precision of matrix products: the outputs of the two norms, query, key and value, the output of
    attention, and twice 4 around the activation function, in all 14.
    """
    width = tokens * config.n_embd
    layer = width * (2 * 4 + 14 * dtype.itemsize)
    if recompute:  # the layers' inputs, and one layer at a time
        return config.n_layer * width * 4 + layer
    return config.n_layer * layer


def estimate_memory(
    config: ModelConfig, *, micro_batch_size: int, seq_len: int, dtype: torch.dtype, recompute: bool, cuda: bool
) -> MemoryEstimate:
    """The largest amount of memory that a training step holds at once."""
    padding = (-config.vocab_size) % VOCAB_MULTIPLE * config.n_embd
    weights = 4 * (config.parameters + padding)
    tokens = micro_batch_size * seq_len
    embedding = 4 * config.padded_vocab_size * config.n_embd
    chunk = 2 * 4 * config.padded_vocab_size * min(tokens, max(MIN_CHUNK, config.n_embd))
    return MemoryEstimate(
        weights=weights,
        gradients=weights,
        optimizer_moments=2 * weights,
        low_precision_weights=weights // 2 if dtype != torch.float32 else 0,
        activations=activation_bytes(config, tokens, dtype, recompute=recompute),
        head_and_loss=embedding + chunk + 3 * 4 * tokens * config.n_embd,
        cuda_context=CUDA_CONTEXT if cuda else 0,
    )


def fitting_plan(plan: BatchPlan, attempt: Callable[[int], None]) -> BatchPlan:
    """The first of `plan` and its halvings for which `attempt(micro_batch_size)` does not run out of memory."""
    fitting: BatchPlan | None = plan
    while fitting is not None:
        if _succeeds(attempt, fitting.micro_batch_size):
            return fitting
        fitting = fitting.with_smaller_micro_batch()
    raise MachineError(
        "the device has too little memory for micro batches of a single row; "
        "try --activation_checkpointing, a smaller model, or data with a smaller seq_len"
    )


def _succeeds(attempt: Callable[[int], None], micro_batch_size: int) -> bool:
    # A separate function, so that the exception's traceback, which holds the tensors of the attempt, is freed.
    try:
        attempt(micro_batch_size)
    except torch.OutOfMemoryError:
        return False
    return True


def attempt_step(
    model: torch.nn.Module,
    plan: BatchPlan,
    *,
    vocab_size: int,
    device: torch.device,
    dtype: torch.dtype,
) -> Callable[[int], None]:
    """An attempt for `fitting_plan`: forward and backward on `device`, with memory for the optimizer's moments.

    It takes two micro batches if a step has two: from the second on there are gradients besides the activations.
    """

    def attempt(micro_batch_size: int) -> None:
        torch.cuda.empty_cache()
        moments = [torch.empty_like(parameter) for parameter in model.parameters() for _ in range(2)]
        tokens = torch.arange(micro_batch_size * plan.seq_len, device=device).view(-1, plan.seq_len) % vocab_size
        try:
            for _ in range(min(2, plan.rows_per_rank // micro_batch_size)):
                with autocast(device, dtype):
                    loss = model(tokens, tokens)
                loss.backward()
        finally:
            del moments
            model.zero_grad(set_to_none=True)

    return attempt
