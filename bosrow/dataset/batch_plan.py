"""How the rows of a step are split over ranks and micro batches: pure arithmetic."""

from dataclasses import dataclass

from bosrow.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """One optimizer step: `grad_accum_steps` micro batches of `micro_batch_size` rows on each of `world_size` ranks."""

    seq_len: int
    world_size: int
    micro_batch_size: int
    grad_accum_steps: int

    @property
    def rows_per_rank(self) -> int:
        """Rows that one rank reads in a step."""
        return self.micro_batch_size * self.grad_accum_steps

    @property
    def rows_per_step(self) -> int:
        """Rows of a step over all ranks."""
        return self.rows_per_rank * self.world_size

    @property
    def tokens_per_step(self) -> int:
        """Tokens predicted in a step over all ranks."""
        return self.rows_per_step * self.seq_len

    def with_smaller_micro_batch(self) -> "BatchPlan | None":
        """The same step in micro batches of at most half the size; None if their size is one row."""
        if self.micro_batch_size == 1:
            return None
        return plan_batch(
            total_batch_tokens=self.tokens_per_step,
            micro_batch_size=self.micro_batch_size // 2,
            seq_len=self.seq_len,
            world_size=self.world_size,
        )


def plan_batch(*, total_batch_tokens: int, micro_batch_size: int, seq_len: int, world_size: int) -> BatchPlan:
    """Split a step exactly: the largest micro batches of at most `micro_batch_size` rows that divide a rank's share.

    Raises OptionError, naming the nearest totals that work, if the rows cannot be shared evenly.

    >>> plan_batch(total_batch_tokens=491520, micro_batch_size=10, seq_len=1024, world_size=1).grad_accum_steps
    48
    """
    share = seq_len * world_size  # tokens of one row on each rank
    if total_batch_tokens % share:
        below, above = total_batch_tokens // share * share, -(-total_batch_tokens // share) * share
        nearest = f"{below} or {above}" if below else f"{above}"
        raise OptionError(
            f"--total_batch_tokens {total_batch_tokens} is not a whole number of rows of {seq_len} tokens "
            f"on each of {world_size} rank{'s' * (world_size > 1)}; the nearest that is: {nearest}"
        )
    rows_per_rank = total_batch_tokens // share
    micro = next(size for size in range(min(micro_batch_size, rows_per_rank), 0, -1) if rows_per_rank % size == 0)
    return BatchPlan(
        seq_len=seq_len, world_size=world_size, micro_batch_size=micro, grad_accum_steps=rows_per_rank // micro
    )
