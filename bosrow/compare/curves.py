"""What is drawn along an axis: each arm's mean of seeds and their extent, and the gaps between arms.

Promise: a band reaches from the smallest to the largest seed and assumes nothing; a gap's band is its 95% interval by
Welch's t. Series are thinned to at most 160 points, by means over equal stretches of steps, never by leaving out.
"""

import math

import numpy as np

from bosrow.compare.grouping import Arm, Pair
from bosrow.compare.metrics.loss_by_position import by_distance, by_position
from bosrow.compare.result import Curves
from bosrow.compare.runs import Floats, TrainedRun
from bosrow.compare.seed_curves import SeedCurve, curve_of_arm, primary_curve, primary_gap

POINTS = 160


def curves_of(arms: list[Arm], pairs: list[Pair], runs: list[TrainedRun]) -> Curves:
    """All curves of the report."""
    arms = [arm for arm in arms if arm.runs]
    width = math.ceil(max(len(run.steps.step) for run in runs) / POINTS)
    return Curves(
        train_loss=[curve_of_arm(arm, [_binned(run, run.steps.train_loss, width) for run in arm.runs]) for arm in arms],
        grad_norm=[curve_of_arm(arm, [_binned(run, run.steps.grad_norm, width) for run in arm.runs]) for arm in arms],
        primary=[curve_of_arm(arm, [primary_curve(run) for run in arm.runs]) for arm in arms],
        gap=[primary_gap(pair) for pair in pairs],
        position=by_position(arms, pairs),
        distance=by_distance(arms, pairs),
    )


def _binned(run: TrainedRun, values: Floats, width: int) -> SeedCurve:
    """A run's `values` as means over stretches of `width` steps; x is the end of each, in steps."""
    ends = np.append(np.arange(width, len(values), width), len(values))
    sums = np.add.reduceat(values, np.append(0, ends[:-1]))
    return SeedCurve(run.steps.step[ends - 1], sums / np.diff(np.append(0, ends)))
