"""An ordered, bounded pool of tokenizing processes, which replaces workers that die.

Promise: batches come in the order of the corpus, for any number of workers and whichever of them die. A dead worker is
replaced and its unit done again, without the documents that have already arrived. A unit that kills three workers stops
the run, and the message names it. While one unit waits, perhaps for a slow network, others are read and tokenized.

Cost: memory is bounded. There is one budget of bytes for what is read and not yet tokenized, and one for what is
tokenized and waits for its turn. The next unit in order is received even when they are spent. Otherwise the pool could
wait for ever for room that only this unit can free.
"""

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from socket import socketpair
from typing import Any

import bosrow
from bosrow.errors import BosrowError, MachineError
from bosrow.prepare.worker import Batch, Task, batches_of
from bosrow.signals import held_back
from bosrow.sources.formats import ITERATED, TOKEN_FORMATS
from bosrow.sources.reading import units_of
from bosrow.sources.unit import Position, Unit

WAITING_BYTES = 128 << 20  # of tokenized documents that wait for their turn
READ_AHEAD = 2  # units per worker that the reader may be ahead
READ_AHEAD_BYTES = 128 << 20  # of payload that these units may carry
MAX_DEATHS = 3
TICK_SECONDS = 0.5


class Process:
    """A child process and the connection to it. It exits when its standard input ends."""

    def __init__(self, task: Task, start: Position | None = None) -> None:
        ours, theirs = socketpair()
        with theirs, held_back():
            self.child = subprocess.Popen(
                [sys.executable, "-P", "-c", f"from bosrow.prepare.worker import main; main({theirs.fileno()})"],
                stdin=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                # A child multiplies no matrices; starting threads for that would take a tenth of its start.
                env=os.environ | {"PYTHONPATH": _python_path(), "OPENBLAS_NUM_THREADS": "1"},
            )
        self.connection = Connection(ours.detach())
        with suppress(ConnectionError):  # it died at once; `receive` will notice
            self.connection.send((task, start))

    def receive(self) -> Any:
        """The next message; if it is an error, it is raised. Raises EOFError if the process is gone."""
        try:
            message = self.connection.recv()
        except OSError:  # in the middle of a message, too
            raise EOFError from None
        if isinstance(message, BosrowError):
            raise message
        return message

    def stop(self) -> None:
        """End the process and wait for it."""
        self.child.kill()
        self.child.wait()
        assert self.child.stdin is not None
        self.child.stdin.close()
        self.connection.close()


