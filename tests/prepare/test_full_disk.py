"""Disks that are really full: a small tmpfs where the test may mount one, a limit of file size everywhere."""

import os
import re
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from corpora import bosrow, contents, documents, prepared, write_corpus

SETTINGS = [
    "--seq_len",
    "32",
    "--shard_rows",
    "50",
    "--buffer_docs",
    "20",
    "--workers",
    "0",
    "--checkpoint_seconds",
    "1e-9",
]
NO_ROOM = re.compile(r"/out/\S+: (No space left on device|File too large); .*[\d,]+ bytes are free there. Make room")


@pytest.fixture
def corpus(tmp_path) -> tuple[str, ...]:
    write_corpus(tmp_path / "corpus", "jsonl", documents(300))
    return (str(tmp_path / "corpus" / "*"),)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A tmpfs of 48 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "none", place], capture_output=True)
    if done.returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


def test_on_a_small_disk_the_run_stops_and_goes_on_as_the_disk_grows(corpus, tmp_path, small_disk):
    command = ["--data_files", *corpus, *SETTINGS, "--out_dir", small_disk / "out"]
    stops, size = 0, 48
    while (done := bosrow("prepare", *command)).returncode != 0:
        assert done.returncode == 1
        assert NO_ROOM.search(done.stderr), done.stderr
        assert not (small_disk / "out" / "meta.json").exists()
        stops, size = stops + 1, size + 24
        subprocess.run(["mount", "-o", f"remount,size={size}k", small_disk], check=True)
    assert stops >= 2
    assert contents(small_disk / "out") == prepared(tmp_path / "alone", data_files=corpus)


@pytest.mark.parametrize("bytes_a_file", [3000, pytest.param(None, marks=pytest.mark.soak)])
def test_where_files_may_not_grow_the_run_stops_and_goes_on_once_they_may(corpus, tmp_path, bytes_a_file):
    expected = prepared(tmp_path / "alone", data_files=corpus)
    largest = max(map(len, expected.values()))
    for limit in [bytes_a_file] if bytes_a_file else range(100, largest, 100):
        command = ["--data_files", *corpus, *SETTINGS, "--out_dir", tmp_path / str(limit) / "out"]
        for _ in range(2):
            done = bosrow(
                "prepare",
                *command,
                preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
                env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
            )
            assert done.returncode == 1, done.stderr
            assert NO_ROOM.search(done.stderr), done.stderr
        assert bosrow("prepare", *command).returncode == 0
        assert contents(tmp_path / str(limit) / "out") == expected
