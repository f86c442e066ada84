"""The results of `bosrow eval` as a table, summary.json, the items' scores and plots over steps."""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bosrow.evals.benchmark import Result
from bosrow.evals.plots import Point, Series, draw_over_steps
from bosrow.files import replace_file
from bosrow.report.numbers import without_nan

# The figures of each task that the table shows: name in the result, name for people.
FIGURES = {
    "hellaswag": {"accuracy": "acc", "accuracy_norm": "acc_norm"},
    "arc_easy": {"accuracy": "acc", "accuracy_norm": "acc_norm"},
    "winogrande": {"accuracy": "acc"},
    "blimp": {"accuracy": "acc"},
    "ewok": {
        "sum.accuracy": "acc, sum",
        "mean.accuracy": "acc, mean",
        "sum.macro_accuracy": "macro acc, sum",
        "mean.macro_accuracy": "macro acc, mean",
        "sum.paper_score": "paper score, sum",
    },
    "bits_per_byte": {
        "bits_per_byte": "bits/byte",
        "document_bits_per_byte": "bits/byte, mean of documents",
        "loss_per_token": "loss",
    },
    "rows": {"loss": "loss", "loss_without_bos_targets": "loss, BOS targets left out"},
}
UNITS = {"bits_per_byte": "bits per byte", "rows": "nats per token"}  # of plots; accuracy of all others
GROUPS = {"ewok": ("sum", "groups"), "blimp": ("groups",)}  # where a result has accuracies by group, drawn apart


@dataclass(frozen=True)
class Evaluated:
    """A checkpoint and the results on it. `step` is the training step that its name tells, if it does."""

    name: str
    path: Path
    step: int | None
    parameters: int
    vocab_size: int
    context_tokens: int
    results: list[Result]


def distinct_names(paths: tuple[Path, ...]) -> list[str]:
    """The shortest tails of `paths` that differ, with "_" between their parts.

    >>> distinct_names((Path("a/ckpt_final"), Path("b/ckpt_final")))
    ['a_ckpt_final', 'b_ckpt_final']
    """
    absolute = [path.resolve().parts[1:] for path in paths]
    for parts in range(1, max(map(len, absolute)) + 1):
        names = ["_".join(path[-parts:]) for path in absolute]
        if len(set(names)) == len(names):
            break
    return names


def step_of(path: Path) -> int | None:
    """The step in a checkpoint's name, as in ckpt_final_step0020000."""
    found = re.search(r"step_?(\d+)$", path.resolve().name)
    return int(found[1]) if found else None


def summary(evaluated: list[Evaluated], version: str) -> dict[str, Any]:
    """The content of summary.json; numbers that are not finite are null."""
    checkpoints = [{**vars(one), "path": str(one.path)} for one in evaluated]
    return without_nan({"schema": 1, "bosrow_version": version, "checkpoints": checkpoints})


def write_json(path: Path, content: Any) -> None:
    """Replace `path` by `content` as JSON, atomically."""
    replace_file(path, json.dumps(content, indent=1, allow_nan=False).encode() + b"\n")


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    """Replace `path` by one JSON object a line, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, "".join(json.dumps(without_nan(line)) + "\n" for line in lines).encode())


def figure_of(result: Result, name: str) -> Any:
    """A figure by its dotted name; None if it is not there."""
    value: Any = result
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def within(result: Result, keys: Iterable[str]) -> Result:
    """The part of a result below `keys`; empty if it is not there."""
    for key in keys:
        result = result.get(key, {})
    return result


def _title(result: Result) -> str:
    if result["task"] == "rows":
        return f"rows of {result['rows_of']} ({result['policy']})"
    return f"{result['task']} {'with' if result['bos'] else 'without'} BOS"


def print_table(evaluated: list[Evaluated], console: Console) -> None:
    """One line a figure, one column a checkpoint."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("task", "figure"):
        table.add_column(heading, overflow="fold")
    table.add_column("chance", justify="right")
    table.add_column("items", justify="right")
    for one in evaluated:
        table.add_column(one.name, justify="right", overflow="fold")
    remarks = []
    for place, first in enumerate(evaluated[0].results):
        for name, shown in FIGURES[first["task"]].items():
            chance = first.get("chance")
            cells = [_cell(one.results[place], name) for one in evaluated]
            count = first.get("items") or first.get("documents") or first.get("rows")
            table.add_row(_title(first), shown, "" if chance is None else f"{chance:.3f}", f"{count:,}", *cells)
        remarks.append(f"{first['task']} by the rule: {first['rule']}")
        warned: dict[str, list[str]] = {}
        for one in evaluated:
            for text in _warnings(one.results[place]):
                warned.setdefault(f"{_title(first)}: {text}", []).append(one.name)
        remarks += [
            text if len(names) == len(evaluated) else f"{', '.join(names)}: {text}" for text, names in warned.items()
        ]
    console.print(table)
    remarks = list(dict.fromkeys(remarks))
    console.print("± is one standard error.", *remarks, sep="\n", highlight=False, markup=False)