def _python_path() -> str:
    """PYTHONPATH for children, so that they find bosrow where this process did, even from another folder."""
    return os.pathsep.join([str(Path(bosrow.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]).rstrip(
        os.pathsep
    )


@dataclass(eq=False)
class Assignment:
    """A unit in progress: its worker, its batches that wait, and how many of its documents have arrived."""

    unit: Unit
    arrived: int = 0
    batches: deque[Batch] = field(default_factory=deque)
    worker: Process | None = None
    complete: bool = False
    deaths: int = 0


class Inline:
    """As Pool, without other processes: everything happens in this one."""

    def __init__(self, task: Task, start: Position, skip: int) -> None:
        self.task, self.start, self.skip = task, start, skip
        self.waiting_units = 0
        self.seconds_before_work = 0.0

    def __enter__(self) -> "Inline":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[tuple[Unit, Batch | None]]:
        skip = self.skip
        for unit in units_of(self.task.source, self.start):
            for batch in batches_of(self.task, unit, skip):
                yield unit, batch
            yield unit, None
            skip = 0


def open_pool(task: Task, start: Position, skip: int, workers: int) -> "Pool | Inline":
    """A pool of `workers` processes (0: none) that goes on at `start`, after the first `skip` documents there."""
    if workers == 0 or task.source.format in TOKEN_FORMATS:  # ids are read faster than they could be sent
        return Inline(task, start, skip)
    return Pool(task, start, skip, workers)


class Pool:
    """Iterating yields (unit, batch) in order from `start` on, without the first `skip` documents of the first unit.

    (unit, None) follows a unit's last batch. None comes if nothing has arrived for `TICK_SECONDS`, so that the caller
    can look at the clock and at signals.
    """

    def __init__(self, task: Task, start: Position, skip: int, workers: int) -> None:
        self.began = time.monotonic()
        self.seconds_before_work = 0.0  # from the start of the processes to the first unit handed out
        self.task = task
        self.skip = skip
        self.reader: Process | None = Process(task, start)
        self.reader_position, self.reader_deaths = start, 0
        self.reader_error: BosrowError | None = None  # raised after all units that were read before it
        self.idle: list[Process] = []
        self.early_deaths = 0  # of workers that had no unit
        self.processes = [Process(task) for _ in range(workers)]
        self.assignments: deque[Assignment] = deque()
        self.waiting_bytes = 0

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self.processes, *([self.reader] if self.reader else [])]:
            process.stop()

    @property
    def waiting_units(self) -> int:
        """Units that have been read, and perhaps tokenized, but not yet yielded in full."""
        return len(self.assignments)

    def __iter__(self) -> Iterator[tuple[Unit, Batch | None] | None]:
        while self.reader or self.assignments:
            while self.assignments and (head := self.assignments[0]).batches:
                batch = head.batches.popleft()
                self.waiting_bytes -= batch.memory_bytes
                yield head.unit, batch
            if self.assignments and self.assignments[0].complete:
                yield self.assignments.popleft().unit, None
                continue
            self._assign()
            if not self._receive():
                yield None
        if self.reader_error:
            raise self.reader_error

    def _assign(self) -> None:
        for assignment in self.assignments:
            if not self.idle:
                return
            if assignment.worker is None and not assignment.complete:
                self.seconds_before_work = self.seconds_before_work or time.monotonic() - self.began
                assignment.worker = self.idle.pop()
                try:
                    assignment.worker.connection.send((assignment.unit, assignment.arrived))
                except ConnectionError:
                    self._replace(assignment.worker, assignment)

    def _receive(self) -> bool:
        """Take one message from each process that has one and whose budget has room. False if there was none."""
        working = {assignment.worker: assignment for assignment in self.assignments if assignment.worker}
        head = self.assignments[0] if self.assignments else None
        heard: dict[Connection, Process] = {}
        for process in self.processes:
            assignment = working.get(process)
            if assignment is None or assignment is head or self.waiting_bytes < WAITING_BYTES:
                heard[process.connection] = process
        ahead = [assignment.unit for assignment in self.assignments if not (assignment.worker or assignment.complete)]
        ahead_bytes = sum(unit.payload_bytes for unit in ahead)
        if self.reader and len(ahead) < READ_AHEAD * len(self.processes) and ahead_bytes < READ_AHEAD_BYTES:
            heard[self.reader.connection] = self.reader
        ready = wait(list(heard), TICK_SECONDS)
        for connection in ready:
            process = heard[connection]  # type: ignore[index]
            if process is self.reader:
                self._hear_reader(process)
            else:
                self._hear_worker(process, working.get(process))
        return bool(ready)

    def _hear_reader(self, reader: Process) -> None:
        try:
            unit = reader.receive()
        except BosrowError as error:
            self.reader_error, unit = error, None
        except EOFError:
            reader.stop()
            self.reader_deaths += 1
            if self.reader_deaths == MAX_DEATHS:
                place = self._place(self.reader_position)
                raise MachineError(
                    f"the reading process died {MAX_DEATHS} times from {place} on; {self._advice()}"
                ) from None
            self.reader = Process(self.task, self.reader_position)
            return
        if unit is None:
            reader.stop()
            self.reader = None
            return
        self.reader_position, self.reader_deaths = unit.next, 0
        self.assignments.append(Assignment(unit, arrived=self.skip))
        self.skip = 0

    def _hear_worker(self, worker: Process, assignment: Assignment | None) -> None:
        try:
            message = worker.receive()
        except EOFError:
            self._replace(worker, assignment)
            return
        if message is not None and assignment is not None:
            assignment.batches.append(message)
            assignment.arrived += len(message.documents)
            self.waiting_bytes += message.memory_bytes
            return
        if assignment is not None:
            assignment.worker, assignment.complete = None, True
            self.early_deaths = 0
        self.idle.append(worker)

    def _replace(self, worker: Process, assignment: Assignment | None) -> None:
        worker.stop()
        self.processes.remove(worker)
        if worker in self.idle:
            self.idle.remove(worker)
        if assignment is None:
            self.early_deaths += 1
            if self.early_deaths > MAX_DEATHS * (1 + len(self.processes)):
                raise MachineError(f"worker processes die before they have read anything; {self._advice()}")
        else:
            assignment.worker = None
            assignment.deaths += 1
            if assignment.deaths == MAX_DEATHS:
                raise MachineError(
                    f"{self._place(assignment.unit.start)}, ended {MAX_DEATHS} workers; {self._advice()}"
                )
        self.processes.append(Process(self.task))

    def _place(self, start: Position) -> str:
        source = self.task.source
        if start.file == len(source.files):
            return "the end of the source"
        places = {"parquet": f", row group {start.part}"} | dict.fromkeys(ITERATED, "")
        place = places.get(source.format, f", from byte {start.part:,} of its text on")
        return f"{source.files[start.file].name}{place} (row {start.row:,})"

    def _advice(self) -> str:
        return "out of memory? The same command goes on from the last checkpoint, --workers 1 takes the least memory"
