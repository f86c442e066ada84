"""One run at a time in a folder: a lock of the operating system, and an owner file where the lock is not enough.

The lock ends with its process, so it is never stale and nobody has to remove it. But some network file systems have no
locks, and on some a lock holds only on one machine. So an owner file beside the lock records the host, the process and
when it began; its modification time is a heartbeat.

A run that finds an owner file, and cannot tell by the lock that the owner is gone, watches the file. If it does not
change for SILENT_SECONDS, the owner is gone. If several runs find no owner file, the one that creates it is the owner.
The clocks of two machines are never compared. A run that was only silent (on a suspended machine) learns at its next
checkpoint that another one has taken over, and stops.

Cost: a read and a touch of a small file every BEAT_SECONDS.
"""

import errno
import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import filelock
import psutil

from bosrow.errors import DataSetError, MachineError
from bosrow.files import read_untrusted, write_all
from bosrow.strict_json import parse_json

LOCK, OWNER = ".lock", ".owner.json"
BEAT_SECONDS = 5.0
SILENT_SECONDS = 30.0
LOOK_SECONDS = 0.5  # between two looks at the owner file
NAME_SECONDS = 2.0  # the holder of the lock may need so long to write the owner file
MAX_OWNER_BYTES = 4096
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Who holds a folder. `machine` tells machines with the same name apart, `run` the runs of one process."""

    host: str
    pid: int
    since: str
    machine: str
    run: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


class Hold:
    """A folder held by this process."""

    def __init__(self, folder: Path, owner: Owner) -> None:
        self.folder = folder
        self.owner = owner

    def check(self) -> None:
        """Raise MachineError if another run has taken over the folder because this one seemed to be gone."""
        found = _read_owner(self.folder)
        if found not in (None, self.owner):
            raise MachineError(
                f"{self.folder} was taken over by {found}, since this run did not update its owner file for "
                f"{SILENT_SECONDS:g} s; this run stops, the other goes on from the last checkpoint"
            )


@contextmanager
def folder_lock(folder: Path) -> Iterator[Hold]:
    """Hold `folder` for this process. Raises MachineError, which says who holds it, if another process does."""
    lock = filelock.FileLock(folder / LOCK, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise _in_use(folder, _holder(folder)) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    try:
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        owner = Owner(host=socket.gethostname(), pid=os.getpid(), since=since, machine=_machine(), run=uuid.uuid4().hex)
        _take(folder, owner, locked=lock.is_locked)
        ended = threading.Event()
        beat = threading.Thread(target=_beat, args=(folder, owner, ended), daemon=True)
        beat.start()
        try:
            yield Hold(folder, owner)
        finally:
            ended.set()
            beat.join()
            if _read_owner(folder) == owner:
                (folder / OWNER).unlink(missing_ok=True)
    finally:
        lock.release()


def _take(folder: Path, owner: Owner, locked: bool) -> None:
    """Become the owner. Raises MachineError if there is one that is alive."""
    found = _read_owner(folder)
    if found is None:
        with suppress(FileExistsError):
            _write_owner(folder, owner, mode="xb")  # of several runs only one can create it
            return
        threading.Event().wait(LOOK_SECONDS)  # the other run may not have filled the file yet
        found = _read_owner(folder)
    if found is not None and not (locked and found.machine == owner.machine) and _beats(folder, found):
        raise _in_use(folder, found)
    _write_owner(folder, owner)
    if found is None or not (locked and found.machine == owner.machine):  # the last of several writers wins
        threading.Event().wait(LOOK_SECONDS)
        found = _read_owner(folder)
        if found != owner:
            raise _in_use(folder, found)


def _beats(folder: Path, owner: Owner) -> bool:
    """Whether the owner updates its file. It takes SILENT_SECONDS to find that it does not."""
    print(f"{folder} was held by {owner}; waiting up to {SILENT_SECONDS:g} s to see if it still runs", file=sys.stderr)
    first, give_up = _beats_seen(folder), time.monotonic() + SILENT_SECONDS
    while time.monotonic() < give_up:
        threading.Event().wait(LOOK_SECONDS)
        seen = _beats_seen(folder)
        if seen != first:
            return seen is not None
    return False


def _beats_seen(folder: Path) -> tuple[int, int] | None:
    """What each heartbeat changes; None if the file is gone. Opening the file makes NFS ask the server."""
    try:
        with open(folder / OWNER, "rb") as file:
            status = os.fstat(file.fileno())
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def _beat(folder: Path, owner: Owner, ended: threading.Event) -> None:
    while not ended.wait(BEAT_SECONDS):
        with suppress(OSError, MachineError):  # a disk full or gone for a while: the next beat tries again
            found = _read_owner(folder)
            if found is None:
                _write_owner(folder, owner)
            elif found == owner:
                os.utime(folder / OWNER)


def _holder(folder: Path) -> Owner | None:
    """Who holds the lock. Waits a little, since it may not have replaced the owner file of a killed run yet."""
    give_up = time.monotonic() + NAME_SECONDS
    while True:
        found = _read_owner(folder)
        if time.monotonic() > give_up or (found and (found.machine != _machine() or psutil.pid_exists(found.pid))):
            return found
        threading.Event().wait(0.02)


def _in_use(folder: Path, owner: Owner | None) -> MachineError:
    return MachineError(
        f"{folder} is in use by {owner or 'another process'}; wait for it, stop it, or choose another folder"
    )


def _write_owner(folder: Path, owner: Owner, mode: Literal["wb", "xb"] = "wb") -> None:
    with open(folder / OWNER, mode, buffering=0) as file:
        write_all(file, folder / OWNER, memoryview(json.dumps(asdict(owner)).encode()))


def _read_owner(folder: Path) -> Owner | None:
    """The owner that the file names; None if there is no file, or it is incomplete."""
    try:
        owner = Owner(**parse_json(read_untrusted(folder / OWNER, MAX_OWNER_BYTES), OWNER))
    except (OSError, DataSetError, TypeError):
        return None
    return owner if isinstance(owner.pid, int) else None


def _machine() -> str:
    """What tells this machine from all others: on Linux the id of its last boot, elsewhere its host name."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()
