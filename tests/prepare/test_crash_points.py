"""A preparation that ends at any of its durable operations goes on to the same bytes.

Each test is a short form, with points at equal distances from a seeded start, of a sweep over all points (soak).
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from corpora import POLICIES, SOURCES, documents, write_source

RUNNER = Path(__file__).parents[1] / "support" / "crash_points.py"
VAL = {"shards": ["--val_shards", "1"], "fraction": ["--val_fraction", "0.2"], "none": ["--val_fraction", "0"]}
# Small enough that a run of sixty documents comes by every kind of boundary, and records its state at each.
CONSTANTS = {
    "bosrow.dataset.provenance_writer.DOCUMENTS_PER_FILE": 25,
    "bosrow.dataset.provenance_writer.FLUSH_RECORDS": 8,
    "bosrow.dataset.provenance_writer.FLUSH_BYTES": 40,
    "bosrow.dataset.provenance_writer.ROW_GROUP_LINES": 16,
    "bosrow.dataset.shard_writer.BLOCK_BYTES": 256,
    "bosrow.sources.parquet.UNIT_BYTES": 2000,
    "bosrow.sources.text.UNIT_BYTES": 2000,
    "bosrow.sources.token_files.UNIT_TOKENS": 300,
    "bosrow.sources.stored.UNIT_DOCUMENTS": 20,
    "bosrow.lock.LOOK_SECONDS": 0.01,  # after a power cut the owner file may be empty, which makes a run look twice
}
RECORDS = ("pieces", "documents", "ids")
NAMED = (".bin", ".parquet", "bad_rows.jsonl")  # what meta.json names or stands for
ARGUMENTS = ["--seq_len", "16", "--shard_rows", "20", "--buffer_docs", "8", "--batch_docs", "6", "--workers", "0"]
ARGUMENTS += ["--checkpoint_seconds", "1e-9"]

COMBINATIONS = [(policy, val) for policy in POLICIES for val in VAL if val != "shards" or policy.startswith("crop")]
SHORT = [
    ("crop", "shards", "jsonl", "kill"),
    ("crop", "shards", "parquet", "power"),
    ("crop-long-first", "fraction", "jsonl with bad rows", "torn"),
    ("keep", "fraction", "rows", "kill"),
    ("keep", "fraction", "jsonl.gz", "full"),
    ("stream", "fraction", "tokens", "power"),
]


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is one: the real fsync takes most of the time, and gives nothing here."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="bosrow-") as folder:
        yield Path(folder)


def sweep(workplace: Path, source: str, policy: str, val: str, fault: str, points: Any, **more: Any) -> dict[str, Any]:
    """What the runner finds at `points` (None: at all)."""
    flags = write_source(workplace / "source", source, documents(60, median_words=8))
    flags += ["--policy", policy, *([] if source == "rows" else VAL[val])]
    return sweep_flags(workplace, flags, fault, points, **more)


def sweep_flags(workplace: Path, flags: list[str], fault: str, points: Any, **more: Any) -> dict[str, Any]:
    """The same for what `flags` name."""
    plan = {
        "arguments": [*flags, *ARGUMENTS],
        "folder": str(workplace / "work"),
        "constants": CONSTANTS,
        "fault": fault,
        "points": points,
        **more,
    }
    done = subprocess.run([sys.executable, RUNNER], input=json.dumps(plan), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def differences(found: dict[str, Any]) -> list[Any]:
    """Where something was wrong, and what."""
    operations = found["operations"]
    return [(operations[one["point"] - 1], one["wrong"]) for one in found["findings"] if one["wrong"]]


def some_points(*case: str) -> dict[str, int]:
    """Every 37th operation, from a start of this case's own."""
    return {"start": zlib.crc32(repr(case).encode()), "step": 37}


