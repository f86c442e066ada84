"""One metric of each run, with its source, and how it is found in what runs left behind.

Promise: a metric comes from one source for all runs: the evaluation of their last checkpoints, or what training
evaluated at the last step that all of them share; a run that has neither has no value.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from bosrow.compare.runs import Floats, JsonObject, TrainedRun


class Scores(NamedTuple):
    """Of each item: what it is, and the score as a fraction, such as bits over bytes."""

    items: list[Any]
    numerators: Floats
    denominators: Floats


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number for each run, in `values` by the run's path; NaN where a run has none that is finite."""

    key: str
    title: str
    unit: str
    better: Literal["lower", "higher"] | None
    tested: bool
    values: dict[str, float]
    source: str
    items: int | None = None
    items_of: str = ""
    digits: int = 4
    chance: float | None = None
    warning: str = ""
    scores: Callable[[TrainedRun], Scores | None] | None = None

    def of(self, runs: Iterable[TrainedRun]) -> list[float]:
        """The finite values of `runs`."""
        found = [self.values.get(str(run.path), math.nan) for run in runs]
        return [value for value in found if math.isfinite(value)]


def dotted(record: JsonObject, name: str) -> Any:
    """A field by its dotted name; None if it is not there."""
    value: Any = record
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def matched_step(runs: list[TrainedRun], kind: str) -> int | None:
    """The last step at which all `runs` have a line of type `kind`."""
    common = set.intersection(*({line["step"] for line in run.evaluated.get(kind, [])} for run in runs))
    return max(common, default=None)


def lines_at(runs: list[TrainedRun], kind: str, step: int | None) -> dict[str, JsonObject]:
    """Each run's line of type `kind` at `step`, by path."""
    found = {}
    for run in runs:
        for line in run.evaluated.get(kind, []):
            if line["step"] == step:
                found[str(run.path)] = line
    return found


def agree(records: Iterable[JsonObject], *names: str) -> bool:
    """Whether all `records` agree in the fields `names`."""
    return len({tuple(str(record.get(name)) for name in names) for record in records}) <= 1


def evaluation_source(runs: list[TrainedRun]) -> str:
    steps = sorted({run.results_step for run in runs if run.results_step is not None})
    return f"bosrow eval of the checkpoint at step {', '.join(f'{step:,}' for step in steps)}"


def keys_of(runs: list[TrainedRun], key: Callable[[JsonObject], Any], *tasks: str) -> list[Any]:
    """The different keys of the results of `tasks`, in order of appearance."""
    found = (key(result) for run in runs for result in run.results if result.get("task") in tasks)
    return list(dict.fromkeys(found))


def evaluated_results(runs: list[TrainedRun], task: str, **wanted: Any) -> dict[str, JsonObject]:
    results = {str(run.path): run.result(task, **wanted) for run in runs}
    return {path: result for path, result in results.items() if result is not None}
