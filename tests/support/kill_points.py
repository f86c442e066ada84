"""Kills a training run at chosen file operations, again and again; a program of its own, since it forks.

    python kill_points.py DATA_DIR RUN_DIR KILLS FLAGS...

Each child trains on in RUN_DIR until its n-th operation on a file there (open, rename, remove, make or
remove a folder, fsync), where it is killed by SIGKILL; after KILLS of them the last one may finish.
Prints where each was killed.
"""

import os
import random
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import matplotlib.figure  # noqa: F401
import torch
from running import train_here

import bosrow.train.command  # noqa: F401  # imported here, once, instead of in each child

EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")


def kill_at(operation: int, run_dir: str) -> None:
    """Kill this process at its `operation`-th operation on a file below `run_dir`."""
    seen = 0

    def count(event: str, path: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == operation:
            print(f"killed at {event} {path}", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS and run_dir in str(arguments[0]):
            count(event, arguments[0])

    def fsync(descriptor: int, original: Any = os.fsync) -> None:
        count("fsync", os.readlink(f"/proc/self/fd/{descriptor}"))
        original(descriptor)

    sys.addaudithook(audit)
    os.fsync = fsync


def child(operation: int | None, data_dir: str, run_dir: str, flags: str) -> int:
    """Fork, train in the child, and return its status (negative: the signal that ended it)."""
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            if operation is not None:
                kill_at(operation, run_dir)
            status = train_here(Path(data_dir), Path(run_dir), flags)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    """See the module."""
    data_dir, run_dir, kills, *flags = sys.argv[1:]
    torch.set_num_threads(1)
    torch.optim.AdamW([torch.zeros(1)])  # imports much of torch: better once than in each child
    chosen = random.Random(1)
    for _ in range(int(kills)):
        status = child(chosen.randint(1, 90), data_dir, run_dir, " ".join(flags))
        if status != -signal.SIGKILL:
            sys.exit(f"a run ended by itself with status {status} before all kills were done")
    sys.exit(child(None, data_dir, run_dir, " ".join(flags)))


if __name__ == "__main__":
    main()
