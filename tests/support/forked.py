"""Programs of Python that start at once: forked from a server that has imported torch, which takes seconds.

They are processes like any other: of a session, an environment and an output of their own, to be signalled and killed.
The server is that of multiprocessing; each process of pytest has one, which ends with it.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from pathlib import Path

import pytest

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["forked_imports"])
_said = tempfile.TemporaryDirectory(prefix="bosrow-said-")
atexit.register(_said.cleanup)


class Forked:
    """A started program, with the methods of Popen that tests use."""

    def __init__(
        self,
        arguments: Sequence[object],
        environment: Mapping[str, str] = os.environ,
        folder: str | Path = ".",
        output: str | Path | None = None,
        errors: str | Path | None = None,
    ) -> None:
        """Start `python ARGUMENTS...` in `folder`; the first arguments are "-m" and a module, or a file.

        Standard output and errors go into files, or to these paths, which may be one, and pipes or terminals.
        """
        self.output, self.errors = Path(output or new_file()), Path(errors or new_file())
        words = [str(argument) for argument in arguments]
        _start_server()
        paths = (str(self.output), str(self.errors))
        self._process = _context.Process(target=_run, args=(words, dict(environment), os.path.abspath(folder), *paths))
        self._process.start()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        """The exit status; minus the signal that ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The exit status if it has ended."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once it has ended. Raises TimeoutExpired, with what it has said."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked program", timeout or 0.0, self.output.read_bytes())
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Its standard output and errors, once it has ended; the errors are empty where both are one."""
        self.wait(timeout)
        return self.output.read_text(), "" if self.errors == self.output else self.errors.read_text()

    def send_signal(self, number: int) -> None:
        """Send a signal to this process alone."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def kill_group(self) -> None:
        """SIGKILL to this process and those that it has started."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:  # it has just been forked, or has ended
            self.kill()


def stop_server() -> None:
    """End the server, where pytest itself has one; those of xdist's processes end with them."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


def new_file() -> str:
    """An empty file for what a program says; it is removed with the tests' own folder."""
    descriptor, path = tempfile.mkstemp(dir=_said.name)
    os.close(descriptor)
    return path


def _start_server() -> None:
    """Start it, if it is not running, with this process's path, which Python before 3.11.9 does not hand on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()


def _run(arguments: list[str], environment: dict[str, str], folder: str, output: str, errors: str) -> None:
    if "forked_imports" not in sys.modules:  # what the server cannot import it leaves out without a word
        raise ModuleNotFoundError("the server has not imported forked_imports")
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for path, number in ((output, 1), (errors, 2)):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOCTTY)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stderr.reconfigure(line_buffering=True)  # as in any interpreter, but not in the server's
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
