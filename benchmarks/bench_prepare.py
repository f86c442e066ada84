"""`bosrow prepare` as a whole, on real text: against tokenizing alone, the simplest implementation, and itself."""

import json
import sys
from pathlib import Path

import pytest
from side_by_side import DEV, needs_dev, prepare, report, run, spread

HERE = Path(__file__).parent
TEXT = ["--data_files", *DEV, "--val_fraction", "0.005"]
pytestmark = needs_dev


def test_prepare_against_tokenizing_alone_on_the_same_cores(benchmark, capsys, tmp_path):
    alone, alone_cpu, ours, ours_wall, ours_cpu = [], [], [], [], []

    def tokenize() -> None:
        cost = run(sys.executable, HERE / "tokenize_alone.py", *DEV)
        alone.append(json.loads(cost.output)["seconds"])
        alone_cpu.append(cost.cpu_seconds)

    def whole() -> None:
        cost, meta = prepare(tmp_path / "out", *TEXT)
        ours.append(meta["elapsed_seconds"])
        ours_wall.append(cost.wall_seconds)
        ours_cpu.append(cost.cpu_seconds)

    benchmark.pedantic(whole, setup=tokenize, rounds=3)
    share = spread(alone)["median"] / spread(ours)["median"]
    figures = {
        "tokenizing_alone_seconds": spread(alone),
        "prepare_elapsed_seconds": spread(ours),
        "prepare_wall_seconds": spread(ours_wall),
        "tokenizing_alone_cpu_seconds": spread(alone_cpu),
        "prepare_cpu_seconds": spread(ours_cpu),
    }
    lines = [f"{name:<30} {value['median']:>7.2f}" for name, value in figures.items()]
    report(capsys, "prepare_against_tokenizing", [*lines, f"share {share:.2f} (aim: 0.85)"], **figures, share=share)


@pytest.mark.parametrize("engine", ["tiktoken", "gigatoken"])
def test_prepare_against_the_simplest_implementation(benchmark, capsys, tmp_path, engine):
    """Whole processes on all files, start-up counted; the same rows."""
    simplest, ours = [], []
    flags = ["--data_files", *DEV, "--val_fraction", "0", "--engine", engine]
    benchmark.pedantic(
        lambda: ours.append(prepare(tmp_path / "out", *flags)[0].wall_seconds),
        setup=lambda: simplest.append(
            run(sys.executable, HERE / "simplest.py", tmp_path / "rows.bin", *DEV).wall_seconds
        ),
        rounds=3,
    )
    rows = b"".join(path.read_bytes() for path in sorted((tmp_path / "out").glob("train_*.bin")))
    assert rows == (tmp_path / "rows.bin").read_bytes()
    slow, fast = spread(simplest), spread(ours)
    ratio = slow["median"] / fast["median"]
    lines = [f"simplest {slow['median']:.1f} s, {engine} {fast['median']:.2f} s: {ratio:.1f} times (aim: 6)"]
    report(capsys, f"prepare_against_simplest_{engine}", lines, simplest_seconds=slow, seconds=fast, ratio=ratio)


def test_overhead_of_provenance(benchmark, capsys, tmp_path):
    with_it, without_it, cpu_with, cpu_without = [], [], [], []
    flags = [*TEXT, "--policy", "keep"]

    def without() -> None:
        cost, meta = prepare(tmp_path / "without", *flags, "--no_provenance")
        without_it.append(meta["elapsed_seconds"])
        cpu_without.append(cost.cpu_seconds)

    def whole() -> None:
        cost, meta = prepare(tmp_path / "with", *flags)
        with_it.append(meta["elapsed_seconds"])
        cpu_with.append(cost.cpu_seconds)

    benchmark.pedantic(whole, setup=without, rounds=7)
    shards = sum(path.stat().st_size for path in (tmp_path / "with").glob("*.bin"))
    share = sum(path.stat().st_size for path in (tmp_path / "with" / "provenance").iterdir()) / shards
    time = spread(with_it)["median"] / spread(without_it)["median"] - 1
    cpu = spread(cpu_with)["median"] / spread(cpu_without)["median"] - 1
    lines = [f"provenance: {share:.2%} of the shards' bytes (aim: 1.5%), {time:+.1%} time, {cpu:+.1%} CPU (aim: 5%)"]
    figures = {"with": spread(with_it), "without": spread(without_it), "cpu_with": spread(cpu_with)}
    report(capsys, "provenance", lines, bytes_share=share, time=time, cpu=cpu, **figures)


def test_packing_anew_against_preparing_from_text(benchmark, capsys, tmp_path):
    again, text = [], []
    options = ["--seq_len", "2048", "--policy", "keep"]
    prepare(tmp_path / "store", *TEXT, "--policy", "keep")
    benchmark.pedantic(
        lambda: again.append(prepare(tmp_path / "again", "--from", tmp_path / "store", *options)[1]["elapsed_seconds"]),
        setup=lambda: text.append(prepare(tmp_path / "text", *TEXT, *options)[1]["elapsed_seconds"]),
        rounds=3,
    )
    ratio = spread(text)["median"] / spread(again)["median"]
    lines = [
        f"from text {spread(text)['median']:.2f} s, --from {spread(again)['median']:.2f} s: {ratio:.1f} times (aim: 10)"
    ]
    report(capsys, "from", lines, text_seconds=spread(text), from_seconds=spread(again), ratio=ratio)
