"""The learning rate of each step: a warm-up and a cosine; in a run that was extended, several of them in turn.

Promise: this is pure arithmetic. The rate depends on the step and the options alone.
"""

import math
from dataclasses import dataclass


def learning_rate(step: int, *, peak: float, warmup_steps: int, total_steps: int, final_fraction: float) -> float:
    """The rate of step `step`, counted from 0: linear up to `peak` in the warm-up, then half a cosine.

    The cosine would reach peak * final_fraction at step `total_steps`, one step after the last.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    if step >= total_steps:
        return peak * final_fraction
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * (final_fraction + (1 - final_fraction) * 0.5 * (1 + math.cos(math.pi * progress)))


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A warm-up and a cosine that end at step `max_train_steps`. The fields are the options of these names."""

    max_train_steps: int
    learning_rate: float
    warmup_iters: int
    learning_rate_decay_frac: float


@dataclass(frozen=True)
class Schedule:
    """The learning rate of a run: one stage, or several where a finished run was extended.

    >>> first = Stage(max_train_steps=4, learning_rate=1.0, warmup_iters=2, learning_rate_decay_frac=0.0)
    >>> more = Stage(max_train_steps=6, learning_rate=0.5, warmup_iters=2, learning_rate_decay_frac=0.0)
    >>> [Schedule((first, more)).rate(step) for step in range(6)]
    [0.5, 1.0, 1.0, 0.5, 0.25, 0.5]
    """

    stages: tuple[Stage, ...]

    def rate(self, step: int) -> float:
        """The rate of step `step`, counted from 0. It is computed within the stage that holds the step."""
        begin, stage = self._stage_of(step)
        return learning_rate(
            step - begin,
            peak=stage.learning_rate,
            warmup_steps=stage.warmup_iters,
            total_steps=stage.max_train_steps - begin,
            final_fraction=stage.learning_rate_decay_frac,
        )

    def _stage_of(self, step: int) -> tuple[int, Stage]:
        begin = 0
        for stage in self.stages[:-1]:
            if step < stage.max_train_steps:
                return begin, stage
            begin = stage.max_train_steps
        return begin, self.stages[-1]

    def ends_at(self, step: int) -> bool:
        """Whether a stage ends after `step` steps. What is due at the end of training is due then."""
        return any(step == stage.max_train_steps for stage in self.stages)

    def __str__(self) -> str:
        stage = self.stages[-1]
        begin = self.stages[-2].max_train_steps if len(self.stages) > 1 else 0
        after = f"after step {begin:,}, with the same moments: " if begin else ""
        end = stage.learning_rate * stage.learning_rate_decay_frac
        return (
            f"{after}{stage.warmup_iters:,} steps of warm-up to {stage.learning_rate:g}, "
            f"then a cosine to {end:g} at step {stage.max_train_steps:,}"
        )


def is_due(every: int, step: int, ended: bool) -> bool:
    """Whether something is due after `step`: it is every `every` steps (0: never), and at the end of training."""
    return every > 0 and (ended or step % every == 0)
