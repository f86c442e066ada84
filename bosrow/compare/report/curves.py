"""What is drawn, and the views at equal tokens and equal documents: the mean of an arm's seeds, and their extent.

Promise: a band reaches from the smallest to the largest seed and assumes nothing; a gap's band is its 95% interval by
Welch's t. Series are thinned to at most 160 points, by means over equal stretches of steps, never by leaving out.
"""

import math
from dataclasses import asdict

import numpy as np

from bosrow.compare import statistics
from bosrow.compare.exposure import ArmData
from bosrow.compare.grouping import Arm, Pair
from bosrow.compare.metrics.loss_by_position import by_distance, by_position
from bosrow.compare.runs import Floats, Run
from bosrow.compare.seed_curves import Content, Curve, extent, gap
from bosrow.compare.verdict import primary_curve

POINTS = 160
TABLE_ROWS = 12


def views(arms: list[Arm], pairs: list[Pair], data: dict[str, ArmData], runs: list[Run]) -> Content:
    """`curves`, `equal_tokens` and `equal_documents`."""
    arms = [arm for arm in arms if arm.runs]
    width = math.ceil(max(len(run.steps.step) for run in runs) / POINTS)
    return {
        "curves": {
            "train_loss": [
                extent(arm, [_binned(run, run.steps.train_loss, width) for run in arm.runs]) for arm in arms
            ],
            "grad_norm": [extent(arm, [_binned(run, run.steps.grad_norm, width) for run in arm.runs]) for arm in arms],
            "primary": [extent(arm, [_curve(run) for run in arm.runs]) for arm in arms],
            "gap": [_gap(pair) for pair in pairs],
            "position": by_position(arms, pairs),
            "distance": by_distance(arms, pairs),
        },
        "equal_tokens": equal_tokens(pairs),
        "equal_documents": equal_documents(pairs, data),
    }


def _binned(run: Run, values: Floats, width: int) -> Curve:
    """A run's `values` as means over stretches of `width` steps; x is the end of each, in steps."""
    ends = np.append(np.arange(width, len(values), width), len(values))
    sums = np.add.reduceat(values, np.append(0, ends[:-1]))
    return run.steps.step[ends - 1], sums / np.diff(np.append(0, ends))


def _curve(run: Run) -> Curve:
    curve = primary_curve(run)
    return np.array(list(curve), np.float64), np.array(list(curve.values()), np.float64)


def _gap(pair: Pair) -> Content:
    return gap(pair, *([_curve(run) for run in arm.runs] for arm in (pair.control, pair.treatment)))


def equal_tokens(pairs: list[Pair]) -> list[Content]:
    """The primary figure of the verdict's pair at the same number of tokens, at up to 12 steps of training."""
    if not pairs:
        return []
    pair = pairs[0]
    gap = _gap(pair)
    places = _spread(len(gap["x"]), TABLE_ROWS)
    per_step = pair.control.runs[0].tokens_per_step
    means = [extent(arm, [_curve(run) for run in arm.runs]) for arm in (pair.control, pair.treatment)]
    values = [dict(zip(side["x"], side["mean"], strict=True)) for side in means]
    return [
        {
            "step": gap["x"][place],
            "tokens": gap["x"][place] * per_step,
            "control": values[0][gap["x"][place]],
            "treatment": values[1][gap["x"][place]],
            "effect": gap["mean"][place],
            "low": gap["low"][place],
            "high": gap["high"][place],
        }
        for place in places
    ]


def _spread(count: int, most: int) -> list[int]:
    """Up to `most` of the numbers below `count`, evenly spaced, the last one always."""
    if count <= most:
        return list(range(count))
    return sorted({round(place) for place in np.linspace(0, count - 1, most)})


def equal_documents(pairs: list[Pair], data: dict[str, ArmData]) -> list[Content]:
    """The primary figure where the arms of a pair have seen as many documents; interpolated between evaluations."""
    return [
        {"control": pair.control.label, "treatment": pair.treatment.label, **_at_equal_documents(pair, data)}
        for pair in pairs
    ]


def _at_equal_documents(pair: Pair, data: dict[str, ArmData]) -> Content:
    arms = (pair.control, pair.treatment)
    for arm in arms:
        if data[arm.label].problem:
            return {"problem": f"the data of {arm.label} is not known: {data[arm.label].problem}"}
        if any(len(primary_curve(run)) < 2 for run in arm.runs):
            return {"problem": "training evaluated no bits per byte along the way (--heldout and --heldout_every do)"}
    ends = [int(data[arm.label].seen[str(run.path)].documents[-1]) for arm in arms for run in arm.runs]
    target = min(ends)
    values, steps = [], []
    for arm in arms:
        found = [_at_documents(run, data[arm.label], target) for run in arm.runs]
        values.append([value for value, _ in found])
        steps.append(float(np.mean([step for _, step in found])))
    if not all(math.isfinite(value) for side in values for value in side):
        return {"problem": f"{target:,} documents are seen before the first evaluation of a run"}
    return {
        "problem": "",
        "documents": target,
        "control_step": steps[0],
        "treatment_step": steps[1],
        "control_value": float(np.mean(values[0])),
        "treatment_value": float(np.mean(values[1])),
        **asdict(statistics.compare(*values)),
    }


def _at_documents(run: Run, data: ArmData, target: int) -> tuple[float, float]:
    """(bits per byte, step) where `run` had seen `target` documents; NaN before its first evaluation."""
    steps, values = _curve(run)
    documents = data.seen[str(run.path)].documents
    step = float(np.searchsorted(documents, target))
    return float(np.interp(step, steps, values, left=math.nan)), step
