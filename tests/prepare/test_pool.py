"""Child processes that die at the worst moments: each is a death like any other, which the pool makes up for."""

import os
import struct
import sys
from multiprocessing.connection import Connection
from socket import socketpair

import pytest
from corpora import bosrow, documents, write_corpus

from bosrow.prepare.pool import Process

KILLS_THE_READER = """
import os, sys
if "bosrow.prepare.worker" in " ".join(sys.orig_argv):
    import bosrow.sources.parquet as source
    units_of = source.units_of
    def deadly(given, start):
        if start.file == 1:
            os.kill(os.getpid(), 9)
        return units_of(given, start)
    source.units_of = deadly
"""


def test_a_process_that_dies_in_the_middle_of_a_message_has_died():
    ours, theirs = socketpair()
    process = Process.__new__(Process)
    process.connection = Connection(ours.detach())
    theirs.send(struct.pack("!i", 1000) + b"half of it")
    theirs.close()
    with pytest.raises(EOFError):
        process.receive()


def test_a_process_that_dies_before_it_has_taken_its_task_has_died(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    process = Process("x" * 10_000_000)  # more than a socket holds
    with pytest.raises(EOFError):
        process.receive()
    process.stop()


def test_a_file_that_ends_the_reading_process_three_times_is_named(tmp_path):
    write_corpus(tmp_path / "corpus", "parquet", documents(200))
    (tmp_path / "deadly").mkdir()
    (tmp_path / "deadly" / "sitecustomize.py").write_text(KILLS_THE_READER)
    command = ["--data_files", tmp_path / "corpus" / "*", "--seq_len", 32, "--val_fraction", 0, "--workers", 1]
    command += ["--out_dir", tmp_path / "out"]
    done = bosrow("prepare", *command, env=os.environ | {"PYTHONPATH": str(tmp_path / "deadly")})
    assert done.returncode == 1
    assert "the reading process died 3 times from part_0.parquet, row group 3 (row 100) on" in done.stderr
    assert bosrow("prepare", *command).returncode == 0
