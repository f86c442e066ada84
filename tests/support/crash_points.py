"""Kills preparations, or fills their disk, at chosen durable operations; a program of its own, since it forks.

    python crash_points.py < plan.json > findings.json

The plan: `arguments` of `bosrow prepare`, `folder` to work in, `constants` of bosrow's modules to make smaller,
`fault`, `points` (null: all of them), `resume_faults` (see below), `imports` (modules to import here, once, instead of
in each child). For each point a child prepares anew until that operation on a file or folder, where the fault strikes:

    kill    SIGKILL before the operation
    torn    SIGKILL in the middle of it, where it is a write (half of the bytes are there)
    power   SIGKILL before it, and all is lost that no fsync has made durable: contents and names
    full    the disk is full from here on: half a write succeeds, then nothing but deleting does

Then the same command runs again, in a child without a fault (or with those of `resume_faults`, one child each,
before that one), and its bytes are compared with those of an undisturbed run. What counts as an operation: making,
writing, truncating, syncing, replacing and deleting a file, making and syncing a folder.
"""

import builtins
import errno
import importlib
import io
import json
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

import pandas  # noqa: F401  # which pyarrow would import in each child
from corpora import contents

import bosrow.prepare.command
import bosrow.prepare.pool

# Imported here, once, instead of in each child.
import bosrow.sources.parquet
import bosrow.sources.stored
import bosrow.sources.text
import bosrow.sources.token_files  # noqa: F401
from bosrow.cli import main as bosrow_main
from bosrow.tokenizers.gpt2 import load_tokenizer

REAL = {name: getattr(os, name) for name in ("fsync", "replace", "unlink", "mkdir", "open")}


