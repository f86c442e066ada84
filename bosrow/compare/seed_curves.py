"""Curves over seeds: an arm's mean and extent, and the gap between two arms with its interval.

A curve is a pair (x, y) of arrays, one for each seed. Points that not all seeds have are left out; where a seed is not
finite there is no mean, but the extent of the others goes on.
"""

from typing import Any

import numpy as np

from bosrow.compare import statistics
from bosrow.compare.grouping import Arm, Pair
from bosrow.compare.runs import Floats

Content = dict[str, Any]
Curve = tuple[Floats, Floats]


def aligned(*sides: list[Curve]) -> tuple[list[float], list[Floats]]:
    """The x that all curves of all sides have, and for each side the values there, (seeds, points)."""
    curves = [dict(zip(x.tolist(), y.tolist(), strict=True)) for side in sides for x, y in side]
    shared = sorted(set.intersection(*map(set, curves))) if curves else []
    values = iter([[curve[at] for at in shared] for curve in curves])
    return shared, [np.array([next(values) for _ in side]) for side in sides]


def extent(arm: Arm, curves: list[Curve]) -> Content:
    """The mean of an arm's seeds, the smallest and the largest."""
    shared, (values,) = aligned(curves)
    empty = not shared
    return {
        "arm": arm.label,
        "seeds": len(curves),
        "x": shared,
        "mean": [] if empty else values.mean(axis=0).tolist(),
        "low": [] if empty else np.fmin.reduce(values, axis=0).tolist(),
        "high": [] if empty else np.fmax.reduce(values, axis=0).tolist(),
    }


def gap(pair: Pair, control: list[Curve], treatment: list[Curve]) -> Content:
    """Treatment minus control along x, with its 95% interval by Welch's t."""
    shared, (first, second) = aligned(control, treatment)
    effect = low = high = np.empty(0)
    if shared:
        effect, low, high, _ = statistics.welch(first.T, second.T)
    return {
        "control": pair.control.label,
        "treatment": pair.treatment.label,
        "x": shared,
        "mean": effect.tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
        "seeds": [len(control), len(treatment)],
    }
