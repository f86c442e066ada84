"""Preparations as processes of their own, to be killed at seeded random times; and what must be true afterwards."""

import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import psutil
from corpora import contents
from forked import Forked

HANG_SECONDS = 90  # after which a test says that a run hangs; how soon one leaves is no matter for a test


def start(*arguments: str | Path) -> Forked:
    """Start `bosrow prepare` as the head of a process group of its own."""
    return Forked(["-m", "bosrow", "prepare", *arguments])


def children(process: Forked) -> list[psutil.Process]:
    """The workers and the reader of a run, if it has any now."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def wait_for_children(process: Forked, count: int) -> list[psutil.Process]:
    """The children, once there are `count` of them."""
    give_up = time.monotonic() + HANG_SECONDS
    while len(found := children(process)) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up
        time.sleep(0.01)
    return found


def survivors(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Which of them never leave (dead ones that their new parent has not buried yet are not)."""
    return [one for one in psutil.wait_procs(processes, timeout=HANG_SECONDS)[1] if not _dead(one)]


def _dead(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def kill_randomly(
    arguments: list[str], folder: Path, kills: int, seed: int, seconds: float, expected: dict[str, bytes]
) -> Counter[str]:
    """Prepare again and again, each run killed once at a random time within `seconds`; what was killed how often.

    Every data set that comes to its end must hold the bytes of `expected`, no run may hang, and no worker may
    outlive its parent.
    """
    source = random.Random(seed)
    done: Counter[str] = Counter()
    data_set, in_a_row = 0, 0
    while sum(done[kind] for kind in ("parent", "worker", "group")) < kills or in_a_row:
        out_dir = folder / f"out_{data_set}"
        process = start(*arguments, "--out_dir", out_dir)
        last = in_a_row == 3 or sum(done[kind] for kind in ("parent", "worker", "group")) >= kills
        if not last:
            target = source.choice(["parent", "worker", "group"])
            in_a_row += _kill(process, target, source, seconds, done)
        _, said = process.communicate(timeout=HANG_SECONDS)
        if process.returncode == 0:
            assert contents(out_dir) == expected, f"after {in_a_row} kills, seed {seed}, data set {data_set}"
            data_set, in_a_row = data_set + 1, 0
            done["data sets"] += 1
        else:
            assert process.returncode == -signal.SIGKILL, said
    return done


def _kill(process: Forked, target: str, source: random.Random, seconds: float, done: Counter[str]) -> bool:
    """Kill one of a run's processes at a random time; whether the run itself was killed."""
    try:
        process.wait(timeout=source.uniform(0.0, seconds))
        return False  # it was done already
    except subprocess.TimeoutExpired:
        pass
    alive = children(process)
    if target == "worker":
        if alive:
            source.choice(alive).kill()
            done[target] += 1
        return False
    process.kill() if target == "parent" else process.kill_group()
    done[target] += 1
    left = survivors(alive)
    assert left == [], f"{left} outlived their parent"
    return True
