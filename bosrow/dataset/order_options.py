"""The options that decide which rows a training step reads; `train` and `trace` share them and their defaults."""

from dataclasses import dataclass

from bosrow.flags import option


@dataclass(frozen=True, kw_only=True)
class OrderOptions:
    """The seed of the order, and the sizes of a step."""

    seed: int = option(42, group="run", help="seed of the initial weights and the order of rows; below 2^64")
    total_batch_tokens: int = option(491520, group="batch", help="tokens per step, over all ranks")
    micro_batch_size: int = option(10, group="batch", help="rows on one device at once")
    max_train_steps: int = option(20000, group="batch", help="optimizer steps")
