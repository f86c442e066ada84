"""Parquet files that are encrypted, and such that unpack to far more than they take."""

import base64
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import bosrow
from pyarrow.parquet import encryption

LONG = "z y x w v u " * 80_000  # about 1 MB, four hundred times
COUNT_TEXT = r"""
import re, sys
from pathlib import Path
from bosrow.prepare.prepare_options import PrepareOptions
from bosrow.sources.find import find_source
from bosrow.sources.unit import Position
from bosrow.sources.reading import documents_of, units_of
source = find_source(PrepareOptions(data_files=(sys.argv[1],), out_dir=Path("out")))
read = [len(document.text) for unit in units_of(source, Position()) for document in documents_of(source, unit)]
print(len(read), sum(read), int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) >> 10)
"""


@pytest.mark.parametrize(
    ("column", "settings"),
    [
        (pa.array([LONG] * 400), {}),
        (pa.array([LONG] * 400), {"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY"}}),
        (pa.DictionaryArray.from_arrays(pa.array([0] * 3000, pa.int32()), pa.array([LONG])), {}),  # beyond 2 GiB
    ],
    ids=["dictionary in the file", "delta", "dictionary column"],
)
def test_references_to_a_long_text_are_read_in_little_memory(tmp_path, column, settings):
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet", **settings)
    command = [sys.executable, "-c", COUNT_TEXT, tmp_path / "a.parquet"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    documents, size, mebibytes = map(int, done.stdout.split())
    assert (documents, size) == (len(column), len(column) * len(LONG))
    assert mebibytes < 400


class Keys(encryption.KmsClient):
    def wrap_key(self, key_bytes, master_key_identifier):
        return base64.b64encode(key_bytes).decode()


def write_encrypted(path: Path, **settings) -> None:
    table = pa.table({"text": ["one two three"] * 40, "other": ["x"] * 40})
    factory = encryption.CryptoFactory(lambda _: Keys())
    config = encryption.EncryptionConfiguration(footer_key="footer", **settings)
    keys = factory.file_encryption_properties(encryption.KmsConnectionConfig(), config)
    with pq.ParquetWriter(path, table.schema, encryption_properties=keys) as writer:
        writer.write_table(table)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("plaintext_footer", [False, True])
@pytest.mark.parametrize("column", ["text", "other"])
def test_an_encrypted_file_is_told_as_such(tmp_path, column, plaintext_footer, workers):
    path = tmp_path / "a.parquet"
    write_encrypted(path, plaintext_footer=plaintext_footer, column_keys={"key": [column]})
    done = bosrow("prepare", "--data_files", path, "--out_dir", tmp_path / "out", "--workers", str(workers))
    assert done.returncode == 2
    assert "it is encrypted" in done.stderr
