"""The primary metric at equal tokens, and where both arms of a pair have seen as many documents."""

import math
from dataclasses import asdict
from typing import NamedTuple

import numpy as np

from bosrow.compare import statistics
from bosrow.compare.exposure import ArmData
from bosrow.compare.grouping import Pair
from bosrow.compare.result import AtEqualDocuments, AtEqualTokens
from bosrow.compare.runs import TrainedRun
from bosrow.compare.seed_curves import curve_of_arm, primary_by_step, primary_curve, primary_gap

TABLE_ROWS = 12


def equal_tokens(pairs: list[Pair]) -> list[AtEqualTokens]:
    """The verdict's pair at the same number of tokens, at up to 12 steps of training."""
    if not pairs:
        return []
    pair = pairs[0]
    gap = primary_gap(pair)
    per_step = pair.control.runs[0].tokens_per_step
    sides = [curve_of_arm(arm, [primary_curve(run) for run in arm.runs]) for arm in (pair.control, pair.treatment)]
    control, treatment = (dict(zip(side.x, side.mean, strict=True)) for side in sides)
    return [
        AtEqualTokens(
            step=gap.x[place],
            tokens=gap.x[place] * per_step,
            control=control[gap.x[place]],
            treatment=treatment[gap.x[place]],
            effect=gap.mean[place],
            low=gap.low[place],
            high=gap.high[place],
        )
        for place in _spread(len(gap.x), TABLE_ROWS)
    ]


def _spread(count: int, most: int) -> list[int]:
    """Up to `most` of the numbers below `count`, evenly spaced, the last one always."""
    if count <= most:
        return list(range(count))
    return sorted({round(place) for place in np.linspace(0, count - 1, most)})


def equal_documents(pairs: list[Pair], data: dict[str, ArmData]) -> list[AtEqualDocuments]:
    """Each pair where its arms have seen as many documents; interpolated between evaluations."""
    return [_at_equal_documents(pair, data) for pair in pairs]


def _at_equal_documents(pair: Pair, data: dict[str, ArmData]) -> AtEqualDocuments:
    arms = (pair.control, pair.treatment)

    def unknown(problem: str) -> AtEqualDocuments:
        return AtEqualDocuments(control=pair.control.label, treatment=pair.treatment.label, problem=problem)

    for arm in arms:
        if data[arm.label].problem:
            return unknown(f"the data of {arm.label} is not known: {data[arm.label].problem}")
        if any(len(primary_by_step(run)) < 2 for run in arm.runs):
            return unknown("training evaluated no bits per byte along the way (--heldout and --heldout_every do)")
    target = min(int(data[arm.label].seen[str(run.path)].documents[-1]) for arm in arms for run in arm.runs)
    control, treatment = ([_at_documents(run, data[arm.label], target) for run in arm.runs] for arm in arms)
    values = [[point.bits_per_byte for point in side] for side in (control, treatment)]
    steps = [float(np.mean([point.step for point in side])) for side in (control, treatment)]
    if not all(math.isfinite(value) for side in values for value in side):
        return unknown(f"{target:,} documents are seen before the first evaluation of a run")
    return AtEqualDocuments(
        control=pair.control.label,
        treatment=pair.treatment.label,
        problem="",
        documents=target,
        control_step=steps[0],
        treatment_step=steps[1],
        control_value=float(np.mean(values[0])),
        treatment_value=float(np.mean(values[1])),
        **asdict(statistics.compare(*values)),
    )


class _Point(NamedTuple):
    bits_per_byte: float
    step: float


def _at_documents(run: TrainedRun, data: ArmData, target: int) -> _Point:
    """Where `run` had seen `target` documents; NaN before its first evaluation."""
    steps, values = primary_curve(run)
    step = float(np.searchsorted(data.seen[str(run.path)].documents, target))
    return _Point(float(np.interp(step, steps, values, left=math.nan)), step)
