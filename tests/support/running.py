"""Real training runs for tests: a tiny model, in this process, in another one, or under torchrun."""

import importlib
import itertools
import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import Forked, new_file

import bosrow.train
from bosrow.cli import main

TIMING = ("timestamp", "tokens_per_second", "data_wait_seconds")
SHAPE = "--seq_len 16 --vocab_size 61 --n_embd 16 --n_head 2 --n_layer 2 --device cpu"
QUIET = "--eval_every 0 --save_every 0 --exposure_every 0"


def arguments(data_dir: Path, run_dir: Path, flags: str) -> list[str]:
    """Arguments of `bosrow train` for a tiny model; `flags` win over what stands here."""
    usual = "--total_batch_tokens 256 --micro_batch_size 4 --warmup_iters 3 --learning_rate 3e-3"
    return ["train", "--data_dir", str(data_dir), "--run_dir", str(run_dir), *f"{SHAPE} {usual} {flags}".split()]


def train_here(data_dir: Path, run_dir: Path, flags: str) -> int:
    """Run in this process; the exit status."""
    return main(arguments(data_dir, run_dir, flags))


def command(data_dir: Path, run_dir: Path, flags: str, ranks: int = 0, program: Path | None = None) -> list[str]:
    """The arguments of Python for a run of its own, under torchrun if `ranks` is given."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}", "--max-restarts=3"]
    bosrow = [str(program)] if program else ["-m", "bosrow"]
    return [*(torchrun if ranks else []), *bosrow, *arguments(data_dir, run_dir, flags)]


def start(arguments: list[str], environment: Mapping[str, str] = os.environ) -> Forked:
    """Start a command with one thread a process; its output is read together at the end."""
    said = new_file()
    return Forked(arguments, {**environment, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}, output=said, errors=said)


def run(arguments: list[str], environment: Mapping[str, str] = os.environ) -> str:
    """Run a command that has to succeed; its output."""
    process = start(arguments, environment)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output


def start_ranks(arguments: list[str], ranks: int, environment: Mapping[str, str] = os.environ) -> list[Forked]:
    """Start a command on several ranks, each told its own as torchrun does."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    world = {"WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)}
    world |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    return [
        start(arguments, {**environment, **world, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(ranks)
    ]


def run_ranks(arguments: list[str], ranks: int, environment: Mapping[str, str] = os.environ) -> str:
    """Run a command that has to succeed on several ranks; their outputs."""
    processes = start_ranks(arguments, ranks, environment)
    outputs = "".join(process.communicate(timeout=120)[0] for process in processes)
    assert all(process.returncode == 0 for process in processes), outputs
    return outputs


def wait_for_step(run_dir: Path, step: int, process: Forked) -> None:
    """Return when `step` is recorded in `run_dir`."""
    while not any(record["step"] >= step for record in scalars(run_dir)):
        if process.poll() is not None:
            raise AssertionError(f"the run ended before step {step}:\n{process.communicate()[0]}")
        time.sleep(0.02)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a JSONL file; none if it is not there."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def scalars(run_dir: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """Lines of scalars.jsonl, without what depends on the clock."""
    lines = read_lines(run_dir / "scalars.jsonl")
    return [
        {name: value for name, value in line.items() if name not in TIMING}
        for line in lines
        if kind in (None, line["type"])
    ]


def losses(run_dir: Path) -> list[float]:
    """The loss of each step."""
    return [line["train_loss_opt_step_mean"] for line in scalars(run_dir, "scalars")]


def rows_by_step(run_dir: Path) -> dict[int, list[tuple[int, str, int]]]:
    """What the exposure files of all ranks say was read in each step: (position, shard, row), sorted."""
    seen: dict[int, list[tuple[int, str, int]]] = {}
    for path in (run_dir / "exposures").glob("exposures_rank*.jsonl"):
        assert re.fullmatch(r"exposures_rank\d{4}\.jsonl", path.name)
        for line in read_lines(path):
            for batch in line["micro_batches"]:
                places = zip(batch["positions"], batch["rows"], strict=True)
                seen.setdefault(line["step"], []).extend((position, shard, row) for position, (shard, row) in places)
    return {step: sorted(places) for step, places in seen.items()}


def metrics(run_dir: Path) -> list[dict[str, Any]]:
    """Entries of step_metrics.json without their times; none if it is not there."""
    path = run_dir / "step_metrics.json"
    entries = json.loads(path.read_text()) if path.exists() else []
    return [{name: value for name, value in entry.items() if name not in TIMING} for entry in entries]


def assert_same_run(one: Path, other: Path, final: str) -> None:
    """Bit for bit the same losses, norms, evaluations, rows and final weights."""
    assert scalars(one) == scalars(other)
    assert metrics(one) == metrics(other)
    assert rows_by_step(one) == rows_by_step(other)
    expected, found = (bosrow.train.load_model(folder / final)[0].state_dict() for folder in (one, other))
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def checkpoint_names(run_dir: Path) -> list[str]:
    """The folders whose names say that they are, or were, checkpoints."""
    return sorted(path.name for path in run_dir.glob("*ckpt_*"))


@contextmanager
def before_call(monkeypatch: pytest.MonkeyPatch, name: str, number: int, action: Callable[[], None]) -> Iterator[None]:
    """While it lasts, `action` happens before the `number`-th call of bosrow.train's function `name`."""
    module, function = name.split(".")
    original = getattr(importlib.import_module(f"bosrow.train.{module}"), function)
    numbers = itertools.count(1)

    def watched(*arguments: Any, **named: Any) -> Any:
        if next(numbers) == number:
            action()
        return original(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(f"bosrow.train.{name}", watched)
        yield


def stop() -> None:
    """SIGTERM to this process."""
    signal.raise_signal(signal.SIGTERM)


def die() -> None:
    """An end without a save."""
    raise RuntimeError("the run dies here")