@pytest.mark.parametrize("case", SHORT, ids=" ".join)
def test_a_run_that_ends_at_any_operation_goes_on_to_the_same_bytes(workplace, case):
    policy, val, source, fault = case
    found = sweep(workplace, source, policy, val, fault, some_points(*case))
    assert len(found["findings"]) >= 2
    assert differences(found) == []


def test_a_run_killed_again_and_again_goes_on_to_the_same_bytes(workplace):
    faults = [("kill", 20), ("power", 31), ("torn", 45), ("full", 60), ("kill", 3)]
    points = {"start": 5, "step": 101}
    found = sweep(workplace, "jsonl", "keep", "fraction", "kill", points, resume_faults=faults)
    assert differences(found) == []


def test_a_full_disk_is_told_with_the_file_and_the_bytes_that_had_no_room(workplace):
    found = sweep(workplace, "jsonl", "crop", "shards", "full", {"start": 8, "step": 37})
    complete = 0
    for one in found["findings"]:
        if one["status"] == 0:
            complete += 1  # the last operations only delete
            continue
        assert one["status"] == 1
        assert re.search(r"\S+/out\S*: No space left on device; .* [\d,]+ bytes are free there", one["said"])
    assert complete <= 1
    assert differences(found) == []


def test_every_write_is_followed_by_the_syncs_that_it_needs(workplace):
    found = sweep(workplace, "jsonl with bad rows", "crop", "shards", "kill", [])
    check_order(found["operations"])
    kinds = {operation[0] for operation in found["operations"]}
    assert kinds == {"make", "write", "truncate", "fsync", "fsync folder", "replace", "unlink", "mkdir"}


def check_order(operations: list[list[str]]) -> None:
    """Renames: an fsync of the file before, one of the folder after. State and meta.json: after all that they name."""
    dirty: set[str] = set()  # written since the last fsync
    unnamed: set[str] = set()  # made since the last fsync of their folder
    replaced = 0
    for number, (kind, path, *rest) in enumerate(operations):
        folder = str(Path(path).parent)
        if kind in ("make", "mkdir"):
            unnamed.add(path)
        elif kind in ("write", "truncate"):
            dirty.add(path)
        elif kind == "fsync":
            dirty.discard(path)
        elif kind == "fsync folder":
            unnamed = {one for one in unnamed if str(Path(one).parent) != path}
        elif kind == "unlink":
            dirty.discard(path)
            unnamed.discard(path)
        elif kind == "replace":
            replaced += 1
            assert path not in dirty, f"{path} is replaced before it is durable (operation {number})"
            assert operations[number + 1] == ["fsync folder", folder]
            unnamed.discard(path)
            if rest[0].endswith(".parquet"):  # the records that it was made of are needed no more
                stem = rest[0].removesuffix("parquet")
                dirty -= {stem + ending for ending in RECORDS}
            if rest == ["out/state.bin"]:
                lacking = {one for one in dirty | unnamed if one.endswith((*NAMED, *RECORDS))}
                assert not lacking, f"the state counts on {lacking}, not yet durable (operation {number})"
            if rest == ["out/meta.json"]:
                assert [one for one in dirty if one.endswith(NAMED)] == []
                assert [one for one in unnamed if one.endswith(NAMED) or one == "out/provenance"] == []
    assert replaced > 10
    last = [operation for operation in operations if operation[0] == "replace"][-1]
    assert last[2] == "out/meta.json"


