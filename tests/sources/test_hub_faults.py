"""Faults of the network below resolving and reading: passing ones change nothing, lasting ones are given up."""

import zlib

import pytest
from hub_corpora import FINEWEB, add_fineweb, refused
from hub_server import Fault, Hub

from bosrow.errors import MachineError, SourceError
from bosrow.hub import retries as hub_module
from bosrow.hub.ranges import open_file
from bosrow.sources.hub_repository import resolve


@pytest.mark.parametrize("kind", ["info", "tree", "paths-info", "resolve"])
@pytest.mark.parametrize(
    "fault",
    [Fault(status=429), Fault(status=500), Fault(status=503, headers={"Retry-After": "0"}), Fault(reset=True)],
    ids=["429", "500", "503", "reset"],
)
def test_one_passing_fault_in_resolving_changes_nothing(hub: Hub, quick_retries, kind: str, fault: Fault):
    seed = zlib.crc32(f"{kind} {fault}".encode())
    add_fineweb(hub, seed=seed)
    left = [fault]
    hub.fault = lambda request: left.pop() if request.kind == kind and left else None
    found = resolve(FINEWEB, "sample-10BT")
    assert not left
    assert [file.path for file in found.files] == ["sample/10BT/000_00000.parquet", "sample/10BT/001_00000.parquet"]


@pytest.mark.parametrize("status", [403, 404, 429, 500, 502, 503, 504])
def test_passing_faults_while_reading_give_the_same_bytes_and_are_logged(
    hub: Hub, quick_retries, caplog: pytest.LogCaptureFixture, status: int
):
    commit = hub.add("someone/read", {"train.parquet": b"0123456789" * 10})
    left = [Fault(status=status), Fault(status=status)]
    hub.fault = lambda request: left.pop() if left else None
    with open_file("someone/read", commit, "train.parquet", 100) as file:
        assert file.seek(95) == 95
        assert file.read() == b"56789"
    assert not left
    assert [f"HTTP status {status}" in record.message for record in caplog.records].count(True) == 2


@pytest.mark.parametrize(
    "fault", [Fault(reset=True), Fault(body_bytes=3), Fault(status=404, headers={"X-Error-Code": "EntryNotFound"})]
)
def test_resets_short_bodies_and_false_not_founds_while_reading_give_the_same_bytes(
    hub: Hub, quick_retries, fault: Fault
):
    commit = hub.add("someone/read", {"train.txt": b"0123456789"})
    left = [fault]
    hub.fault = lambda request: left.pop() if left else None
    with open_file("someone/read", commit, "train.txt", 10) as file:
        assert file.read() == b"0123456789"
    assert not left


@pytest.mark.parametrize("kind", ["info", "tree", "paths-info", "resolve"])
def test_a_connection_that_goes_silent_while_resolving_is_tried_again(hub: Hub, quick_retries, monkeypatch, kind: str):
    monkeypatch.setattr(hub_module, "SILENCE_SECONDS", 0.3)
    add_fineweb(hub, seed=zlib.crc32(kind.encode()))
    left = [Fault(delay_seconds=0.6)]
    hub.fault = lambda request: left.pop() if request.kind == kind and left else None
    assert len(resolve(FINEWEB, "sample-10BT").files) == 2
    assert not left


def test_a_connection_that_goes_silent_while_reading_is_tried_again(hub: Hub, quick_retries, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    commit = hub.add("someone/read", {"train.txt": b"0123456789"})
    left = [Fault(delay_seconds=0.6)]
    hub.fault = lambda request: left.pop() if left else None
    with open_file("someone/read", commit, "train.txt", 10) as file:
        assert file.read() == b"0123456789"
    assert not left


def test_a_hub_that_stays_broken_while_reading_is_given_up_and_the_message_says_the_run_can_go_on(
    hub: Hub, quick_retries
):
    commit = hub.add("someone/read", {"train.txt": b"0123456789"})
    hub.fault = lambda request: Fault(status=503)
    with open_file("someone/read", commit, "train.txt", 10) as file, pytest.raises(MachineError) as caught:
        file.read()
    assert "HTTP status 503" in str(caught.value)
    assert "the same command goes on" in str(caught.value)


@pytest.mark.parametrize("path", ["README.md", ".huggingface.yaml", "sample/10BT/001_00000.parquet"])
def test_a_listed_file_that_is_not_found_for_a_moment_is_asked_for_again(hub: Hub, quick_retries, path: str):
    add_fineweb(hub, seed=zlib.crc32(path.encode()))
    left = [Fault(status=404, headers={"X-Error-Code": "EntryNotFound"})]
    hub.fault = lambda request: left.pop() if request.path == path and left else None
    assert len(resolve(FINEWEB, "sample-10BT").files) == 2
    assert not left


@pytest.mark.parametrize("number", range(1, 12))
def test_a_false_not_found_at_any_request_never_resolves_to_other_files(hub: Hub, quick_retries, number: int):
    add_fineweb(hub, seed=4000 + 10 * number)
    fault = Fault(status=404, headers={"X-Error-Code": "EntryNotFound"})
    hub.fault = lambda request: fault if request.number == number else None
    try:
        found = resolve(FINEWEB)
    except SourceError:
        return
    assert (found.config, [file.path for file in found.files]) == ("default", ["data/CC-MAIN-2013-20/000.parquet"])


def test_a_hub_that_stays_broken_while_resolving_is_given_up(hub: Hub, quick_retries):
    hub.fault = lambda request: Fault(status=502)
    assert "HTTP status 502" in refused("someone/any")
    assert len(hub.requests) == 4
