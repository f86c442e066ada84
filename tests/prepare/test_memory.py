"""What a preparation takes of memory, measured on real processes from outside."""

import json
import subprocess

import psutil
import pytest
from kills import start

GIB = 1 << 30


def most_memory(*arguments: str) -> int:
    """The most bytes (PSS) that all processes of a run held together, looked at twenty times a second."""
    process, most = start(*arguments), 0
    while True:
        try:
            _, said = process.communicate(timeout=0.05)
        except subprocess.TimeoutExpired:
            pass
        else:
            assert process.returncode == 0, said
            return most
        total = 0
        for one in [head := psutil.Process(process.pid), *head.children(recursive=True)]:
            try:
                total += one.memory_full_info().pss
            except psutil.Error:
                continue
        most = max(most, total)


@pytest.mark.soak
@pytest.mark.skipif(not psutil.LINUX, reason="PSS is told by Linux alone")
@pytest.mark.parametrize("policy", ["crop", "keep"])
@pytest.mark.parametrize("piece", ["words and words ", "emoji 😀 and words "])
def test_a_document_of_100_mb_takes_less_than_a_gibibyte(tmp_path, policy, piece):
    text = piece * (100_000_000 // len(piece.encode()))
    with open(tmp_path / "large.jsonl", "w", encoding="utf-8") as file:
        for one in ["short text"] * 100 + [text] + ["short text"] * 100:
            file.write(json.dumps({"text": one}, ensure_ascii=False) + "\n")
    flags = ["--data_files", str(tmp_path / "large.jsonl"), "--val_fraction", "0", "--out_dir", str(tmp_path / "out")]
    most = most_memory(*flags, "--workers", "2", "--policy", policy)
    print(f"{policy}, {piece!r}: at most {most / 2**20:,.0f} MiB")
    assert most < GIB
