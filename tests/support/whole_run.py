"""A pytest plugin for the run as a whole: it heeds SIGINT wherever it was started, and no process outlives it.

What a shell starts with `&`, or under nohup, ignores SIGINT, and so would every process that a test starts and
sends it. Here the run takes it again, as in a terminal.

Each process that a test starts, and each that one of these starts, inherits the run's name in an environment
variable. Any that is still there at the end is named with the test that started it, and killed; the run has failed.
"""

import os
import signal
import sys
import uuid

import psutil
import pytest

VARIABLE = "BOSROW_TEST_RUN"
PATIENCE_SECONDS = 5.0  # for those that end with the test processes
_left_over: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    """In a worker of xdist there is nothing to do: it inherits both."""
    if not hasattr(config, "workerinput"):
        os.environ[VARIABLE] = uuid.uuid4().hex
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """After all fixtures, and all workers of xdist, have ended."""
    if hasattr(session.config, "workerinput"):
        return
    if "forked" in sys.modules:
        sys.modules["forked"].stop_server()
    for process in psutil.wait_procs(_processes_of_this_run(), timeout=PATIENCE_SECONDS)[1]:
        try:
            test = process.environ().get("PYTEST_CURRENT_TEST", "no test")
            _left_over.append(f"process {process.pid}, started in {test}: {' '.join(process.cmdline())}")
            process.kill()
        except psutil.NoSuchProcess:
            continue
    if _left_over:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name them."""
    if _left_over:
        terminalreporter.section("processes that outlived the tests", red=True)
        for line in _left_over:
            terminalreporter.write_line(line)


def _processes_of_this_run() -> list[psutil.Process]:
    """But for this one, and Python's own that end with it: the tracker of shared resources, the server that forks."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get(VARIABLE) == os.environ[VARIABLE]
            words = " ".join(process.cmdline())
            serves = "resource_tracker" in words or ("forkserver" in words and process.ppid() == os.getpid())
            if ours and not serves:
                found.append(process)
        except psutil.Error:
            continue  # it has ended, or is another user's
    return [process for process in found if process.pid != os.getpid()]
