"""Kills, signals and dying workers of real processes: nothing is lost, nothing hangs, the bytes stay the same."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import psutil
import pytest
from corpora import POLICIES, bosrow, contents, documents, prepared, write_corpus
from kills import HANG_SECONDS, children, kill_randomly, start, survivors, wait_for_children

from bosrow.prepare import run as run_module
from bosrow.signals import SIGNALS

SETTINGS = [
    "--seq_len",
    "64",
    "--shard_rows",
    "300",
    "--buffer_docs",
    "50",
    "--val_fraction",
    "0.1",
    "--id_field",
    "id",
]
SHORT_SIGNALS = (signal.SIGINT,)
TWO_WORKERS = ["--workers", "2", "--checkpoint_seconds", "0.02"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> list[str]:
    """Flags for a corpus of 1.5 MB, in 20 row groups."""
    folder = tmp_path_factory.mktemp("corpus")
    texts = documents(800, median_words=200)
    return [*write_corpus(folder, "parquet", texts), *SETTINGS]


@pytest.fixture(scope="module")
def expected(corpus, tmp_path_factory) -> Callable[[str], dict[str, bytes]]:
    """The bytes of an undisturbed run of a policy."""

    @cache
    def of(policy: str) -> dict[str, bytes]:
        out_dir = tmp_path_factory.mktemp("undisturbed") / policy
        done = bosrow("prepare", *corpus, "--policy", policy, "--workers", "0", "--out_dir", out_dir)
        assert done.returncode == 0, done.stderr
        return contents(out_dir)

    return of


def test_random_kills_change_nothing(corpus, expected, tmp_path):
    arguments = [*corpus, "--policy", "crop", *TWO_WORKERS]
    done = kill_randomly(arguments, tmp_path, kills=3, seed=3, seconds=2.0, expected=expected("crop"))
    assert done["data sets"] >= 1


@pytest.mark.soak
@pytest.mark.parametrize("policy", POLICIES)
def test_fifty_random_kills_for_each_policy_change_nothing(corpus, expected, tmp_path, policy):
    arguments = [*corpus, "--policy", policy, *TWO_WORKERS]
    done = kill_randomly(
        arguments, tmp_path, kills=50, seed=POLICIES.index(policy), seconds=2.0, expected=expected(policy)
    )
    print(policy, dict(done))
    assert sum(done.values()) - done["data sets"] == 50


@pytest.mark.parametrize(
    ("kind", "kills"),
    [
        ("parquet", 1),
        *(pytest.param(kind, 25, marks=pytest.mark.soak) for kind in ("parquet", "jsonl.gz", "csv", "text")),
    ],
)
def test_random_kills_of_a_run_that_reads_from_the_hub_change_nothing(hub, tmp_path, kind, kills):
    write_corpus(tmp_path / "corpus", kind, documents(800, median_words=200), files=4)
    hub.add_folder("someone/corpus", tmp_path / "corpus")
    arguments = ["--dataset", "someone/corpus", "--seq_len", "64", "--shard_rows", "300", "--policy", "keep"]
    done = bosrow("prepare", *arguments, "--workers", "0", "--out_dir", tmp_path / "alone")
    assert done.returncode == 0, done.stderr
    done = kill_randomly(
        [*arguments, *TWO_WORKERS], tmp_path, kills, 9, seconds=3.0, expected=contents(tmp_path / "alone")
    )
    print(kind, dict(done))
    assert done["data sets"] >= 1


def test_a_worker_that_dies_is_replaced_and_the_bytes_stay(corpus, expected, tmp_path):
    process = start(*corpus, *TWO_WORKERS, "--out_dir", tmp_path / "out")
    before = wait_for_children(process, 3)
    before[1].kill()  # the first child is the reader
    while not (new := set(children(process)) - set(before)) and process.poll() is None:
        time.sleep(0.01)
    assert new
    _, said = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 0, said
    assert contents(tmp_path / "out") == expected("crop")


POISON = """
import os, sys
if "bosrow.prepare.worker" in " ".join(sys.orig_argv):
    import bosrow.prepare.worker as worker
    tokenize = worker._tokenize
    def poisoned(task, tokenizer, document):
        if b"POISON" in bytes(document.text):
            os.kill(os.getpid(), 9)
        return tokenize(task, tokenizer, document)
    worker._tokenize = poisoned
