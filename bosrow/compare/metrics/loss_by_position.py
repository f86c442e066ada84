"""The loss by place: by position in the row, on each val set, and by distance from a held-out document's start.

Promise: an arm is shown if all its runs were scored on that set. Positions are grouped into bins that grow, so that
the first tokens of a row stand apart. Beside the losses stand the gaps between the arms, where a small one can be seen.
"""

from typing import Any

import numpy as np

from bosrow.compare.grouping import Arm, Pair
from bosrow.compare.result import ArmCurve, GapCurve, LossByDistance, LossByPosition
from bosrow.compare.runs import PRIMARY, JsonObject, TrainedRun, count, numbers
from bosrow.compare.seed_curves import SeedCurve, curve_of_arm, gap_of_pair

POSITION_BINS = 28


def by_position(arms: list[Arm], pairs: list[Pair]) -> list[LossByPosition]:
    """For each val set the loss by position in the row."""
    results = [result for arm in arms for run in arm.runs for result in run.results if result.get("task") == "rows"]
    sets = dict.fromkeys((result.get("rows_of"), result.get("policy")) for result in results)
    found: list[LossByPosition] = []
    for rows_of, policy in sets:
        records = {
            str(run.path): run.result("rows", rows_of=rows_of, policy=policy) for arm in arms for run in arm.runs
        }
        rows = next(count(record.get("rows")) for record in records.values() if record is not None)
        curves = {path: _positions(record) for path, record in records.items()}
        series, gaps = _shown(arms, pairs, curves)
        if series:
            found.append(LossByPosition(rows_of=str(rows_of), policy=str(policy), rows=rows, series=series, gaps=gaps))
    return found


def by_distance(arms: list[Arm], pairs: list[Pair]) -> LossByDistance:
    """The loss of held-out documents by distance from their start."""
    records = {str(run.path): _document_result(run) for arm in arms for run in arm.runs}
    documents = [count(record.get("documents")) for record in records.values() if record is not None]
    curves = {path: _distances(record) for path, record in records.items()}
    series, gaps = _shown(arms, pairs, curves)
    return LossByDistance(documents=documents[0] if documents else None, series=series, gaps=gaps)


def _shown(
    arms: list[Arm], pairs: list[Pair], curves: dict[str, SeedCurve | None]
) -> tuple[list[ArmCurve], list[GapCurve]]:
    """Series of the arms all of whose runs have a curve, and gaps of the pairs of such arms."""
    known: dict[str, list[SeedCurve]] = {}
    for arm in arms:
        own = [curve for run in arm.runs if (curve := curves[str(run.path)]) is not None]
        if len(own) == len(arm.runs):
            known[arm.label] = own
    series = [curve_of_arm(arm, known[arm.label]) for arm in arms if arm.label in known]
    gaps = [
        gap_of_pair(pair, known[pair.control.label], known[pair.treatment.label])
        for pair in pairs
        if pair.control.label in known and pair.treatment.label in known
    ]
    return series, gaps


def _document_result(run: TrainedRun) -> JsonObject | None:
    """The evaluation's result, else the last line that training wrote."""
    return run.result(PRIMARY) or next(reversed(run.evaluated.get(PRIMARY, [])), None)


def _positions(record: JsonObject | None) -> SeedCurve | None:
    values = numbers((record or {}).get("by_position"))
    if not len(values):
        return None
    edges = np.unique(np.geomspace(1, len(values) + 1, POSITION_BINS).astype(int)) - 1
    means = np.add.reduceat(values, edges[:-1]) / np.diff(edges)
    return SeedCurve(np.sqrt((edges[:-1] + 1) * edges[1:].astype(np.float64)), means)


def _distances(record: JsonObject | None) -> SeedCurve | None:
    bins: Any = (record or {}).get("by_distance")
    if not isinstance(bins, list) or not bins or not all(isinstance(one, dict) for one in bins):
        return None
    starts, losses = numbers([one.get("from") for one in bins]), numbers([one.get("loss") for one in bins])
    return SeedCurve(starts, losses) if (starts > 0).all() else None
