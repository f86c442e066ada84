"""Curves over seeds: an arm's mean and extent, and the gap between two arms with its interval.

Points that not all seeds have are left out. Where a seed is not finite there is no mean, but the extent of the others
goes on.
"""

from typing import NamedTuple

import numpy as np

from bosrow.compare import statistics
from bosrow.compare.grouping import Arm, Pair
from bosrow.compare.result import ArmCurve, GapCurve
from bosrow.compare.runs import PRIMARY, Floats, TrainedRun, number


class SeedCurve(NamedTuple):
    """Values of one run along x."""

    x: Floats
    y: Floats


class _Aligned(NamedTuple):
    """The x that all curves of all sides have, and for each side the values there, (seeds, points)."""

    x: list[float]
    values: list[Floats]


def _aligned(*sides: list[SeedCurve]) -> _Aligned:
    curves = [[dict(zip(x.tolist(), y.tolist(), strict=True)) for x, y in side] for side in sides]
    every = [curve for side in curves for curve in side]
    shared = sorted(set.intersection(*map(set, every))) if every else []
    return _Aligned(shared, [np.array([[curve[at] for at in shared] for curve in side]) for side in curves])


def curve_of_arm(arm: Arm, curves: list[SeedCurve]) -> ArmCurve:
    """The mean of an arm's seeds, the smallest and the largest."""
    shared, (values,) = _aligned(curves)
    return ArmCurve(
        arm=arm.label,
        seeds=len(curves),
        x=shared,
        mean=values.mean(axis=0).tolist() if shared else [],
        low=np.fmin.reduce(values, axis=0).tolist() if shared else [],
        high=np.fmax.reduce(values, axis=0).tolist() if shared else [],
    )


def gap_of_pair(pair: Pair, control: list[SeedCurve], treatment: list[SeedCurve]) -> GapCurve:
    """Treatment minus control along x, with its 95% interval by Welch's t."""
    shared, (first, second) = _aligned(control, treatment)
    found = statistics.welch(first.T, second.T) if shared else statistics.WelchTest(*[np.empty(0)] * 4)
    return GapCurve(
        control=pair.control.label,
        treatment=pair.treatment.label,
        x=shared,
        mean=found.effect.tolist(),
        low=found.low.tolist(),
        high=found.high.tolist(),
        seeds=(len(control), len(treatment)),
    )


def primary_by_step(run: TrainedRun) -> dict[int, float]:
    """Bits per byte by step, as training evaluated them."""
    return {line["step"]: number(line.get(PRIMARY)) for line in run.evaluated.get(PRIMARY, [])}


def primary_curve(run: TrainedRun) -> SeedCurve:
    """The same as a curve."""
    found = primary_by_step(run)
    return SeedCurve(np.array(list(found), np.float64), np.array(list(found.values()), np.float64))


def primary_gap(pair: Pair) -> GapCurve:
    """The difference of the primary metric over steps."""
    control, treatment = ([primary_curve(run) for run in arm.runs] for arm in (pair.control, pair.treatment))
    return gap_of_pair(pair, control, treatment)
