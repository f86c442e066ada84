"""The run folder: its name, its metrics files, and how a resume cuts these back to the step of a checkpoint.

Promise: every line is one JSON object. After a resume no step is recorded twice. Lines are durable before the
checkpoint of their step is written. Cost: one small write a step; a resume rewrites the files once.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bosrow.evals.training_benchmarks import EWOK_ITEMS, HELLASWAG_METRICS
from bosrow.files import read_untrusted, replace_file
from bosrow.model.gpt2 import ModelConfig
from bosrow.report.numbers import without_nan
from bosrow.strict_json import parse_json
from bosrow.train.trackers import Trackers
from bosrow.train.train_options import TrainOptions

RUN_CONFIG = "config.json"
SCALARS = "scalars.jsonl"
SAMPLES = "samples.jsonl"
STEP_METRICS = "step_metrics.json"
EXPOSURES = "exposures"


def run_dir_of(options: TrainOptions, config: ModelConfig, data_fingerprint: str) -> Path:
    """--run_dir, or a folder named after model, tokens a step, steps, seed and data (and not after the ranks)."""
    if options.run_dir is not None:
        return options.run_dir
    return options.experiments_dir / (
        f"babygpt_fineweb_bosrow_{config.n_layer}x{config.n_head}x{config.n_embd}_T{options.seq_len}"
        f"_{options.total_batch_tokens}tok_{options.max_train_steps}steps_seed{options.seed}_{data_fingerprint[:8]}"
    )


class RunFolder:
    """Writes the metrics files of a run. Each rank has one, and writes only its own records."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trackers: Trackers | None = None  # these get every line of scalars.jsonl too
        self._written: set[Path] = set()

    def append(self, name: str, record: dict[str, Any]) -> None:
        """Add one line with a timestamp (seconds since 1970) to the file `name`."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        line = without_nan({**record, "timestamp": time.time()})
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
        self._written.add(path)

    def scalars(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Add a line of type `kind` to scalars.jsonl."""
        self.append(SCALARS, {"type": kind, "step": step, **values})
        if self.trackers is not None:
            self.trackers.log(kind, step, values)

    def step_metrics(self, record: dict[str, Any]) -> None:
        """Add an entry to step_metrics.json, a list that is replaced atomically."""
        path = self.path / STEP_METRICS
        entries = json.loads(path.read_bytes()) if path.exists() else []
        entry = without_nan({**record, "timestamp": time.time()})
        replace_file(path, json.dumps([*entries, entry], indent=1, allow_nan=False).encode() + b"\n")

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Replace the file `name` by `content`."""
        self.path.mkdir(parents=True, exist_ok=True)
        replace_file(self.path / name, json.dumps(content, indent=2, default=str).encode() + b"\n")

    def sync(self) -> None:
        """Make the lines durable that were added since the last call."""
        for path in self._written:
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        self._written.clear()

    def recorded_identity(self) -> dict[str, Any] | None:
        """The identity of the folder's run, as its last start recorded it; None if there was none."""
        path = self.path / RUN_CONFIG
        return parse_json(read_untrusted(path), str(path)).get("identity") if path.exists() else None

    def cut_back(self, step: int, *, evaluated: bool) -> None:
        """Remove the records of all ranks after `step`; unless `evaluated`, also the evaluations at `step`."""
        last_evaluation = step if evaluated else step - 1
        for path in self.path.glob(f"{EXPOSURES}/*.jsonl"):
            _keep(path, lambda record: record["step"] <= step)
        for name in (SCALARS, SAMPLES, HELLASWAG_METRICS, EWOK_ITEMS):
            _keep(
                self.path / name,
                lambda record: record["step"] <= (step if record.get("type") == "scalars" else last_evaluation),
            )
        path = self.path / STEP_METRICS
        if path.exists():
            entries = [entry for entry in json.loads(path.read_bytes()) if entry["step"] <= last_evaluation]
            replace_file(path, json.dumps(entries, indent=1).encode() + b"\n")

    def read_scalars(self) -> list[dict[str, Any]]:
        """All complete lines of scalars.jsonl."""
        return [record for _, record in _lines(self.path / SCALARS)]


def _keep(path: Path, wanted: Callable[[dict[str, Any]], bool]) -> None:
    """Remove the lines of `path`, if it exists, whose record is not wanted."""
    if path.exists():
        replace_file(path, *[line for line, record in _lines(path) if wanted(record)])


def _lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Lines and their records, up to the first broken line: a kill or a power cut may leave one at the end."""
    with open(path, "rb") as file:
        for line in file:
            try:
                record = json.loads(line)
            except ValueError:
                return
            if not line.endswith(b"\n"):
                return
            yield line, record
