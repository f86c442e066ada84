"""One run at a time in a folder, with the operating system's locks and without them."""

import errno
import json
import multiprocessing
import os
import re
import socket
import threading
from pathlib import Path

import filelock._unix
import pytest

from bosrow import lock
from bosrow.errors import MachineError
from bosrow.lock import OWNER, folder_lock

NAMED = re.compile(rf"is in use by process (\d+) on {re.escape(socket.gethostname())} since 20\S+Z; wait for it")


@pytest.fixture(autouse=True)
def _short_times(monkeypatch):
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(lock, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(lock, "SILENT_SECONDS", 1.0)


@pytest.fixture
def no_locks(monkeypatch):
    """A file system without locks."""

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(filelock._unix.fcntl, "flock", flock)


def owner_file(folder: Path, **changed: object) -> None:
    """The owner file of a run elsewhere."""
    owner = {"host": "node7", "pid": 4711, "since": "2026-01-01T00:00:00Z", "machine": "another", "run": "1"}
    (folder / OWNER).write_text(json.dumps(owner | changed))


def _race(folder: Path, start: "multiprocessing.synchronize.Event", results: "multiprocessing.Queue[object]") -> None:
    start.wait()
    try:
        with folder_lock(folder):
            with open(folder / "alone", "x"):
                threading.Event().wait(0.05)
            (folder / "alone").unlink()
        results.put(("won", os.getpid()))
    except MachineError as error:
        results.put(("lost", str(error)))


def test_of_three_that_start_together_one_wins_and_the_others_name_it(tmp_path):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        start = context.Event()
        racers = [context.Process(target=_race, args=(folder, start, results)) for _ in range(3)]
        for racer in racers:
            racer.start()
        start.set()
        found = [results.get(timeout=60) for _ in racers]
        for racer in racers:
            racer.join()
        winners = [pid for outcome, pid in found if outcome == "won"]
        assert winners  # a process that came late may have won after the first
        for outcome, said in found:
            assert outcome == "won" or int(NAMED.search(said).group(1)) in winners


def test_a_lock_left_behind_by_a_killed_process_is_taken_at_once(tmp_path):
    owner_file(tmp_path, machine=lock._machine())
    (tmp_path / ".lock").touch()
    with folder_lock(tmp_path):
        assert json.loads((tmp_path / OWNER).read_text())["pid"] == os.getpid()
    assert not (tmp_path / OWNER).exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"host": 1}', b"\xff", b'{"pid": "x"}' * 1000])
def test_an_owner_file_that_cannot_be_read_holds_nobody_up(tmp_path, content):
    (tmp_path / OWNER).write_bytes(content)
    with folder_lock(tmp_path):
        pass


def test_an_owner_on_another_machine_without_a_sign_of_life_is_succeeded(tmp_path, capsys):
    owner_file(tmp_path)
    with folder_lock(tmp_path) as hold:
        hold.check()
    assert "was held by process 4711 on node7 since 2026-01-01T00:00:00Z; waiting up to 1 s" in capsys.readouterr().err


def test_an_owner_on_another_machine_with_a_heartbeat_is_left_alone(tmp_path):
    owner_file(tmp_path)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(0.05):
            os.utime(tmp_path / OWNER)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(MachineError, match="in use by process 4711 on node7 since"), folder_lock(tmp_path):
            pass
    finally:
        ended.set()
        thread.join()
    assert json.loads((tmp_path / OWNER).read_text())["pid"] == 4711


def test_where_locks_hold_on_one_machine_alone_the_first_to_write_its_name_wins(tmp_path, monkeypatch):
    """Another machine writes its name, and beats, between our look at the folder and our own writing."""
    read = lock._read_owner
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(0.02):
            os.utime(tmp_path / OWNER)

    thread = threading.Thread(target=beat)

    def too_late(folder: Path) -> lock.Owner | None:
        if thread.ident is None:
            owner_file(tmp_path)
            thread.start()
            return None
        return read(folder)

    monkeypatch.setattr(lock, "_read_owner", too_late)
    try:
        with pytest.raises(MachineError, match="in use by process 4711 on node7"), folder_lock(tmp_path):
            pass
    finally:
        ended.set()
        thread.join()


@pytest.mark.usefixtures("no_locks")
def test_without_locks_the_heartbeat_keeps_a_second_run_out(tmp_path):
    with folder_lock(tmp_path):
        with pytest.raises(MachineError, match=NAMED), folder_lock(tmp_path):
            pass
        assert (tmp_path / OWNER).exists()
    with folder_lock(tmp_path):
        pass


@pytest.mark.usefixtures("no_locks")
def test_without_locks_of_several_that_start_together_one_wins(tmp_path):
    results: list[str] = []
    together = threading.Barrier(5)
    all_done = threading.Barrier(5)

    def race() -> None:
        together.wait()
        try:
            with folder_lock(tmp_path):
                results.append("won")
                all_done.wait()
        except MachineError:
            results.append("lost")
            all_done.wait()

    threads = [threading.Thread(target=race) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["lost"] * 4 + ["won"]


def test_a_run_that_was_taken_over_stops_and_leaves_the_other_its_name(tmp_path):
    with folder_lock(tmp_path) as hold:
        owner_file(tmp_path)
        with pytest.raises(MachineError, match="was taken over by process 4711 on node7"):
            hold.check()
    assert json.loads((tmp_path / OWNER).read_text())["pid"] == 4711


def test_a_removed_owner_file_is_written_again(tmp_path):
    with folder_lock(tmp_path):
        (tmp_path / OWNER).unlink()
        for _ in range(200):
            if (tmp_path / OWNER).exists():
                break
            threading.Event().wait(0.05)
        assert json.loads((tmp_path / OWNER).read_text())["pid"] == os.getpid()
