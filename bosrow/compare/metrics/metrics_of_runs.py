"""The metrics of a run that arms are compared by: one number a run, and where there are some the scores of each item.

Promise: metrics that are outcomes (`tested`) are compared with a test; the others describe (each arm's training
loss is on rows of its own). Where a metric comes from: metric.py.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from bosrow.compare.metrics.benchmarks import benchmark_metrics
from bosrow.compare.metrics.metric import (
    Metric,
    Scores,
    agree,
    evaluated_results,
    evaluation_source,
    keys_of,
    lines_at,
    matched_step,
)
from bosrow.compare.runs import PRIMARY, Floats, TrainedRun, count, number, numbers

AFTER_WARMUP = ("grad_spread", "grad_median", "clipped")
ROW_FIELDS = ("logprob", "tokens", "bos_logprob", "bos_targets")
LAST_SHARE = 0.05  # of the steps, whose mean training loss is a run's last


def metrics_of(runs: list[TrainedRun]) -> list[Metric]:
    """All metrics of `runs`, the primary one first."""
    return [*_held_out(runs), *_losses(runs), *_rows(runs), *benchmark_metrics(runs), *_training(runs)]


def _held_out(runs: list[TrainedRun]) -> list[Metric]:
    """The primary metric, which has no values if neither source has any; and the mean of documents of equal weight."""
    step = matched_step(runs, PRIMARY)
    trained = lines_at(runs, PRIMARY, step)
    evaluated = evaluated_results(runs, PRIMARY)
    use_evaluation = len(evaluated) == len(runs) or (evaluated and not trained)
    records = evaluated if use_evaluation else trained
    source = evaluation_source(runs) if use_evaluation else f"evaluated in training, step {step:,}" if step else "none"
    first = next(iter(records.values()), {})
    warning = ""
    if not agree(records.values(), "documents", "bytes", "tokens"):
        warning = "the runs were scored on different held-out documents"
    elif not agree(records.values(), "window", "stride"):
        warning = "the runs were scored with windows of different lengths"
    elif use_evaluation and len({run.results_step for run in runs if run.results}) > 1:
        warning = "the evaluated checkpoints are of different steps"
    measures: list[tuple[str, str, Callable[[TrainedRun], Scores | None]]] = [
        (PRIMARY, "held-out bits per byte", _document_scores),
        ("document_bits_per_byte", "held-out bits per byte, mean of documents", _scores_of_each_document),
    ]
    return [
        Metric(
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


def _document_scores(run: TrainedRun) -> Scores | None:
    lines = run.items("items_bits_per_byte.jsonl")
    if not lines:
        return None
    bits = np.array([-number(line.get("logprob")) / math.log(2) for line in lines])
    sizes = np.array([number(line.get("bytes")) for line in lines])
    return Scores([line.get("document") for line in lines], bits, sizes)


def _scores_of_each_document(run: TrainedRun) -> Scores | None:
    found = _document_scores(run)
    if found is None:
        return None
    documents, bits, sizes = found
    each = np.divide(bits, sizes, out=np.zeros_like(bits), where=sizes > 0)
    return Scores(documents, each, (sizes > 0).astype(np.float64))


def _losses(runs: list[TrainedRun]) -> list[Metric]:
    """Training loss and validation loss: on rows of the arm's own data, so they describe and decide nothing."""
    train = {str(run.path): last_loss(run) for run in runs}
    found = [
        Metric(
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
            Metric(
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


def last_loss(run: TrainedRun) -> float:
    """The mean training loss of a run's last steps; NaN if one of them was not finite."""
    return float(run.steps.train_loss[-max(1, round(LAST_SHARE * len(run.steps.step))) :].mean())


def _rows(runs: list[TrainedRun]) -> list[Metric]:
    """The loss on each val set that `bosrow eval --rows` read, with and without BOS among the targets."""
    keys = keys_of(runs, lambda result: (result.get("rows_of"), result.get("policy")), "rows")
    found = []
    for rows_of, policy in keys:
        records = evaluated_results(runs, "rows", rows_of=rows_of, policy=policy)
        first = next(iter(records.values()))
        same = agree(records.values(), "rows", "bos_targets")
        for name, what, tested in (
            ("loss_without_bos_targets", ", BOS targets left out", True),
            ("loss", "", False),
        ):
            found.append(
                Metric(
                    key=f"rows.{rows_of}.{policy}.{name}",
                    title=f"loss on {policy} val rows ({rows_of}){what}",
                    unit="nats/token",
                    better="lower",
                    tested=tested and same,
                    values={path: number(record.get(name)) for path, record in records.items()},
                    source=evaluation_source(runs),
                    items=count(first.get("rows")),
                    items_of="rows",
                    warning="" if same else "the runs were scored on different rows",
                    scores=_row_scores(str(rows_of), without_bos=tested),
                )
            )
    return found


def _row_scores(rows_of: str, *, without_bos: bool) -> Callable[[TrainedRun], Scores | None]:
    """The function that reads each row's nats and targets."""

    def read(run: TrainedRun) -> Scores | None:
        if Path(rows_of).name != rows_of:  # names a file of the evaluation's folder and no other
            return None
        lines = run.items(f"items_rows_{rows_of}.jsonl")
        if not lines:
            return None
        table = {name: numbers([line.get(name) for line in lines]) for name in ROW_FIELDS}
        nats, targets = -table["logprob"], table["tokens"]
        if without_bos:
            nats, targets = nats + table["bos_logprob"], targets - table["bos_targets"]
        return Scores([line.get("row") for line in lines], nats, targets)

    return read


def _training(runs: list[TrainedRun]) -> list[Metric]:
    """How training went: stability of the gradient, and speed."""

    def metric(
        key: str,
        title: str,
        unit: str,
        better: Literal["lower", "higher"] | None,
        value: Callable[[TrainedRun], float],
        *,
        digits: int,
        tested: bool = False,
    ) -> Metric:
        return Metric(
            key=key,
            title=title,
            unit=unit,
            better=better,
            tested=tested,
            values={str(run.path): value(run) for run in runs},
            source="each step of scalars.jsonl" + (", after the warm-up" if key in AFTER_WARMUP else ""),
            digits=digits,
        )

    spread = "gradient norm, 99th percentile over median"
    return [
        metric("grad_spread", spread, "ratio", "lower", gradient_spread, digits=3, tested=True),
        metric("grad_median", "gradient norm before clipping, median", "L2", None, gradient_median, digits=3),
        metric("clipped", "share of steps clipped", "share", "lower", clipped_share, digits=4),
        metric("skipped", "steps that were not finite", "steps", "lower", skipped_steps, digits=0),
        metric("tokens_per_second", "tokens per second, median", "tokens/s", "higher", speed, digits=0),
    ]


def skipped_steps(run: TrainedRun) -> float:
    """How many steps changed no weight, since they were not finite."""
    return float(run.steps.skipped.sum())


def after_warmup(run: TrainedRun, values: Floats) -> Floats:
    """`values`, one a step, of the steps after the warm-up; all if there are none."""
    after = values[run.steps.step > number(run.options.get("warmup_iters"))]
    return after if len(after) else values


def _finite(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def gradient_median(run: TrainedRun) -> float:
    """The median of the gradient's norm before clipping."""
    values = _finite(after_warmup(run, run.steps.grad_norm))
    return float(np.median(values)) if len(values) else math.nan


def gradient_spread(run: TrainedRun) -> float:
    """The 99th percentile of the gradient's norm over its median: 1 where the gradient is calm; spikes raise it."""
    values = _finite(after_warmup(run, run.steps.grad_norm))
    return float(np.quantile(values, 0.99) / np.median(values)) if len(values) and np.median(values) else math.nan


def clipped_share(run: TrainedRun) -> float:
    """The share of steps whose gradient was clipped."""
    limit = number(run.options.get("grad_clip"))
    values = after_warmup(run, run.steps.grad_norm)
    return float((values > limit).mean()) if limit else 0.0


def speed(run: TrainedRun) -> float:
    """The median of tokens per second over all ranks."""
    values = _finite(run.steps.tokens_per_second)
    return float(np.median(values)) if len(values) else math.nan
