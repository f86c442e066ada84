"""`bosrow prepare` over a faulty network: one run of the real command for each fault, and the bytes stay."""

import gzip
import json
import os
import threading
import time
from collections import Counter
from email.utils import formatdate
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import bosrow, contents, documents
from hub_server import Fault, Hub, Request
from huggingface_hub.utils import httpx

from bosrow.hub import errors

NAME = "someone/corpus"
FILES = {
    f"train-{number}.jsonl.gz": gzip.compress(
        "".join(json.dumps({"text": text}) + "\n" for text in documents(60, seed=number)).encode(), mtime=0
    )
    for number in range(3)
}
SECOND = "train-1.jsonl.gz"
COMMAND = ["prepare", "--dataset", NAME, "--seq_len", "32", "--policy", "keep", "--workers", "1"]
FAULTS = {
    "429 with Retry-After": Fault(status=429, headers={"Retry-After": "0"}),
    "429": Fault(status=429),
    "500": Fault(status=500),
    "502": Fault(status=502),
    "503": Fault(status=503),
    "504": Fault(status=504),
    "a reset": Fault(reset=True),
    "a stall": Fault(delay_seconds=4),
    "a short body": Fault(body_bytes=10),
    "a false 404": Fault(status=404, headers={"X-Error-Code": "EntryNotFound"}),
    "an expired signed address": Fault(status=403),
}

SHORT = ("429 with Retry-After", "503", "a reset", "a stall", "an expired signed address")


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The shards of an undisturbed run."""
    folder = tmp_path_factory.mktemp("quiet")
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    command = ["prepare", "--data_files", folder / "*.gz", *COMMAND[3:], "--out_dir", folder / "out"]
    done = bosrow(*command)
    assert done.returncode == 0, done.stderr
    return shards(folder / "out")


def shards(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(folder).items() if name.endswith(".bin")}


def once(hub: Hub, fault: Fault) -> list[Request]:
    """The second file's contents fail once; the requests that met it."""
    met: list[Request] = []

    def strike(request: Request) -> Fault | None:
        if request.kind == "storage" and request.method == "GET" and request.path == SECOND and not met:
            met.append(request)
            return fault
        return None

    hub.fault = strike
    return met


@pytest.mark.parametrize(
    "kind", [kind if kind in SHORT else pytest.param(kind, marks=pytest.mark.soak) for kind in FAULTS]
)
def test_a_fault_while_a_planned_file_is_read_changes_no_byte_and_is_told(hub: Hub, quiet, tmp_path, kind):
    hub.add(NAME, FILES)
    met = once(hub, FAULTS[kind])
    # A stall is one when the client has waited so long.
    patience = {"env": os.environ | {"HF_HUB_DOWNLOAD_TIMEOUT": "2"}} if kind == "a stall" else {}
    done = bosrow(*COMMAND, "--out_dir", tmp_path / "out", **patience)
    assert done.returncode == 0, done.stderr
    assert len(met) == 1
    (told,) = [line for line in done.stderr.splitlines() if "trying again in" in line]
    assert f"/{SECOND}; trying again in 1 s (1 of 5)" in told
    if status := FAULTS[kind].status:
        assert told.startswith(f"HTTP status {status} while reading")
        # From the Hub's own address, which leads to a storage address signed anew.
        after = [request.kind for request in hub.requests[met[0].number :] if request.path == SECOND]
        assert after[:3] == ["storage", "resolve", "storage"]
    assert "Signature" not in done.stderr
    assert shards(tmp_path / "out") == quiet


def test_as_long_as_is_asked_for_is_waited(hub: Hub, quiet, tmp_path):
    hub.add(NAME, FILES)
    once(hub, Fault(status=429, headers={"Retry-After": "3"}))
    done = bosrow(*COMMAND, "--out_dir", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert f"{SECOND}; trying again in 3 s (1 of 5)" in done.stderr
    assert shards(tmp_path / "out") == quiet


@pytest.mark.parametrize(("asked", "expected"), [("a date", 250), ("soon", 0), ("7", 7)])
def test_the_time_to_wait_may_be_a_date(asked, expected):
    asked = formatdate(time.time() + 250, usegmt=True) if asked == "a date" else asked
    response = httpx.Response(429, headers={"Retry-After": asked})
    wait = errors.passing_wait_of_file(httpx.HTTPStatusError("", request=None, response=response))
    assert wait == pytest.approx(expected, abs=30 * (expected > 7))


def test_reading_goes_on_while_a_request_waits(hub: Hub, tmp_path):
    """One worker's request is answered only when those for all other files have arrived."""
    names = [f"train-{number}.parquet" for number in range(10)]
    for number, name in enumerate(names):
        pq.write_table(pa.table({"text": documents(60, seed=number)}), tmp_path / name)
    hub.add(NAME, {name: (tmp_path / name).read_bytes() for name in names})
    asked: Counter[str] = Counter()
    all_others = threading.Event()
    waited: list[bool] = []

    def hold(request: Request) -> None:
        if request.kind != "storage" or request.method != "GET":
            return
        asked[request.path] += 1  # by the reader for the footer, then by a worker; the first also for its columns
        if request.path == names[0] and asked[request.path] == 3:
            waited.append(all_others.wait(8))
        if all(asked[name] >= 2 for name in names[1:]):
            all_others.set()

    hub.fault = hold
    done = bosrow(*COMMAND[:-1], "2", "--out_dir", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert waited == [True]
    assert "trying again" not in done.stderr
    bosrow("prepare", "--data_files", tmp_path / "*.parquet", *COMMAND[3:], "--out_dir", tmp_path / "quiet")
    assert shards(tmp_path / "out") == shards(tmp_path / "quiet")


def test_a_revision_that_moves_meanwhile_is_not_followed(hub: Hub, quiet, tmp_path):
    first = hub.add(NAME, FILES)

    def push(request: Request) -> None:
        if request.kind == "storage" and request.method == "GET":
            hub.add(NAME, FILES | {SECOND: FILES["train-0.jsonl.gz"]})

    hub.fault = push
    done = bosrow(*COMMAND, "--out_dir", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert shards(tmp_path / "out") == quiet
    assert json.loads((tmp_path / "out" / "meta.json").read_bytes())["bosrow"]["source"]["revision"] == first


def test_when_it_is_given_up_the_state_is_kept_and_the_same_command_goes_on(hub: Hub, quiet, tmp_path):
    hub.add(NAME, FILES)
    hub.fault = lambda request: (
        Fault(status=503) if request.path == SECOND and request.kind == "storage" and request.method == "GET" else None
    )
    code = "import bosrow.hub.retries as hub; hub.RETRY_WAITS_SECONDS = (0.01,) * 5"
    (tmp_path / "quick").mkdir()
    (tmp_path / "quick" / "sitecustomize.py").write_text(code)
    quick = os.environ | {"PYTHONPATH": str(tmp_path / "quick")}
    done = bosrow(*COMMAND, "--out_dir", tmp_path / "out", env=quick)
    assert done.returncode == 1
    assert done.stderr.count("trying again in") == 5
    assert "HTTP status 503, tried 6 times" in done.stderr
    assert "when the network is back, the same command goes on" in done.stderr
    assert (tmp_path / "out" / "state.bin").exists()
    assert not (tmp_path / "out" / "meta.json").exists()
    hub.fault = lambda request: None
    done = bosrow(*COMMAND, "--out_dir", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "going on after 60 documents" in done.stderr
    assert shards(tmp_path / "out") == quiet
