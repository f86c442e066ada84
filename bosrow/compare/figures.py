"""The figures of a run that arms are compared by: one number a run, and where there are some the scores of each item.

Promise: a figure comes from one source for all runs: the evaluation of their last checkpoints, or what training
evaluated at the last step that all of them share; a run that has neither has no value. Figures that are outcomes
(`tested`) are compared with a test; the others describe (each arm's training loss is on rows of its own).
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bosrow.compare.runs import Floats, Record, Run, count, number, numbers

PRIMARY = "bits_per_byte"
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
AFTER_WARMUP = ("grad_spread", "grad_median", "clipped")
ROW_FIELDS = ("logprob", "tokens", "bos_logprob", "bos_targets")
LAST_SHARE = 0.05  # of the steps, whose mean training loss is a run's last

Scores = tuple[list[Any], Floats, Floats]  # of each item: what it is, numerator, denominator


@dataclass(frozen=True, kw_only=True)
class Figure:
    """`values` holds one number for each run, by name of its path; NaN where a run has none that is finite."""

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
    scores: Callable[[Run], Scores | None] | None = None

    def of(self, runs: Iterable[Run]) -> list[float]:
        """The finite values of `runs`."""
        found = [self.values.get(str(run.path), math.nan) for run in runs]
        return [value for value in found if math.isfinite(value)]


def figures_of(runs: list[Run]) -> list[Figure]:
    """All figures of `runs`, the primary one first."""
    return [*_held_out(runs), *_losses(runs), *_rows(runs), *_benchmarks(runs), *_training(runs)]


def dotted(record: Record, name: str) -> Any:
    """A field by its dotted name; None if it is not there."""
    value: Any = record
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def matched_step(runs: list[Run], kind: str) -> int | None:
    """The last step at which all `runs` have a line of type `kind`."""
    common = set.intersection(*({line["step"] for line in run.evaluated.get(kind, [])} for run in runs))
    return max(common, default=None)


def lines_at(runs: list[Run], kind: str, step: int | None) -> dict[str, Record]:
    """Each run's line of type `kind` at `step`, by path."""
    found = {}
    for run in runs:
        for line in run.evaluated.get(kind, []):
            if line["step"] == step:
                found[str(run.path)] = line
    return found


def _same(records: Iterable[Record], *names: str) -> bool:
    """Whether all `records` agree in the fields `names`."""
    return len({tuple(str(record.get(name)) for name in names) for record in records}) <= 1


def _held_out(runs: list[Run]) -> list[Figure]:
    """The primary figure, without values if neither source has any; and the same with documents of equal weight."""
    results = {str(run.path): run.result(PRIMARY) for run in runs}
    step = matched_step(runs, PRIMARY)
    trained = lines_at(runs, PRIMARY, step)
    evaluated = {path: result for path, result in results.items() if result is not None}
    use_evaluation = len(evaluated) == len(runs) or (evaluated and not trained)
    records = evaluated if use_evaluation else trained
    source = _evaluation_source(runs) if use_evaluation else f"evaluated in training, step {step:,}" if step else "none"
    first = next(iter(records.values()), {})
    warning = ""
    if not _same(records.values(), "documents", "bytes", "tokens"):
        warning = "the runs were scored on different held-out documents"
    elif not _same(records.values(), "window", "stride"):
        warning = "the runs were scored with windows of different lengths"
    elif use_evaluation and len({run.results_step for run in runs if run.results}) > 1:
        warning = "the evaluated checkpoints are of different steps"
    measures: list[tuple[str, str, Callable[[Run], Scores | None]]] = [
        (PRIMARY, "held-out bits per byte", _document_scores),
        ("document_bits_per_byte", "held-out bits per byte, mean of documents", _scores_of_each_document),
    ]
    return [
        Figure(
            key=key,
            title=title,
            unit="bits/byte",
            better="lower",
            tested=True,
            values={path: number(record.get(key)) for path, record in records.items()},
            source=source,
            items=count(first.get("documents")),
            items_of="documents",
            digits=5,
            warning=warning,
            scores=scores if use_evaluation else None,
        )
        for key, title, scores in measures
        if key == PRIMARY or any(key in record for record in records.values())
    ]


def _evaluation_source(runs: list[Run]) -> str:
    steps = sorted({run.results_step for run in runs if run.results_step is not None})
    return f"bosrow eval of the checkpoint at step {', '.join(f'{step:,}' for step in steps)}"


