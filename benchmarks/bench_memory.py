"""Memory, open files and time per token of a long preparation, none of which may grow with the corpus.

    python benchmarks/bench_memory.py [--megabytes 400] [--tiny_documents 1000000] [--plot .benchmarks/memory.png]

Two runs through two workers: `--megabytes` of text of web-like lengths (72,000 of them keep two cores busy for about
an hour), and so many documents of three words. The text is fresh throughout: seeded words of a Zipf-like law. Once
a second PSS (shared pages counted once), open files and CPU time of all processes are read from outside, and the tokens
so far from the state file. Prints each quantity's median over the quarters of a run, draws all of it as a picture, and
ends with one JSON line.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

FILE_DOCUMENTS = {"web": 20_000, "tiny": 500_000}
QUANTITIES = {"pss": "PSS of all processes, MiB", "files": "open files", "tokens": "tokens read, million"}


def words(random: np.random.Generator, count: int) -> np.ndarray:
    """A vocabulary of made-up words, frequent ones first."""
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    return np.array(["".join(random.choice(letters[:20], 1 + int(random.gamma(3, 1.5)))) for _ in range(count)])


def write_corpus(folder: Path, kind: str, limit: int) -> None:
    """Parquet files of `limit` bytes of text ("web") or `limit` documents ("tiny")."""
    random = np.random.default_rng(1)
    vocabulary = words(random, 30_000)
    share = 1 / np.arange(1, 30_001)
    written = 0
    for number in itertools.count():
        count = FILE_DOCUMENTS[kind] if kind == "web" else min(FILE_DOCUMENTS[kind], limit - written)
        lengths = np.maximum(1, random.lognormal(5.9, 1.0, count)).astype(int) if kind == "web" else np.full(count, 3)
        chosen = random.choice(vocabulary, lengths.sum(), p=share / share.sum())
        ends = np.cumsum(lengths)
        texts = [" ".join(chosen[end - length : end]) for end, length in zip(ends, lengths, strict=True)]
        pq.write_table(
            pa.table({"text": texts}),
            folder / f"{number:05d}.parquet",
            row_group_size=1000 if kind == "web" else 100_000,
        )
        written += sum(map(len, texts)) if kind == "web" else count
        if written >= limit:
            return


def watch(process: "subprocess.Popen[bytes]", out_dir: Path) -> list[dict[str, float]]:
    """What was seen once a second until the run's end."""
    samples: list[dict[str, float]] = []
    began = time.monotonic()
    while True:
        try:
            process.wait(timeout=1)
            return samples
        except subprocess.TimeoutExpired:
            pass
        sample = {"seconds": time.monotonic() - began, "pss": 0.0, "files": 0.0, "cpu": 0.0}
        sample["tokens"] = tokens_so_far(out_dir)
        try:
            head = psutil.Process(process.pid)
            for one in [head, *head.children(recursive=True)]:
                sample["pss"] += one.memory_full_info().pss / 2**20
                sample["files"] += one.num_fds()
                sample["cpu"] += one.cpu_times().user + one.cpu_times().system
        except psutil.Error:
            continue  # a process ended while it was looked at
        samples.append(sample)


def tokens_so_far(out_dir: Path) -> float:
    """Million tokens, by the last state."""
    try:
        with open(out_dir / "state.bin", "rb") as file:
            state = json.loads(file.readline())
    except FileNotFoundError:
        return float("nan")
    return sum(ledger["tokens_read"] for ledger in state["ledgers"].values()) / 1e6


def quarters(values: list[float]) -> list[float]:
    """The median of each quarter, of what is known."""
    parts = np.array_split([value for value in values if value == value], 4)
    return [round(float(statistics.median(part)), 1) if len(part) else float("nan") for part in parts]


def measure(kind: str, limit: int) -> dict[str, Any]:
    """Write the corpus, prepare it, watch."""
    with tempfile.TemporaryDirectory(prefix="bosrow-memory-") as folder:
        print(f"writing the corpus ({kind}) ...", flush=True)
        write_corpus(Path(folder), kind, limit)
        out_dir = Path(folder) / "out"
        command = ["--data_files", f"{folder}/*.parquet", "--out_dir", str(out_dir), "--workers", "2"]
        command += ["--checkpoint_seconds", "2", "--shard_rows", "2000"]
        with open(Path(folder) / "said", "wb") as said:
            process = subprocess.Popen([sys.executable, "-m", "bosrow", "prepare", *command], stdout=said, stderr=said)
            samples = watch(process, out_dir)
        if process.returncode != 0:
            sys.exit((Path(folder) / "said").read_text())
        meta = json.loads((out_dir / "meta.json").read_bytes())
    settled = samples[len(samples) // 5 :]
    seconds, cpu, tokens = (np.array([sample[name] for sample in settled]) for name in ("seconds", "cpu", "tokens"))
    parts = [part for part in np.array_split(np.flatnonzero(tokens == tokens), 4) if len(part) > 1]
    rates = [float((tokens[part[-1]] - tokens[part[0]]) / (seconds[part[-1]] - seconds[part[0]])) for part in parts]
    costs = [float((cpu[part[-1]] - cpu[part[0]]) / (tokens[part[-1]] - tokens[part[0]])) for part in parts]
    return {
        "samples": samples,
        "documents": meta["docs_processed"],
        "seconds": round(samples[-1]["seconds"], 1),
        "pss_mib_by_quarter": quarters([sample["pss"] for sample in settled]),
        "open_files_by_quarter": quarters([sample["files"] for sample in settled]),
        "million_tokens_per_second_by_quarter": [round(rate, 3) for rate in rates],
        "cpu_seconds_per_million_tokens_by_quarter": [round(cost, 3) for cost in costs],
        "pss_mib_at_most": round(max(sample["pss"] for sample in samples), 1),
    }


def draw(path: Path, runs: dict[str, dict[str, Any]]) -> None:
    """A column for each run, a line for each quantity."""
    figure = matplotlib.figure.Figure(figsize=(6 * len(runs), 7), layout="constrained")
    for place, (axes, (name, label)) in enumerate(
        zip(np.reshape(figure.subplots(3, len(runs)), (3, -1)), QUANTITIES.items(), strict=True)
    ):
        for one, (kind, run) in zip(axes, runs.items(), strict=True):
            one.plot([sample["seconds"] for sample in run["samples"]], [sample[name] for sample in run["samples"]])
            one.set_ylim(bottom=0)
            one.set_ylabel(label)
            one.set_title(f"{kind}: {run['documents']:,} documents" if place == 0 else "")
    for one in axes:
        one.set_xlabel("seconds")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--tiny_documents", type=int, default=1_000_000)
    parser.add_argument("--plot", type=Path, default=Path(".benchmarks/memory.png"))
    options = parser.parse_args()
    runs = {}
    for kind, limit in (("web", options.megabytes * 10**6), ("tiny", options.tiny_documents)):
        if limit:
            runs[kind] = measure(kind, limit)
    draw(options.plot, runs)
    report = {kind: {name: value for name, value in run.items() if name != "samples"} for kind, run in runs.items()}
    for kind, run in report.items():
        print(kind, *(f"\n  {name:<38} {value}" for name, value in run.items()))
    print(f"picture: {options.plot}")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
