"""`bosrow verify` beside reading the same files, whole processes, from the page cache and from the disk."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from side_by_side import DEV, needs_dev, prepare, report, run, spread

READ = """
import sys
for name in sys.argv[1:]:
    with open(name, "rb", buffering=0) as file:
        while file.read(1 << 20):
            pass
"""


def forget(files: list[Path]) -> None:
    """Drop the files from the page cache."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


@needs_dev
@pytest.mark.parametrize("cache", ["cold", "warm"])
@pytest.mark.parametrize("level", ["--checksums", "default"])
def test_verify_against_reading(benchmark, capsys, tmp_path, level, cache):
    """Ten copies of the shards of the corpus, 1.1 GB, in one data set: so that a start of Python counts little."""
    made = tmp_path / "data"
    copies = [tmp_path / f"{number}_{path.name}" for number in range(10) for path in DEV]  # a name is read once
    for number, copy in enumerate(copies):
        copy.symlink_to(DEV[number % len(DEV)])
    prepare(made, "--data_files", *copies, "--policy", "keep", "--engine", "gigatoken")
    files = [path for path in made.rglob("*") if path.suffix in (".bin", ".parquet")]
    size = sum(path.stat().st_size for path in files)
    flags = [] if level == "default" else [level]
    reading, ours = [], []

    def ready() -> None:
        if cache == "cold":
            forget(files)

    def read() -> None:
        ready()
        reading.append(run(sys.executable, "-c", READ, *files).wall_seconds)
        ready()

    command = [sys.executable, "-m", "bosrow", "verify", made, *flags]
    benchmark.pedantic(lambda: ours.append(run(*command).wall_seconds), setup=read, rounds=3)
    rates = [spread([size / 1e6 / seconds for seconds in one])["median"] for one in (ours, reading)]
    lines = [f"verify {level}, {cache}: {rates[0]:,.0f} MB/s; reading alone {rates[1]:,.0f} MB/s; {size / 1e6:,.0f} MB"]
    report(capsys, f"verify {level} {cache}", lines, seconds=spread(ours), reading_seconds=spread(reading), bytes=size)
    shutil.rmtree(made)
