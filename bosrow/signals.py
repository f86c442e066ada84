"""Signals that end a command in good order: Ctrl-C, SIGTERM, SIGHUP, and SIGUSR1.

Slurm can send SIGUSR1 as a warning: with `sbatch --signal=USR1@120`, two minutes before the time is up. The first
signal is only noted, or raises Stopped where the work can be interrupted without harm. Another signal ends the process
at once, if it comes more than a second later: `timeout` and some shells send the same signal twice. A signal that was
ignored at the start (nohup) stays ignored.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from bosrow.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
REPEAT_SECONDS = 1.0


class Stopped(BaseException):
    """A signal has arrived. Not an Exception, so that no library catches it as an error of its own."""


class Stop:
    """The first signal that has arrived within `caught_signals`."""

    def __init__(self) -> None:
        self._number: signal.Signals | None = None
        self._arrived = 0.0
        self._waiting = False

    @property
    def asked(self) -> bool:
        """Whether a signal has arrived."""
        return self._number is not None

    @property
    def name(self) -> str:
        """Which signal came first."""
        return self._number.name if self._number else "no signal"

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """In this block a signal raises Stopped at once; one that came before raises it at the start."""
        self._waiting = True
        try:
            if self._number:
                raise Stopped
            yield
        finally:
            self._waiting = False

    def note(self, number: int, _: FrameType | None) -> None:
        """The signal handler."""
        now = time.monotonic()
        if self._number is None:
            self._number, self._arrived = signal.Signals(number), now
        elif now - self._arrived > REPEAT_SECONDS:
            os._exit(Interrupted.exit_status)
        else:
            return
        if self._waiting:
            raise Stopped


@contextmanager
def caught_signals() -> Iterator[Stop]:
    """Catch SIGNALS. Outside the main thread nothing is caught, since Python allows no handlers there."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    former = {number: signal.getsignal(number) for number in SIGNALS}
    caught = [number for number, handler in former.items() if handler is not signal.SIG_IGN]
    for number in caught:
        signal.signal(number, stop.note)
    try:
        yield stop
    finally:
        for number in caught:
            signal.signal(number, former[number])


@contextmanager
def held_back() -> Iterator[None]:
    """Block SIGNALS for child processes that are started in this block; their parent handles them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