class Disk:
    """Watches all that this process does to files below `folder`, and lets the fault strike."""

    def __init__(self, folder: Path, fault: str = "", point: int = 0) -> None:
        self.folder = folder
        self.fault = fault
        self.point = point
        self.operations: list[list[str]] = []
        self.full = False
        self.durable_files: dict[int, bytes] = {}  # by inode: what the last fsync of it found
        self.durable_names: dict[Path, dict[str, tuple[int, bool]]] = {}  # of each folder, by its last fsync
        self.kept: list[int] = []  # descriptors that keep inodes from being used again

    def install(self) -> None:
        """Watch from now on. What is there already counts as durable."""
        disk = self
        for path in (self.folder, *sorted(self.folder.rglob("*"))) if self.fault == "power" else ():
            self.made_durable(path)
            if path.is_file():
                self.kept.append(os.open(path, os.O_RDONLY))

        class File(io.FileIO):
            def write(self, data: Any) -> int:
                return disk.write(self, memoryview(data))

            def truncate(self, size: int | None = None) -> int:
                disk.operation("truncate", self.name)
                return super().truncate(size)

        def open_file(path: Any, mode: str = "r", buffering: int = -1, *rest: Any, **more: Any) -> Any:
            if not set(mode) & set("wax+") or not disk.has(path):
                return REAL_OPEN(path, mode, buffering, *rest, **more)
            if buffering != 0:
                raise AssertionError(f"{path} is opened with a buffer, behind which writes would not be seen")
            disk.operation("make" if "r" not in mode else "open", path)
            file = File(os.fspath(path), mode.replace("b", ""))
            disk.keep(file.fileno())
            return file

        def open_descriptor(path: Any, flags: int, *rest: Any, **more: Any) -> int:
            if flags & os.O_CREAT and disk.has(path) and not os.path.exists(path):
                disk.operation("make", path)
            return REAL["open"](path, flags, *rest, **more)

        def fsync(descriptor: int) -> None:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            if disk.has(path):
                disk.operation("fsync folder" if os.path.isdir(path) else "fsync", path)
                disk.made_durable(Path(path))
            REAL["fsync"](descriptor)

        def named(name: str, kind: str) -> Any:
            def call(path: Any, *rest: Any, **more: Any) -> None:
                if disk.has(path):
                    disk.operation(kind, path, *rest[:1] if kind == "replace" else ())
                REAL[name](path, *rest, **more)

            return call

        builtins.open = io.open = open_file
        os.open, os.fsync = open_descriptor, fsync
        os.replace = os.rename = named("replace", "replace")
        os.unlink = os.remove = named("unlink", "unlink")
        os.mkdir = named("mkdir", "mkdir")

    def has(self, path: Any) -> bool:
        """Whether a path is below the folder."""
        return not isinstance(path, int) and Path(path).absolute().is_relative_to(self.folder)

    def keep(self, descriptor: int) -> None:
        """Never let this file's inode number be used again."""
        if self.fault == "power":
            self.kept.append(os.dup(descriptor))

    def operation(self, kind: str, *paths: Any) -> None:
        """Count an operation that is about to be done; here the fault strikes."""
        self.operations.append([kind, *(str(Path(path).absolute().relative_to(self.folder)) for path in paths)])
        here = len(self.operations) == self.point
        if here and self.fault in ("kill", "torn", "power"):
            self.die()
        self.full = self.full or (here and self.fault == "full")
        if self.full and kind in ("make", "mkdir", "fsync"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *(map(str, paths) if kind != "fsync" else ()))

    def write(self, file: io.FileIO, data: memoryview) -> int:
        """Write, or half of it."""
        torn = self.fault == "torn" and len(self.operations) + 1 == self.point
        if torn:
            io.FileIO.write(file, data[: len(data) // 2])
        full_before = self.full
        self.operation("write", file.name)
        if full_before or (self.full and len(data) == 1):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return io.FileIO.write(file, data[: len(data) // 2] if self.full else data)

    def made_durable(self, path: Path) -> None:
        """A file or folder, as it is now, outlives a power cut from here on."""
        if self.fault != "power":
            return
        if path.is_dir():
            self.durable_names[path] = {
                one.name: (one.stat().st_ino, one.is_dir()) for one in path.iterdir() if not one.is_symlink()
            }
        else:
            with REAL_OPEN(path, "rb") as file:
                self.durable_files[path.stat().st_ino] = file.read()

    def die(self) -> None:
        """End as if by the kernel; after a power cut with what was durable alone."""
        if self.fault == "power":
            os.unlink, os.mkdir = REAL["unlink"], REAL["mkdir"]
            builtins.open = io.open = REAL_OPEN
            for path in self.folder.iterdir():
                shutil.rmtree(path)
            self.lay_out(self.folder)
        os.kill(os.getpid(), signal.SIGKILL)

    def lay_out(self, folder: Path) -> None:
        """Make again what of a folder was durable."""
        for name, (inode, is_folder) in self.durable_names.get(folder, {}).items():
            if is_folder:
                (folder / name).mkdir()
                self.lay_out(folder / name)
            else:
                (folder / name).write_bytes(self.durable_files.get(inode, b""))


REAL_OPEN = builtins.open


def run(plan: dict[str, Any], fault: str = "", point: int = 0) -> tuple[int, str, list[list[str]]]:
    """Run the command in a child: its status (negative: the signal), what it said, its operations."""
    report = Path(plan["folder"] + ".report")
    report.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        child(plan, fault, point)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    said = Path(f"{report}.err").read_text()
    return status, said, json.loads(report.read_text()) if report.exists() else []


def child(plan: dict[str, Any], fault: str, point: int) -> NoReturn:
    """Run the command in this process, which ends with it; leave reports of what it said and did."""
    folder, report = Path(plan["folder"]), plan["folder"] + ".report"
    status = 70
    try:
        output = os.open(f"{report}.err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        disk = Disk(folder, fault, point)
        disk.install()
        status = bosrow_main(["prepare", *plan["arguments"], "--out_dir", str(folder / "out")])
        with REAL_OPEN(report, "w") as file:
            json.dump(disk.operations, file)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def fresh(plan: dict[str, Any]) -> Path:
    """An empty folder to work in."""
    folder = Path(plan["folder"])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def strike(plan: dict[str, Any], point: int, expected: dict[str, bytes]) -> dict[str, Any]:
    """One fault, and what came of it; an empty `wrong` is what is hoped for."""
    folder = fresh(plan)
    status, said, _ = run(plan, plan["fault"], point)
    wrong = []
    if plan["fault"] != "full" and status != -signal.SIGKILL:
        wrong.append(f"status {status}, not killed: {said}")
    for fault, number in plan.get("resume_faults", []):
        run(plan, fault, number)
    resumed, said_then, _ = run(plan)
    if resumed != 0:
        wrong.append(f"status {resumed} when it went on: {said_then}")
    elif (found := contents(folder / "out")) != expected:
        names = [name for name in found.keys() | expected if found.get(name) != expected.get(name)]
        wrong.append(f"other bytes: {sorted(names)}")
    return {"point": point, "status": status, "said": said, "wrong": wrong}


def main() -> None:
    """See the module."""
    plan = json.load(sys.stdin)
    for place, value in plan.get("constants", {}).items():
        module, name = place.rsplit(".", 1)
        setattr(importlib.import_module(module), name, value)
    for name in plan.get("imports", []):
        importlib.import_module(name)
    load_tokenizer().encode("")  # which reads the vocabulary, here, once, instead of in each child
    folder = fresh(plan)
    status, said, operations = run(plan)
    if status != 0:
        sys.exit(f"the undisturbed run ended with status {status}:\n{said}")
    expected = contents(folder / "out")
    points = [n for n, (kind, *_) in enumerate(operations, 1) if plan["fault"] != "torn" or kind == "write"]
    if isinstance(plan["points"], dict):  # every `step`-th of them, from a start that a seed chose
        points = points[plan["points"]["start"] % plan["points"]["step"] :: plan["points"]["step"]]
    elif plan["points"] is not None:
        points = plan["points"]
    findings = [strike(plan, point, expected) for point in points]
    json.dump({"operations": operations, "findings": findings}, sys.stdout)


if __name__ == "__main__":
    main()
