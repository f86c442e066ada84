"""What the benchmarks share: rivals timed in turn, figures as a JSON line, the corpus, processes with their cost."""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

DEV = sorted((Path(__file__).parents[2] / "shared" / "data" / "dev").glob("*.parquet"))
needs_dev = pytest.mark.skipif(not DEV, reason="there is no ../shared/data/dev, 58 million tokens of real text")


def in_turn(benchmark: Any, ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> tuple[Any, Any]:
    """Call `theirs` and `ours` in turn, `rounds` times each; the seconds of both."""
    seconds: list[float] = []

    def rival() -> None:
        began = time.perf_counter()
        theirs()
        seconds.append(time.perf_counter() - began)

    benchmark.pedantic(ours, setup=rival, rounds=rounds, warmup_rounds=0)
    return list(benchmark.stats.stats.data), seconds


def spread(values: list[float]) -> dict[str, float]:
    """Median, smallest and largest, to four digits."""
    figures = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: float(f"{value:.4g}") for name, value in figures.items()}


def report(capsys: pytest.CaptureFixture[str], name: str, lines: list[str], **figures: Any) -> None:
    """Print a table for people and, last, one JSON line for machines."""
    with capsys.disabled():
        print("\n\n" + "\n".join(lines) + "\n" + json.dumps({"benchmark": name} | figures))


@dataclass(frozen=True)
class Cost:
    """What a process and all that it started cost."""

    wall_seconds: float
    cpu_seconds: float
    output: str


def run(*command: str | Path) -> Cost:
    """Run a program to its end. CPU seconds are those of the whole process tree."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, done.stdout)


def prepare(out_dir: Path, *flags: str | Path) -> tuple[Cost, dict[str, Any]]:
    """Run `bosrow prepare` with two workers; its cost and the meta.json that it wrote."""
    command = [sys.executable, "-m", "bosrow", "prepare", "--out_dir", out_dir, "--workers", "2", "--fresh"]
    cost = run(*command, *flags)
    return cost, json.loads((out_dir / "meta.json").read_bytes())
