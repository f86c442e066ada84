"""What commands print: for any terminal, and for readers that leave early or were never there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = '{"text": "模型 Ångström one two three four"}\n' * 40
BOSROW = [sys.executable, "-m", "bosrow"]
VERBS = ["--help", "--version", "verify --help", "inspect DATA", "trace DATA --row 0", "verify DATA"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("printed")
    (folder / "texts.jsonl").write_text(TEXT)
    prepare(folder, "DATA")
    return folder


def prepare(folder: Path, out: str, **settings) -> int:
    flags = f"--data_files texts.jsonl --out_dir {out} --policy keep --val_fraction 0 --seq_len 4 --workers 1"
    return subprocess.run([*BOSROW, "prepare", *flags.split()], cwd=folder, timeout=120, **settings).returncode


def nobody() -> int:
    """The writing end of a pipe whose reader has left."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("verb", VERBS)
def test_a_report_that_nobody_reads_to_its_end_is_no_failure(folder, verb):
    done = subprocess.run([*BOSROW, *verb.split()], cwd=folder, stdout=nobody(), stderr=subprocess.PIPE, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")


def test_verify_tells_damage_by_its_status_also_where_nobody_reads_what_it_is(folder):
    prepare(folder, "damaged")
    shard = folder / "damaged" / "train_000000.bin"
    shard.write_bytes(b"\0\0" + shard.read_bytes()[2:])
    assert subprocess.run([*BOSROW, "verify", "damaged"], cwd=folder, stdout=nobody(), timeout=120).returncode == 1


def test_a_preparation_whose_output_nobody_reads_is_done_all_the_same(folder):
    assert prepare(folder, "unread", stdout=nobody(), stderr=nobody()) == 0
    assert (folder / "unread" / "train_000000.bin").read_bytes() == (folder / "DATA" / "train_000000.bin").read_bytes()


@pytest.mark.parametrize("verb", VERBS[:1] + VERBS[3:])
def test_a_full_disk_under_the_output_is_an_error_of_the_machine(folder, verb):
    with open("/dev/full", "w") as full:
        done = subprocess.run([*BOSROW, *verb.split()], cwd=folder, stdout=full, stderr=subprocess.PIPE, timeout=120)
    assert done.returncode == 1
    assert b"standard output: No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "ascii:surrogateescape", "utf-8"])
@pytest.mark.parametrize(
    "verb",
    ["inspect DATA --rows 3", "trace DATA --row 0 --text", "policies --data_files texts.jsonl --seq_len 4"],
)
def test_what_a_terminal_cannot_show_becomes_a_question_mark(folder, verb, encoding):
    settings = {"env": os.environ | {"PYTHONIOENCODING": encoding}, "cwd": folder, "timeout": 120}
    done = subprocess.run([*BOSROW, *verb.split()], capture_output=True, **settings)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "utf" in encoding or b"?" in done.stdout
    assert done.stdout.decode(encoding.partition(":")[0])


def test_a_folder_whose_name_is_not_utf_8_is_shown_with_a_question_mark(folder, capfd):
    assert prepare(folder, os.fsdecode(b"na\xefve")) == 0
    assert "na?ve: 160 train rows" in capfd.readouterr().out