def _document_scores(run: Run) -> Scores | None:
    lines = run.items("items_bits_per_byte.jsonl")
    if not lines:
        return None
    bits = np.array([-number(line.get("logprob")) / math.log(2) for line in lines])
    return [line.get("document") for line in lines], bits, np.array([number(line.get("bytes")) for line in lines])


def _scores_of_each_document(run: Run) -> Scores | None:
    found = _document_scores(run)
    if found is None:
        return None
    documents, bits, sizes = found
    return documents, np.divide(bits, sizes, out=np.zeros_like(bits), where=sizes > 0), (sizes > 0).astype(np.float64)


def _losses(runs: list[Run]) -> list[Figure]:
    """Training loss and validation loss: on rows of the arm's own data, so they describe and decide nothing."""
    train = {str(run.path): last_loss(run) for run in runs}
    found = [
        Figure(
            key="train_loss",
            title="training loss, last 5% of steps",
            unit="nats/token",
            better="lower",
            tested=False,
            values=train,
            source="each arm on its own rows",
        )
    ]
    step = matched_step(runs, "val_loss")
    if step is not None:
        lines = lines_at(runs, "val_loss", step)
        counts = [count(line.get("val_rows")) for line in lines.values()]
        found.append(
            Figure(
                key="val_loss",
                title=f"validation loss at step {step:,}",
                unit="nats/token",
                better="lower",
                tested=False,
                values={path: number(line.get("val_loss")) for path, line in lines.items()},
                source="each arm on its own val rows",
                items=counts[0] if len(set(counts)) == 1 else None,
                items_of="rows",
            )
        )
    return found


def last_loss(run: Run) -> float:
    """The mean training loss of a run's last steps; NaN if one of them was not finite."""
    return float(run.steps.train_loss[-max(1, round(LAST_SHARE * len(run.steps.step))) :].mean())


def _rows(runs: list[Run]) -> list[Figure]:
    """The loss on each val set that `bosrow eval --rows` read, with and without BOS among the targets."""
    keys = _keys(runs, lambda result: (result.get("rows_of"), result.get("policy")), "rows")
    found = []
    for rows_of, policy in keys:
        records = _evaluated(runs, "rows", rows_of=rows_of, policy=policy)
        first = next(iter(records.values()))
        same = _same(records.values(), "rows", "bos_targets")
        for name, what, tested in (
            ("loss_without_bos_targets", ", BOS targets left out", True),
            ("loss", "", False),
        ):
            found.append(
                Figure(
                    key=f"rows.{rows_of}.{policy}.{name}",
                    title=f"loss on {policy} val rows ({rows_of}){what}",
                    unit="nats/token",
                    better="lower",
                    tested=tested and same,
                    values={path: number(record.get(name)) for path, record in records.items()},
                    source=_evaluation_source(runs),
                    items=count(first.get("rows")),
                    items_of="rows",
                    warning="" if same else "the runs were scored on different rows",
                    scores=_row_scores(str(rows_of), without_bos=tested),
                )
            )
    return found


def _row_scores(rows_of: str, *, without_bos: bool) -> Callable[[Run], Scores | None]:
    """The function that reads each row's nats and targets."""

    def read(run: Run) -> Scores | None:
        if Path(rows_of).name != rows_of:  # names a file of the evaluation's folder and no other
            return None
        lines = run.items(f"items_rows_{rows_of}.jsonl")
        if not lines:
            return None
        table = {name: numbers([line.get(name) for line in lines]) for name in ROW_FIELDS}
        nats, targets = -table["logprob"], table["tokens"]
        if without_bos:
            nats, targets = nats + table["bos_logprob"], targets - table["bos_targets"]
        return [line.get("row") for line in lines], nats, targets

    return read


def _keys(runs: list[Run], key: Callable[[Record], Any], *tasks: str) -> list[Any]:
    """The different keys of the results of `tasks`, in order of appearance."""
    found = (key(result) for run in runs for result in run.results if result.get("task") in tasks)
    return list(dict.fromkeys(found))


def _evaluated(runs: list[Run], task: str, **wanted: Any) -> dict[str, Record]:
    results = {str(run.path): run.result(task, **wanted) for run in runs}
    return {path: result for path, result in results.items() if result is not None}


