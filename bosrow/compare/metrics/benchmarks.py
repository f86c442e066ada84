"""The metrics of the benchmarks of language: each with and without BOS, and whether each item was right."""

from collections.abc import Callable

import numpy as np

from bosrow.compare.metrics.metric import (
    Metric,
    Scores,
    agree,
    dotted,
    evaluated_results,
    evaluation_source,
    keys_of,
    lines_at,
    matched_step,
)
from bosrow.compare.runs import JsonObject, TrainedRun, count, number, numbers

OWN_BOS = {"hellaswag": False, "arc_easy": False, "winogrande": False, "blimp": True, "ewok": True}
TITLES = {
    "hellaswag": "HellaSwag",
    "arc_easy": "ARC easy",
    "winogrande": "WinoGrande",
    "blimp": "BLiMP",
    "ewok": "EWoK",
}
MEASURES = {
    "ewok": {"sum.accuracy": "sum", "mean.accuracy": "mean"},
    "hellaswag": {"accuracy": "acc", "accuracy_norm": "acc_norm"},
    "arc_easy": {"accuracy": "acc", "accuracy_norm": "acc_norm"},
    "winogrande": {"accuracy": "acc"},
    "blimp": {"accuracy": "acc"},
}


def benchmark_metrics(runs: list[TrainedRun]) -> list[Metric]:
    """Every benchmark with and without BOS; only the setting that is the task's own is tested."""
    found = []
    keys = keys_of(runs, lambda result: (result.get("task"), result.get("bos")), *OWN_BOS)
    for task, bos in keys:
        records = evaluated_results(runs, task, bos=bos)
        found += _metrics_of_task(task, bos is True, records, evaluation_source(runs), _scores_of(task, bos is True))
    for task in ("hellaswag", "ewok"):
        step = matched_step(runs, task)
        if step is not None and not any(evaluated == task for evaluated, _ in keys):
            records = lines_at(runs, task, step)
            bos = next(iter(records.values())).get("bos") is True
            found += _metrics_of_task(task, bos, records, f"evaluated in training, step {step:,}", None)
    return found


def _metrics_of_task(
    task: str,
    bos: bool,
    records: dict[str, JsonObject],
    source: str,
    scores: Callable[[str], Callable[[TrainedRun], Scores | None] | None] | None,
) -> list[Metric]:
    first = next(iter(records.values()))
    same = agree(records.values(), "items", "num_examples", "rule", "bos")
    return [
        Metric(
            key=f"{task}.{'bos' if bos else 'no_bos'}.{name}",
            title=f"{TITLES[task]} {shown}, {'with' if bos else 'without'} BOS",
            unit="share right",
            better="higher",
            tested=same and bos == OWN_BOS[task],
            values={path: number(dotted(record, name)) for path, record in records.items()},
            source=source,
            items=count(first.get("items") or first.get("num_examples")),
            items_of="items",
            chance=number(first.get("chance")),
            warning="" if same else "the runs were scored on different items or by different rules",
            scores=scores(name) if scores is not None else None,
        )
        for name, shown in MEASURES[task].items()
        if dotted(first, name) is not None
    ]


def _scores_of(task: str, bos: bool) -> Callable[[str], Callable[[TrainedRun], Scores | None] | None]:
    """For each measure of a task, the function that reads whether each item was right; None where it cannot tell."""

    def of(measure: str) -> Callable[[TrainedRun], Scores | None] | None:
        if task == "ewok":
            return lambda run: _ewok_scores(run, bos, measure.partition(".")[0])
        rule = "sum" if measure == "accuracy" else "token"

        def read(run: TrainedRun) -> Scores | None:
            result = run.result(task, bos=bos)
            if rule == "token" and (result is None or result.get("norm") != "token"):
                return None  # a rule by characters, which the items do not hold
            return _choice_scores(run.items(f"items_{task}.jsonl", bos), rule)

        return read

    return of


def _choice_scores(lines: list[JsonObject], rule: str) -> Scores | None:
    if not lines:
        return None
    right = []
    for line in lines:
        values, tokens = numbers(line.get("logprobs")), numbers(line.get("tokens"))
        if rule == "token":
            if len(tokens) != len(values):
                return None
            values = values / np.maximum(tokens, 1)
        right.append(bool(len(values) and np.isfinite(values).all() and int(np.argmax(values)) == line.get("label")))
    return Scores([line.get("item") for line in lines], np.array(right, np.float64), np.ones(len(lines)))


def _ewok_scores(run: TrainedRun, bos: bool, measure: str) -> Scores | None:
    lines = run.items("ewok_items.jsonl", bos)
    if not lines:
        return None
    right = [number(dotted(line, f"{measure}.m")) > 0 for line in lines]
    return Scores([line.get("item") for line in lines], np.array(right, np.float64), np.ones(len(lines)))