@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace to ask what was really done")
def test_the_runner_sees_every_operation_that_the_kernel_sees(tmp_path):
    flags = write_source(tmp_path / "source", "jsonl with bad rows", documents(60, median_words=8))
    plan = {
        "arguments": [*flags, *ARGUMENTS, "--policy", "keep"],
        "folder": str(tmp_path / "work"),
        "constants": CONSTANTS,
        "fault": "kill",
        "points": [],
    }
    log = tmp_path / "strace"
    calls = "write,pwrite64,writev,pwritev,fsync,fdatasync,ftruncate,truncate,mkdir,mkdirat,unlink,unlinkat"
    calls += (
        ",rename,renameat,renameat2,link,linkat,symlink,symlinkat,copy_file_range,sendfile,sync_file_range,fallocate"
    )
    strace = ["strace", "-f", "-y", "-qq", "-e", f"trace={calls}", "-o", str(log)]
    done = subprocess.run([*strace, sys.executable, RUNNER], input=json.dumps(plan), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seen = [operation[0] for operation in json.loads(done.stdout)["operations"]]
    lines = [
        line for line in log.read_text().splitlines() if str(tmp_path / "work" / "out") in line and "ENOENT" not in line
    ]
    kernel = [re.search(r"^\d+ +(\w+)\(", line).group(1) for line in lines]
    assert kernel.count("write") == seen.count("write")
    assert kernel.count("fsync") == seen.count("fsync") + seen.count("fsync folder") - 1  # one is of the folder above
    assert kernel.count("ftruncate") == seen.count("truncate")
    assert kernel.count("rename") == seen.count("replace")
    assert kernel.count("unlink") == seen.count("unlink")
    assert kernel.count("mkdir") == seen.count("mkdir")
    assert set(kernel) == {"write", "fsync", "ftruncate", "rename", "unlink", "mkdir"}


@pytest.mark.soak
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("policy", POLICIES)
def test_every_operation_is_survived_for_every_kind_of_source(workplace, policy, source):
    vals = [val for one, val in COMBINATIONS if one == policy]
    found = sweep(workplace, source, policy, vals[SOURCES.index(source) % len(vals)], "kill", None)
    print(f"{len(found['findings'])} kill points, {policy}, {source}")
    assert differences(found) == []


SOME = {"start": 9, "step": 61}
HUB_OR_DATASETS = [("Hub", "parquet", SOME), ("here", "csv", SOME)]
HUB_OR_DATASETS += [
    pytest.param(*case, None, marks=pytest.mark.soak)
    for case in (("Hub", "parquet"), ("Hub", "jsonl.gz"), ("Hub", "csv"), ("here", "csv"))
]


@pytest.mark.parametrize(("place", "kind", "points"), HUB_OR_DATASETS)
def test_operations_are_survived_where_the_hub_or_datasets_is_the_source(hub, workplace, place, kind, points):
    flags = write_source(workplace / "corpus", kind, documents(20, median_words=8))
    if place == "Hub":
        hub.add_folder("someone/corpus", workplace / "corpus")
        flags = ["--dataset", "someone/corpus", "--id_field", "id"]
    flags += ["--policy", "keep", "--val_fraction", "0.2"]
    found = sweep_flags(workplace, flags, "kill", points, imports=["datasets.load"])
    print(f"{len(found['findings'])} kill points, {kind}, {place}")
    assert len(found["findings"]) >= 2
    assert differences(found) == []


@pytest.mark.soak
@pytest.mark.parametrize("fault", ["kill", "torn", "power", "full"])
@pytest.mark.parametrize(("policy", "val"), COMBINATIONS)
def test_every_operation_is_survived_for_every_policy_and_split(workplace, policy, val, fault):
    found = sweep(workplace, "jsonl", policy, val, fault, None)
    print(f"{len(found['findings'])} points, {fault}, {policy}, val {val}")
    assert differences(found) == []
    if fault == "full":
        complete = 1 + max(n for n, one in enumerate(found["operations"]) if one[0] == "replace")  # meta.json's
        assert all(one["status"] == (one["point"] < complete) for one in found["findings"])


@pytest.mark.soak
@pytest.mark.parametrize("fault", ["kill", "power"])
def test_every_operation_of_a_run_that_goes_on_is_survived(workplace, fault):
    for again in (10, 25, 60, 120):
        found = sweep(
            workplace, "jsonl", "keep", "fraction", "kill", {"start": again, "step": 11}, resume_faults=[(fault, again)]
        )
        assert differences(found) == []
        shutil.rmtree(workplace / "source")
