"""What is drawn, and the views at equal tokens and equal documents: the mean of an arm's seeds, and their extent.

Promise: a band reaches from the smallest to the largest seed and assumes nothing; a gap's band is its 95% interval by
Welch's t. Series are thinned to at most 160 points, by means over equal stretches of steps, never by leaving out.
"""

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from bosrow.compare import statistics
from bosrow.compare.figures import PRIMARY
from bosrow.compare.grouping import Arm, Pair
from bosrow.compare.judgement import primary_curve
from bosrow.compare.runs import Floats, Record, Run, number
from bosrow.compare.seen import ArmData

Content = dict[str, Any]
POINTS = 160
TABLE_ROWS = 12
POSITION_BINS = 28


def views(arms: list[Arm], pairs: list[Pair], data: dict[str, ArmData], runs: list[Run]) -> Content:
    """`curves`, `equal_tokens` and `equal_documents`."""
    arms = [arm for arm in arms if arm.runs]
    width = math.ceil(max(len(run.steps.step) for run in runs) / POINTS)
    return {
        "curves": {
            "train_loss": [
                _series(arm, [_binned(run, run.steps.train_loss, width) for run in arm.runs]) for arm in arms
            ],
            "grad_norm": [_series(arm, [_binned(run, run.steps.grad_norm, width) for run in arm.runs]) for arm in arms],
            "primary": [_series(arm, [_curve(run) for run in arm.runs]) for arm in arms],
            "gap": [{"control": p.control.label, "treatment": p.treatment.label, **_gap(p)} for p in pairs],
            "position": _by_position(arms),
            "distance": _by_distance(arms),
        },
        "equal_tokens": equal_tokens(pairs),
        "equal_documents": equal_documents(pairs, data),
    }


def _series(arm: Arm, curves: list[tuple[Floats, Floats]]) -> Content:
    """Mean, smallest and largest of `curves` (x, y), at the x that all of them have.

    Where a seed is not finite there is no mean, but the extent of the others goes on.
    """
    shared = sorted(set.intersection(*(set(x.tolist()) for x, _ in curves))) if curves else []
    values = np.array([[dict(zip(x.tolist(), y.tolist(), strict=True))[at] for at in shared] for x, y in curves])
    empty = not shared
    return {
        "arm": arm.label,
        "seeds": len(curves),
        "x": shared,
        "mean": [] if empty else values.mean(axis=0).tolist(),
        "low": [] if empty else np.fmin.reduce(values, axis=0).tolist(),
        "high": [] if empty else np.fmax.reduce(values, axis=0).tolist(),
    }


def _binned(run: Run, values: Floats, width: int) -> tuple[Floats, Floats]:
    """A run's `values` as means over stretches of `width` steps; x is the end of each, in steps."""
    ends = np.append(np.arange(width, len(values), width), len(values))
    sums = np.add.reduceat(values, np.append(0, ends[:-1]))
    return run.steps.step[ends - 1], sums / np.diff(np.append(0, ends))


def _curve(run: Run) -> tuple[Floats, Floats]:
    curve = primary_curve(run)
    return np.array(list(curve), np.float64), np.array(list(curve.values()), np.float64)


def _gap(pair: Pair) -> Content:
    """The difference over steps with its 95% interval."""
    sides = [[primary_curve(run) for run in arm.runs] for arm in (pair.control, pair.treatment)]
    shared = sorted(set.intersection(*(set(curve) for side in sides for curve in side)))
    found = [statistics.compare(*([curve[step] for curve in side] for side in sides)) for step in shared]
    names = {"mean": "effect", "low": "low", "high": "high"}
    return {
        "x": shared,
        **{name: [getattr(one, field) for one in found] for name, field in names.items()},
        "seeds": [len(side) for side in sides],
    }


def _by_position(arms: list[Arm]) -> list[Content]:
    """For each val set, the loss by position in the row, over bins that grow with the position."""
    found = []
    for rows_of, policy in _row_sets(arms):
        series = []
        for arm in arms:
            results = _results(arm, "rows", rows_of=rows_of, policy=policy)
            curves = [_position_bins(result.get("by_position")) for result in results]
            if curves and all(curve is not None for curve in curves) and len(results) == len(arm.runs):
                series.append(_series(arm, [curve for curve in curves if curve is not None]))
                rows = results[0].get("rows")
        if series:
            found.append({"rows_of": rows_of, "policy": policy, "rows": rows, "series": series})
    return found


def _row_sets(arms: list[Arm]) -> list[tuple[str, str]]:
    results = (result for arm in arms for run in arm.runs for result in run.results if result.get("task") == "rows")
    return list(dict.fromkeys((str(result.get("rows_of")), str(result.get("policy"))) for result in results))


def _results(arm: Arm, task: str, **wanted: Any) -> list[Record]:
    return [result for run in arm.runs if (result := run.result(task, **wanted)) is not None]


def _position_bins(losses: Any) -> tuple[Floats, Floats] | None:
    if not isinstance(losses, list) or not losses:
        return None
    values = np.array([number(loss) for loss in losses])
    edges = np.unique(np.geomspace(1, len(values) + 1, POSITION_BINS).astype(int)) - 1
    means = np.add.reduceat(values, edges[:-1]) / np.diff(edges)
    return np.sqrt((edges[:-1] + 1) * edges[1:].astype(np.float64)), means


def _by_distance(arms: list[Arm]) -> Content:
    """The loss of held-out documents by distance from their start."""
    series = []
    documents = None
    for arm in arms:
        results = _results(arm, PRIMARY) or [
            lines[-1] for run in arm.runs if (lines := run.evaluated.get(PRIMARY, [])) and "by_distance" in lines[-1]
        ]
        curves = [_distance_bins(result.get("by_distance")) for result in results]
        if curves and all(curve is not None for curve in curves) and len(curves) == len(arm.runs):
            series.append(_series(arm, [curve for curve in curves if curve is not None]))
            documents = results[0].get("documents")
    return {"documents": documents, "series": series}


def _distance_bins(bins: Any) -> tuple[Floats, Floats] | None:
    if not isinstance(bins, list) or not all(isinstance(one, dict) for one in bins):
        return None
    return np.array([number(one.get("from")) for one in bins]), np.array([number(one.get("loss")) for one in bins])


def equal_tokens(pairs: list[Pair]) -> list[Content]:
    """The primary figure of the verdict's pair at the same number of tokens, at up to 12 steps of training."""
    if not pairs:
        return []
    pair = pairs[0]
    gap = _gap(pair)
    places = _spread(len(gap["x"]), TABLE_ROWS)
    per_step = pair.control.runs[0].tokens_per_step
    means = [_series(arm, [_curve(run) for run in arm.runs]) for arm in (pair.control, pair.treatment)]
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
