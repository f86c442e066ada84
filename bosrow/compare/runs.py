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
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from bosrow.errors import UserError
from bosrow.files import read_untrusted
from bosrow.strict_json import Count, Invalid, Kind, parse_json, typed

Floats = npt.NDArray[np.float64]
JsonObject = dict[str, Any]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=60)]

PRIMARY = "bits_per_byte"  # the metric that the verdict is about
LARGEST = 1e60  # squares and fourth powers of numbers below it are finite
MAX_LINE_CHARACTERS = 1 << 22  # of a jsonl file; a line with the losses of 100,000 positions has 2 million


# What is read by name of config.json, arm.json and evaluation/summary.json. Other fields may be there.


class DataSetFields(msgspec.Struct):
    data_dir: str


class DataFields(msgspec.Struct):
    fingerprint: str
    policy: str
    data_sets: list[DataSetFields] = []  # several of a mixture; the first runs do not list them


class OptionFields(msgspec.Struct):
    seed: int
    max_train_steps: Count
    seq_len: Count
    data_dir: str | list[str] = []


class BatchFields(msgspec.Struct):
    tokens_per_step: Count
    world_size: int | None = None


class ConfigFields(msgspec.Struct):
    options: OptionFields
    model: JsonObject
    batch: BatchFields
    data: DataFields


class ArmFields(msgspec.Struct, frozen=True):
    letter: Label | None = msgspec.field(default=None, name="arm")
    name: Label | None = None
    group: Literal["main", "noise_floor"] = "main"


class EvaluatedFields(msgspec.Struct):
    results: list[JsonObject]
    name: str = ""  # where several were evaluated, that of the folder of its items
    step: int | None = None


class SummaryFields(msgspec.Struct):
    checkpoints: list[EvaluatedFields]


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
    arm: ArmFields
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
    content, config = _read(path / "config.json", ConfigFields, "it was not written by 'bosrow train'")
    steps, evaluated = _read_scalars(path / "scalars.jsonl")
    if not len(steps.step):
        raise UserError(f"{path / 'scalars.jsonl'} records no step; let the run take at least one")
    arm = ArmFields()
    if (path / "arm.json").exists():
        required = "arm and name are texts of 1 to 60 characters, group is main or noise_floor"
        _, arm = _read(path / "arm.json", ArmFields, required)
    latest, items_dir = _read_evaluation(path / "evaluation")
    named = config.options.data_dir
    data_dirs = [part.data_dir for part in config.data.data_sets] or ([named] if isinstance(named, str) else named)
    return TrainedRun(
        path=path,
        seed=config.options.seed,
        fingerprint=config.data.fingerprint,
        policy=config.data.policy,
        data_dirs=tuple(data_dirs),
        arm=arm,
        options=content["options"],
        model=config.model,
        machine={name: content.get(name) for name in ("device", "dtype", "versions")}
        | {"world_size": config.batch.world_size},
        tokens_per_step=config.batch.tokens_per_step,
        steps=steps,
        evaluated=evaluated,
        results=latest.results,
        results_step=latest.step,
        items_dir=items_dir,
    )


def _read(path: Path, kind: type[Kind], otherwise: str) -> tuple[JsonObject, Kind]:
    """An untrusted JSON file, and its fields as `kind`. Raises UserError, which ends with `otherwise`."""
    content = parse_json(read_untrusted(path), str(path))
    try:
        return content, typed(content, kind, path.stem)
    except Invalid as error:
        raise UserError(f"{path}: {error}; {otherwise}") from None


def _read_evaluation(folder: Path) -> tuple[EvaluatedFields, Path | None]:
    """The latest checkpoint in summary.json, and where the scores of its items lie."""
    path = folder / "summary.json"
    otherwise = f"it is no summary of 'bosrow eval'; evaluate the run again, or remove {folder}"
    checkpoints = _read(path, SummaryFields, otherwise)[1].checkpoints if path.exists() else []
    if not checkpoints:
        return EvaluatedFields([]), None
    latest = max(checkpoints, key=lambda one: one.step or 0)
    inside = len(checkpoints) > 1 and Path(latest.name).name == latest.name
    return latest, folder / latest.name if inside else folder


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
