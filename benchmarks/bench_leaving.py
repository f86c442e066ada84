"""How soon a preparation leaves after a signal, its workers after it is killed, and a dead worker is replaced."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from kills import start, survivors, wait_for_children
from side_by_side import DEV, needs_dev, report, spread

ROUNDS = 10
pytestmark = needs_dev


def begun(folder: Path) -> tuple:
    """A preparation of the whole corpus by two workers, at a random moment of its work; and its children."""
    process = start("--data_files", *DEV, "--policy", "keep", "--workers", 2, "--out_dir", folder)
    workers = wait_for_children(process, 3)
    while not any(folder.glob("*.bin")):
        time.sleep(0.01)
    time.sleep(random.random())
    return process, workers


def measure(benchmark, capsys, tmp_path, what: str, aim: float, act: Callable[[tuple], None]) -> None:
    random.seed(1)
    seconds: list[float] = []
    for number in range(ROUNDS):
        run = begun(tmp_path / str(number))
        began = time.perf_counter()
        act(run)
        seconds.append(time.perf_counter() - began)
        process, workers = run
        process.kill()
        process.communicate()
        assert survivors(workers) == []
    benchmark.pedantic(lambda: None, rounds=1)
    found = spread(seconds)
    lines = [f"{what}: {found['median']:.3f} s, at most {found['max']:.3f} s in {ROUNDS} (aim: {aim:g} s)"]
    report(capsys, what, lines, seconds=found)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_seconds_from_a_signal_to_the_end_with_its_checkpoint(benchmark, capsys, tmp_path, number):
    def leave(run: tuple) -> None:
        process, _ = run
        process.send_signal(number)
        assert process.wait() == 75

    measure(benchmark, capsys, tmp_path, f"{number.name} to the end", 5, leave)


def test_seconds_that_workers_survive_their_parent(benchmark, capsys, tmp_path):
    def orphan(run: tuple) -> None:
        process, workers = run
        os.kill(process.pid, signal.SIGKILL)
        assert survivors(workers) == []

    measure(benchmark, capsys, tmp_path, "workers after a killed parent", 5, orphan)


def test_seconds_until_a_killed_worker_is_replaced(benchmark, capsys, tmp_path):
    def replace(run: tuple) -> None:
        process, workers = run
        known = {worker.pid for worker in workers}
        workers[-1].kill()
        while not {child.pid for child in psutil.Process(process.pid).children()} - known:
            time.sleep(0.001)

    measure(benchmark, capsys, tmp_path, "a killed worker to its successor", 1, replace)
