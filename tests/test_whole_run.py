"""The suite's own promises: it heeds SIGINT however it was started, and no process outlives it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SUPPORT = Path(__file__).parent / "support"
SENDS_SIGINT = """
import signal, subprocess, sys
import pytest

def test_here():
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)

def test_in_a_process():
    process = subprocess.Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=-1, stdout=-1, stderr=-1)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == -signal.SIGINT
    process.communicate()
"""
LEAVES_A_PROCESS = """
import os, subprocess, sys

def test_forgetful():
    if os.fork() == 0:  # so that the process that stays is nobody's child in the end
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print(process.pid, file=open("left", "w"))
        os._exit(0)
    os.wait()

def test_tidy():
    subprocess.run([sys.executable, "-c", ""], check=True)
"""


def run_suite(folder: Path, test: str, *flags: str, shell: str = "") -> subprocess.CompletedProcess[str]:
    """Run a suite of one file, with the plugin."""
    (folder / "test_it.py").write_text(test)
    command = ["bash", "-c", f'{shell} exec "$@"', "bash", sys.executable, "-m", "pytest", "-p", "whole_run", *flags]
    environment = os.environ | {"PYTHONPATH": str(SUPPORT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("flags", [(), ("-n", "1")])
def test_tests_that_send_sigint_pass_in_a_run_that_was_started_with_it_ignored(tmp_path, flags):
    done = run_suite(tmp_path, SENDS_SIGINT, *flags, shell="trap '' INT;")
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


@pytest.mark.parametrize("flags", [(), ("-n", "1")])
def test_a_process_that_outlives_its_test_fails_the_run_is_named_and_killed(tmp_path, flags):
    done = run_suite(tmp_path, LEAVES_A_PROCESS, *flags)
    assert "2 passed" in done.stdout
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    process = (tmp_path / "left").read_text().strip()
    assert f"process {process}, started in test_it.py::test_forgetful (call): {sys.executable} -c" in done.stdout
    while psutil.pid_exists(int(process)) and psutil.Process(int(process)).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
