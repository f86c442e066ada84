"""Run folders as `bosrow compare` reads them.

The contract. RUN is what `bosrow train` writes (docs/format.md, "Run folder"):

    RUN/config.json      `options`, `model`, `batch`, and `data` with the fingerprint and the policy. Runs on one data
                         fingerprint are an arm; `options.data_dir` leads to the ledger, where it still exists.
    RUN/scalars.jsonl    losses, gradient norms, speed, and what was evaluated in training

and, where they exist:

    RUN/evaluation/      what `bosrow eval RUN/ckpt_final_stepNNNNNNN --tasks bits_per_byte,rows,hellaswag,...
                         --bos both --heldout HELDOUT --rows PACKED STREAM --out RUN/evaluation` writes:
                         summary.json, and the scores of each document and item. Without it, what training
                         evaluated serves, at the last step that all runs evaluated.
    RUN/arm.json         {"arm": "B", "name": "crop", "group": "main"}: the arm's letter and name. Group
                         "noise_floor" marks the other seeds of the A/A comparison, which count in nothing
                         else. The letters mean A stream, B crop, C stream of exactly what B kept, D keep.
                         Without it an arm is named after its policy.

Promise: nothing is believed that is not there; a folder that is no run is refused by name; a run that diverged, or has
not ended, is read like any other. Every file is untrusted input, read with limits and checked. Cost: one pass over
scalars.jsonl, about 5 microseconds a line; the items of a task are read when asked for.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bosrow.errors import UserError
from bosrow.files import read_untrusted
from bosrow.strict_json import parse_json

Floats = npt.NDArray[np.float64]
JsonObject = dict[str, Any]

EVALUATION = "evaluation"
ARM = "arm.json"
PRIMARY = "bits_per_byte"  # the metric that the verdict is about
GROUPS = ("main", "noise_floor")
LARGEST = 1e60  # squares and fourth powers of numbers below it are finite
MAX_LINE_CHARACTERS = 1 << 22  # of a jsonl file; a line with the losses of 100,000 positions has 2 million


@dataclass(frozen=True)
class Steps:
    """Every optimizer step of a run: arrays of equal length, NaN where a value was not finite."""

    step: Floats
    train_loss: Floats
    grad_norm: Floats
    tokens_per_second: Floats
    skipped: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """One training run. `evaluated` holds the lines of each type that training evaluated, in order of steps."""

    path: Path
    seed: int
    fingerprint: str
    policy: str
    data_dirs: tuple[str, ...]
    arm: str | None
    arm_name: str | None
    group: str
    options: JsonObject
    model: JsonObject
    machine: JsonObject
    tokens_per_step: int
    steps: Steps
    evaluated: dict[str, list[JsonObject]]
    results: list[JsonObject] = field(default_factory=list)
    results_step: int | None = None
    items_dir: Path | None = None

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def last_step(self) -> int:
        """The last step recorded."""
        return int(self.steps.step[-1]) if len(self.steps.step) else 0

    @property
    def finished(self) -> bool:
        """Whether the last step that was asked for is recorded."""
        return self.last_step >= self.options["max_train_steps"]

    @property
    def mixture(self) -> bool:
        """Whether the run read several data sets."""
        return len(self.data_dirs) > 1

    def result(self, task: str, **wanted: Any) -> JsonObject | None:
        """The evaluation's result of `task` whose fields have the values `wanted`."""
        for result in self.results:
            if result.get("task") == task and all(result.get(name) == value for name, value in wanted.items()):
                return result
        return None

    def items(self, name: str, bos: bool | None = None) -> list[JsonObject]:
        """The lines of an evaluation's file of items; none if it is not there."""
        if self.items_dir is None:
            return []
        folders = [self.items_dir]
        if bos is not None:  # below a folder of its own if both settings were scored
            folders.insert(0, self.items_dir / ("bos_yes" if bos else "bos_no"))
        for folder in folders:
            if (folder / name).is_file():
                return list(_lines(folder / name))
        return []


def read_run(path: Path) -> TrainedRun:
    """The run in the folder `path`. Raises UserError if it is none, or if a file of it is damaged."""
    if not path.is_dir():
        raise UserError(f"{path} is not a folder; 'bosrow compare' takes run folders of 'bosrow train'")
    for name in ("config.json", "scalars.jsonl"):
        if not (path / name).is_file():
            raise UserError(
                f"{path} is no run folder: it has no {name}; "
                "'bosrow compare' takes folders of 'bosrow train' with at least one step"
            )
    config = parse_json(read_untrusted(path / "config.json"), str(path / "config.json"))
    get = _Getter(path / "config.json", config)
    for name in ("seed", "max_train_steps", "seq_len"):
        get("options", name, int)
    steps, evaluated = _read_scalars(path / "scalars.jsonl")
    if not len(steps.step):
        raise UserError(f"{path / 'scalars.jsonl'} records no step; let the run take at least one")
    arm = _read_arm(path / ARM)
    evaluation = _read_evaluation(path / EVALUATION)
    return TrainedRun(
        path=path,
        seed=get("options", "seed", int),
        fingerprint=get("data", "fingerprint", str),
        policy=get("data", "policy", str),
        data_dirs=_data_dirs(config),
        arm=arm.get("arm"),
        arm_name=arm.get("name"),
        group=arm.get("group", GROUPS[0]),
        options=get("options", None, dict),
        model=get("model", None, dict),
        machine={name: config.get(name) for name in ("device", "dtype", "versions")}
        | {"world_size": get("batch", None, dict).get("world_size")},
        tokens_per_step=get("batch", "tokens_per_step", int),
        steps=steps,
        evaluated=evaluated,
        results=evaluation.results,
        results_step=evaluation.step,
        items_dir=evaluation.items_dir,
    )