def _cell(result: Result, name: str) -> str:
    value, error = figure_of(result, name), figure_of(result, f"{name}_stderr")
    if value is None or not math.isfinite(value):
        return "not finite"
    return f"{value:.4f}" + (f" ± {error:.4f}" if error is not None and math.isfinite(error) else "")


def _warnings(result: Result) -> list[str]:
    texts = {
        "truncated": "items had a context longer than the model, which was cut on the left",
        "clipped": "items had a choice longer than the model, of which only the end was scored",
        "unscored": "items had a choice without a token to score, whose sum of 0 beats any other",
        "not_finite": "items had a score that is not finite and count as wrong; the model has diverged",
    }
    return [f"{result[name]:,} {text}" for name, text in texts.items() if result.get(name)]


def draw_plots(evaluated: list[Evaluated], folder: Path) -> list[Path]:
    """Plots over training steps, one for each task, where a run has two checkpoints or more."""
    runs: dict[Path, list[Evaluated]] = {}
    for one in evaluated:
        if one.step is not None:
            runs.setdefault(one.path.resolve().parent, []).append(one)
    runs = {path: members for path, members in runs.items() if len(members) > 1}
    drawn = []
    for place, first in enumerate(evaluated[0].results if runs else []):
        task = first["task"]
        figures = {name: shown for name, shown in FIGURES[task].items() if name != "loss_per_token"}
        pictures = {"": {"": _series(runs, place, figures)}}
        for kind, groups in (within(first, GROUPS[task]) if task in GROUPS else {}).items():
            if kind != "paradigm":  # of which there are 67
                pictures[f" by {kind}"] = {
                    name: _series(runs, place, {"accuracy": ""}, (*GROUPS[task], kind, name)) for name in groups
                }
        for suffix, panels in pictures.items():
            title = _title(first) + suffix
            path = folder / (re.sub(r"\W+", "_", title).strip("_") + ".png")
            draw_over_steps(path, title, UNITS.get(task, "accuracy"), panels, chance=first.get("chance"))
            drawn.append(path)
    return drawn


def _series(
    runs: dict[Path, list[Evaluated]], place: int, figures: dict[str, str], keys: tuple[str, ...] = ()
) -> Series:
    """A line for each run and figure below `keys` that has a finite point, labelled with what tells them apart."""
    series: Series = {}
    for name, shown in figures.items():
        for path, members in runs.items():
            points = [_point(one.step or 0, within(one.results[place], keys), name) for one in members]
            label = ": ".join(filter(None, (path.name if len(runs) > 1 else "", shown)))
            if finite := [point for point in points if point is not None]:
                series[label] = finite
    return series


def _point(step: int, result: Result, name: str) -> Point | None:
    value, error = figure_of(result, name), figure_of(result, f"{name}_stderr")
    if value is None or not math.isfinite(value):
        return None
    return step, value, error if error is not None and math.isfinite(error) else 0.0