def _benchmarks(runs: list[Run]) -> list[Figure]:
    """Every benchmark with and without BOS; only the setting that is the task's own is tested."""
    found = []
    keys = _keys(runs, lambda result: (result.get("task"), result.get("bos")), *OWN_BOS)
    for task, bos in keys:
        records = _evaluated(runs, task, bos=bos)
        found += _figures_of_task(task, bos is True, records, _evaluation_source(runs), _scores_of(task, bos is True))
    for task in ("hellaswag", "ewok"):
        step = matched_step(runs, task)
        if step is not None and not any(evaluated == task for evaluated, _ in keys):
            records = lines_at(runs, task, step)
            bos = next(iter(records.values())).get("bos") is True
            found += _figures_of_task(task, bos, records, f"evaluated in training, step {step:,}", None)
    return found


def _figures_of_task(
    task: str,
    bos: bool,
    records: dict[str, Record],
    source: str,
    scores: Callable[[str], Callable[[Run], Scores | None] | None] | None,
) -> list[Figure]:
    first = next(iter(records.values()))
    same = _same(records.values(), "items", "num_examples", "rule", "bos")
    return [
        Figure(
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


def _scores_of(task: str, bos: bool) -> Callable[[str], Callable[[Run], Scores | None] | None]:
    """For each measure of a task, the function that reads whether each item was right; None where it cannot tell."""

    def of(measure: str) -> Callable[[Run], Scores | None] | None:
        if task == "ewok":
            return lambda run: _ewok_scores(run, bos, measure.partition(".")[0])
        rule = "sum" if measure == "accuracy" else "token"

        def read(run: Run) -> Scores | None:
            result = run.result(task, bos=bos)
            if rule == "token" and (result is None or result.get("norm") != "token"):
                return None  # a rule by characters, which the items do not hold
            return _choice_scores(run.items(f"items_{task}.jsonl", bos), rule)

        return read

    return of


def _choice_scores(lines: list[Record], rule: str) -> Scores | None:
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
    return [line.get("item") for line in lines], np.array(right, np.float64), np.ones(len(lines))


def _ewok_scores(run: Run, bos: bool, measure: str) -> Scores | None:
    lines = run.items("ewok_items.jsonl", bos)
    if not lines:
        return None
    right = [number(dotted(line, f"{measure}.m")) > 0 for line in lines]
    return [line.get("item") for line in lines], np.array(right, np.float64), np.ones(len(lines))


def _training(runs: list[Run]) -> list[Figure]:
    """How training went: stability of the gradient, and speed."""
    rows: list[tuple[str, str, str, Literal["lower", "higher"] | None, bool, Callable[[Run], float], int]] = [
        ("grad_spread", "gradient norm, 99th percentile over median", "ratio", "lower", True, gradient_spread, 3),
        ("grad_median", "gradient norm before clipping, median", "L2", None, False, gradient_median, 3),
        ("clipped", "share of steps clipped", "share", "lower", False, clipped_share, 4),
        (
            "skipped",
            "steps that were not finite",
            "steps",
            "lower",
            False,
            lambda run: float(run.steps.skipped.sum()),
            0,
        ),
        ("tokens_per_second", "tokens per second, median", "tokens/s", "higher", False, speed, 0),
    ]
    return [
        Figure(
            key=key,
            title=title,
            unit=unit,
            better=better,
            tested=tested,
            values={str(run.path): value(run) for run in runs},
            source="each step of scalars.jsonl" + (", after the warm-up" if key in AFTER_WARMUP else ""),
            digits=digits,
        )
        for key, title, unit, better, tested, value, digits in rows
    ]


def after_warmup(run: Run, values: Floats) -> Floats:
    """`values`, one a step, of the steps after the warm-up; all if there are none."""
    after = values[run.steps.step > number(run.options.get("warmup_iters"))]
    return after if len(after) else values


def _finite(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def gradient_median(run: Run) -> float:
    """The median of the gradient's norm before clipping."""
    values = _finite(after_warmup(run, run.steps.grad_norm))
    return float(np.median(values)) if len(values) else math.nan


def gradient_spread(run: Run) -> float:
    """The 99th percentile of the gradient's norm over its median: 1 is calm, and spikes make it grow."""
    values = _finite(after_warmup(run, run.steps.grad_norm))
    return float(np.quantile(values, 0.99) / np.median(values)) if len(values) and np.median(values) else math.nan


def clipped_share(run: Run) -> float:
    """The share of steps whose gradient was clipped."""
    limit = number(run.options.get("grad_clip"))
    values = after_warmup(run, run.steps.grad_norm)
    return float((values > limit).mean()) if limit else 0.0


def speed(run: Run) -> float:
    """The median of tokens per second over all ranks."""
    values = _finite(run.steps.tokens_per_second)
    return float(np.median(values)) if len(values) else math.nan