"""


def test_a_unit_that_ends_three_workers_stops_the_run_which_names_it_and_keeps_its_state(tmp_path):
    texts = documents(200)
    texts[130] = "POISON " * 30
    write_corpus(tmp_path / "corpus", "parquet", texts)  # two files of 100, in row groups of 40
    (tmp_path / "poison").mkdir()
    (tmp_path / "poison" / "sitecustomize.py").write_text(POISON)
    command = ["--data_files", tmp_path / "corpus" / "*", "--seq_len", 32, "--val_fraction", 0, "--batch_docs", 7]
    command += ["--workers", 2, "--out_dir", tmp_path / "out"]
    done = bosrow("prepare", *command, env=os.environ | {"PYTHONPATH": str(tmp_path / "poison")})
    assert done.returncode == 1
    assert "part_1.parquet, row group 0 (row 0), ended 3 workers" in done.stderr
    state = json.loads((tmp_path / "out" / "state.bin").read_bytes().split(b"\n")[0])
    assert state["documents"] == 128  # of the 30 before it in its unit, four batches of 7 were taken
    done = bosrow("prepare", *command)
    assert "going on after 128 documents" in done.stderr
    prepared(
        tmp_path / "alone",
        data_files=(str(tmp_path / "corpus" / "*"),),
        shard_rows=0,
        buffer_docs=1000,
        val_fraction=0.0,
    )
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, marks=() if number in SHORT_SIGNALS else pytest.mark.soak, id=number.name)
        for number in SIGNALS
    ],
)
def test_a_signal_ends_a_run_that_waits_for_a_slow_unit_and_it_goes_on_to_the_same_bytes(
    corpus, expected, tmp_path, number
):
    command = [*corpus, *TWO_WORKERS, "--out_dir", tmp_path / "out"]
    process = start(*command)
    workers = wait_for_children(process, 3)
    while not (tmp_path / "out" / "train_000000.bin").exists() and process.poll() is None:
        time.sleep(0.01)
    for worker in workers:
        worker.suspend()
    process.send_signal(number)
    process.send_signal(number)  # `timeout` sends it twice; so soon after the first it counts as one
    _, said = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 75, said
    assert f"stopped by {number.name} after" in said
    assert survivors(workers) == []
    done = bosrow("prepare", *command)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "out") == expected("crop")


def test_a_signal_ends_a_run_without_workers_that_waits_for_its_source(corpus, tmp_path):
    write_corpus(tmp_path / "corpus", "jsonl", documents(50), files=1)
    os.mkfifo(tmp_path / "corpus" / "slow.jsonl")  # nobody ever writes into it
    command = ["--data_files", tmp_path / "corpus" / "*", "--workers", 0, "--checkpoint_seconds", 1e-9, "--seq_len", 16]
    process = start(*command, "--out_dir", tmp_path / "out")
    state = tmp_path / "out" / "state.bin"
    while not (state.exists() and b'"documents": 50' in state.read_bytes()) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 75, said
    assert "after 50 documents" in said


BUSY = """
import sys, time
from bosrow.signals import caught_signals
with caught_signals():
    print("ready", flush=True)
    while True:
        time.sleep(0.1)
"""


def test_a_second_signal_leaves_at_once_and_one_sent_twice_is_one():
    process = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=HANG_SECONDS) == 75
    process.stdout.close()


def test_signals_that_were_ignored_at_the_start_stay_ignored(corpus, tmp_path):
    script = f"trap '' HUP; exec {shlex.quote(sys.executable)} -m bosrow prepare \"$@\""
    command = [*corpus, *TWO_WORKERS, "--out_dir", str(tmp_path / "out")]
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", *command], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    wait_for_children(process, 3)
    process.send_signal(signal.SIGHUP)
    _, said = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 0, said


def test_no_more_work_than_the_interval_is_at_risk(corpus, tmp_path, monkeypatch):
    """On a clock that a step takes on by a second: between two states lie 30 of them, and the one in hand."""
    now = 0.0
    saved: list[float] = []

    def step(*_: object) -> None:
        nonlocal now
        now += 1.0

    class Clock:
        monotonic = staticmethod(lambda: now)

    write_state = run_module.write_state
    monkeypatch.setattr(run_module, "time", Clock)
    monkeypatch.setattr(run_module.Progress, "update", step)
    monkeypatch.setattr(run_module, "write_state", lambda *a: (saved.append(now), write_state(*a)))
    write_corpus(tmp_path / "corpus", "jsonl", documents(200))
    prepared(tmp_path / "out", data_files=(str(tmp_path / "corpus" / "*"),), batch_docs=1)
    assert now > 200
    assert saved == [30.0 * number for number in range(len(saved))]
    assert now - saved[-1] <= 30


def test_a_complete_data_set_is_left_as_it_is(tmp_path):
    write_corpus(tmp_path / "corpus", "jsonl", documents(100))
    command = [
        "--data_files",
        tmp_path / "corpus" / "*",
        "--seq_len",
        16,
        "--shard_rows",
        9,
        "--out_dir",
        tmp_path / "out",
    ]
    assert bosrow("prepare", *command).returncode == 0
    before = {
        path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    children_before = psutil.Process().children()
    done = bosrow("prepare", *command)
    assert done.returncode == 0
    assert "is complete" in done.stdout
    assert before == {
        path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    assert psutil.Process().children() == children_before


def test_a_run_whose_files_were_changed_from_outside_does_not_go_on(tmp_path, corpus):
    command = [*corpus, *TWO_WORKERS, "--shard_rows", "50", "--out_dir", str(tmp_path / "out")]
    process = start(*command)
    state = tmp_path / "out" / "state.bin"
    while not (state.exists() and b"train_000001.bin" in state.read_bytes()) and process.poll() is None:
        time.sleep(0.01)  # until the first shard is recorded as complete
    process.kill()
    process.communicate()
    for path, change in (("train_000000.bin", "missing"), ("provenance/train_000000.parquet", "shorter")):
        file: Path = tmp_path / "out" / path
        content = file.read_bytes()
        file.unlink() if change == "missing" else file.write_bytes(content[:-1])
        done = bosrow("prepare", *command)
        assert done.returncode == 2
        assert f"{path}: {len(content):,} bytes were recorded" in done.stderr
        file.write_bytes(content)
    done = bosrow("prepare", *command)
    assert done.returncode == 0, done.stderr
    assert "going on" in done.stderr
