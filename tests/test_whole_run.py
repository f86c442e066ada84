"""The suite's own promises: it heeds SIGINT however it was started, and no process outlives it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SUPPORT = Path(__file__).parent / "support"
SUITE = """
import os, signal, subprocess, sys
import pytest

def test_that_sends_sigint_to_itself():
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)

def test_that_sends_sigint_to_a_process():
    process = subprocess.Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=-1, stdout=-1, stderr=-1)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == -signal.SIGINT
    process.communicate()

def test_that_is_forgetful():
    if os.fork() == 0:  # so that the process that stays is nobody's child in the end
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print(process.pid, file=open("left", "w"))
        os._exit(0)
    os.wait()
"""


def run_suite(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run a suite of one file, with the plugin, from a shell that ignores SIGINT."""
    (folder / "test_it.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-p", "whole_run", *flags]
    environment = os.environ | {"PYTHONPATH": str(SUPPORT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        ["bash", "-c", "trap '' INT; exec \"$@\"", "bash", *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("flags", [(), ("-p", "xdist.plugin", "-n", "1")], ids=["alone", "xdist"])
def test_sigint_reaches_tests_however_the_run_was_started_and_a_process_that_outlives_them_fails_it(tmp_path, flags):
    done = run_suite(tmp_path, *flags)
    assert "3 passed" in done.stdout, done.stdout
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    process = (tmp_path / "left").read_text().strip()
    named = f"process {process}, started in test_it.py::test_that_is_forgetful (call): {sys.executable} -c import time"
    assert named in done.stdout
    while psutil.pid_exists(int(process)) and psutil.Process(int(process)).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)


TIDY = """
import multiprocessing, subprocess

def test_it():
    subprocess.run(['true'])
    forked = multiprocessing.get_context("forkserver").Process(target=print)  # its server ends with the run
    forked.start()
    forked.join()
"""


def test_a_run_that_leaves_no_process_behind_passes(tmp_path):
    (tmp_path / "test_it.py").write_text(TIDY)
    environment = os.environ | {"PYTHONPATH": str(SUPPORT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "whole_run"]
    assert subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=120).returncode == 0