def _data_dirs(config: JsonObject) -> tuple[str, ...]:
    """The data directories as config.json names them: several for a mixture."""
    parts = config["data"].get("data_sets")
    if isinstance(parts, list):
        return tuple(str(part.get("data_dir")) for part in parts if isinstance(part, dict))
    named = config["options"].get("data_dir")
    return (named,) if isinstance(named, str) else ()


class _Getter:
    """Reads typed fields of an untrusted config.json; a failure names file and field."""

    def __init__(self, path: Path, config: JsonObject) -> None:
        self.path = path
        self.config = config

    def __call__(self, section: str, name: str | None, kind: type) -> Any:
        value = self.config.get(section)
        label = section
        if name is not None:
            value = value.get(name) if isinstance(value, dict) else None
            label = f"{section}.{name}"
        if type(value) is not kind:
            raise UserError(f"{self.path} has no {label} of type {kind.__name__}; it was not written by 'bosrow train'")
        return value


def _read_arm(path: Path) -> JsonObject:
    if not path.exists():
        return {}
    arm = parse_json(read_untrusted(path), str(path))
    for name in ("arm", "name", "group"):
        if name in arm and not (isinstance(arm[name], str) and 0 < len(arm[name]) <= 60):
            raise UserError(f"{path}: {name} must be a text of 1 to 60 characters")
    if arm.get("group", GROUPS[0]) not in GROUPS:
        raise UserError(f"{path}: group is {arm['group']!r}; {' or '.join(GROUPS)} was required")
    return arm


class _Evaluation(NamedTuple):
    """Results of the latest checkpoint in summary.json, its step, and where its items lie."""

    results: list[JsonObject]
    step: int | None
    items_dir: Path | None


def _read_evaluation(folder: Path) -> _Evaluation:
    path = folder / "summary.json"
    if not path.exists():
        return _Evaluation([], None, None)
    checkpoints = parse_json(read_untrusted(path), str(path)).get("checkpoints")
    if not isinstance(checkpoints, list) or not all(_is_checkpoint(one) for one in checkpoints):
        raise UserError(f"{path} is no summary of 'bosrow eval'; evaluate the run again, or remove {folder}")
    if not checkpoints:
        return _Evaluation([], None, None)
    latest = max(checkpoints, key=lambda one: one.get("step") or 0)
    name = str(latest.get("name"))
    several = len(checkpoints) > 1
    inside = folder / name if several and Path(name).name == name else folder
    return _Evaluation(latest["results"], latest.get("step"), inside)


def _is_checkpoint(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("results"), list):
        return False
    known_step = value.get("step") is None or type(value["step"]) is int
    return known_step and all(isinstance(result, dict) for result in value["results"])


def _lines(path: Path) -> Iterator[JsonObject]:
    """The complete lines of a JSONL file. A torn last line, of a run that goes on, is left out."""
    with open(path, encoding="utf-8", errors="replace") as file:
        number = 0
        while line := file.readline(MAX_LINE_CHARACTERS):
            number += 1
            if not line.endswith("\n"):
                return
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            if not isinstance(record, dict):
                raise UserError(f"{path}, line {number}, is not a JSON object; the file is damaged")
            yield record


COLUMNS = {
    "train_loss": "train_loss_opt_step_mean",
    "grad_norm": "grad_norm_l2_preclip",
    "tokens_per_second": "tokens_per_second",
}


def _read_scalars(path: Path) -> tuple[Steps, dict[str, list[JsonObject]]]:
    columns: dict[str, list[float]] = {name: [] for name in ("step", *COLUMNS)}
    skipped: list[bool] = []
    evaluated: dict[str, list[JsonObject]] = {}
    for record in _lines(path):
        kind, step = record.get("type"), record.get("step")
        if type(step) is not int or not isinstance(kind, str):
            raise UserError(f"{path} has a line without 'type' and 'step'; it was not written by 'bosrow train'")
        if kind != "scalars":
            evaluated.setdefault(kind, []).append(record)
            continue
        columns["step"].append(float(step))
        for name, key in COLUMNS.items():
            columns[name].append(number(record.get(key)))
        skipped.append(record.get("skipped") is True)
    arrays = {name: np.array(values, np.float64) for name, values in columns.items()}
    return Steps(**arrays, skipped=np.array(skipped, bool)), evaluated


def count(value: Any) -> int | None:
    """`value` if it is a whole number that can count something, else None."""
    return value if type(value) is int and value > 0 else None


def numbers(value: Any) -> Floats:
    """A list as an array of floats, NaN for what is no number; empty if it is no list."""
    return np.array([number(one) for one in value] if isinstance(value, list) else [], np.float64)


def number(value: Any) -> float:
    """`value` as a float; NaN for null, for anything but a number, and for one too large to be measured."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST
    return float(value) if known else math.nan
