"""The time of a preparation by its number of files: 1,000, 10,000 and 100,000, which should cost ten times each.

Run as a program (`python benchmarks/bench_files.py [COUNT ...]`): small JSON Lines files, a document each, in a
temporary folder. The last line is JSON: seconds and microseconds a file, by number of files.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def seconds(folder: Path, files: int) -> float:
    """Wall seconds of preparing `files` files with a document each by two workers, with the usual checkpoints."""
    corpus = folder / f"corpus_{files}"
    for number in range(files):
        path = corpus / f"{number // 1000:04d}" / f"{number:07d}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"text": f"document {number} of a few words"}) + "\n")
    flags = ["--data_files", corpus, "--out_dir", folder / f"out_{files}", "--seq_len", 64, "--policy", "keep"]
    flags += ["--workers", 2]
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "bosrow", "prepare", *map(str, flags)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Print a line for each number of files, then all as JSON."""
    counts = [int(argument) for argument in sys.argv[1:]] or [1_000, 10_000, 100_000]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for files in counts:
            took = seconds(Path(folder), files)
            found[files] = {"seconds": round(took, 2), "microseconds_a_file": round(took / files * 1e6)}
            print(f"{files:>9,} files: {took:8.1f} s, {took / files * 1e6:8,.0f} us a file", flush=True)
    print(json.dumps({"benchmark": "files"} | found))


if __name__ == "__main__":
    main()
