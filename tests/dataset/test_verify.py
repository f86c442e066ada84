"""`bosrow verify`: sound data sets are sound, each flipped byte is found, and training refuses what is not whole."""

import json
import random
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from corpora import POLICIES, documents, prepared, write_corpus
from edited import change_provenance, reseal

from bosrow.cli import main
from bosrow.dataset.manifest import read_manifest, write_manifest
from bosrow.dataset.verify import damage, verify
from bosrow.dataset.verify_options import VerifyOptions
from bosrow.errors import OptionError


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> tuple[str, ...]:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, "parquet", documents(120))
    return (str(folder / "*.parquet"),)


@pytest.fixture
def keep(corpus, tmp_path) -> Path:
    prepared(tmp_path / "keep", data_files=corpus, policy="keep", val_fraction=0.2)
    return tmp_path / "keep"


def found_in(folder: Path, **levels: bool) -> list[str]:
    return damage(folder, read_manifest(folder), **levels)


BY_HASH = [(policy, {"val_fraction": share}) for policy in POLICIES for share in (0.0, 0.2)]


@pytest.mark.parametrize(
    ("policy", "val"), [*BY_HASH, ("crop", {"val_shards": 1}), ("crop-long-first", {"val_shards": 1})]
)
def test_what_prepare_made_is_sound_at_every_level(corpus, tmp_path, policy, val):
    prepared(tmp_path / "out", data_files=corpus, policy=policy, **val)
    for levels in ({"quick": True}, {"checksums": True}, {}):
        assert found_in(tmp_path / "out", **levels) == []


def test_a_data_set_without_provenance_is_sound(corpus, tmp_path):
    prepared(tmp_path / "out", data_files=corpus, policy="stream", no_provenance=True)
    assert found_in(tmp_path / "out") == []


def flip_bytes(folder: Path, flips: int, capsys: pytest.CaptureFixture[str]) -> int:
    """Flip single bytes at random places of all files, one after the other; how many were found."""
    chosen = random.Random(7)
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix in (".bin", ".json", ".parquet")]
    found = 0
    for number in range(flips):
        path = files[number % len(files)]
        data = path.read_bytes()
        place = chosen.randrange(len(data))
        path.write_bytes(data[:place] + bytes([data[place] ^ chosen.randrange(1, 256)]) + data[place + 1 :])
        found += verify(VerifyOptions(data_dir=folder, checksums=number % 2 == 0)) == 1
        path.write_bytes(data)
        capsys.readouterr()
    assert verify(VerifyOptions(data_dir=folder)) == 0
    return found


def test_each_of_100_flipped_bytes_is_found(keep, capsys):
    assert flip_bytes(keep, 100, capsys) == 100


@pytest.mark.soak
@pytest.mark.parametrize("policy", POLICIES)
def test_each_of_1000_flipped_bytes_is_found(corpus, tmp_path, capsys, policy):
    prepared(tmp_path / "out", data_files=corpus, policy=policy, val_fraction=0.2)
    assert flip_bytes(tmp_path / "out", 1000, capsys) == 1000


def rewrite(folder: Path, name: str, column: str, change) -> None:
    """Change a column of a provenance file and make meta.json agree with its bytes."""

    def rewritten(table: pa.Table) -> pa.Table:
        values = pa.array(change(table[column].to_numpy().copy()), table.schema.field(column).type)
        return table.set_column(table.column_names.index(column), column, values)

    change_provenance(folder, name, rewritten)


def swap(values: np.ndarray) -> np.ndarray:
    """Exchange the first two values that differ."""
    other = np.flatnonzero(values != values[0])[0]
    values[[0, other]] = values[[other, 0]]
    return values


def add_one(values: np.ndarray) -> np.ndarray:
    values[3] += 1
    return values


@pytest.mark.parametrize(
    ("name", "column", "change", "told"),
    [
        ("train_000000.parquet", "document", swap, "came before|BOS is not where"),
        ("train_000000.parquet", "length", add_one, "does not follow the one before|outside the rows"),
        ("train_000000.parquet", "column", add_one, "does not follow the one before|outside the rows"),
        ("train_000000.parquet", "offset", add_one, "came before|BOS is not where"),
        ("documents_000000.parquet", "tokens", add_one, "loses none|the ledger counts"),
        ("train_tail.parquet", "document", lambda values: values + 1, "does not fit document"),
    ],
)
def test_provenance_that_contradicts_the_rows_is_found_though_its_checksum_is_right(keep, name, column, change, told):
    rewrite(keep, name, column, change)
    found = found_in(keep)
    assert len(found) >= 1
    assert re.search(told, found[0])
    assert found_in(keep, checksums=True) == []


def test_a_bos_in_the_wrong_place_and_an_id_beyond_the_vocabulary_are_found(keep):
    path = keep / "train_000000.bin"
    tokens = np.fromfile(path, "<u2").reshape(-1, 33)
    tokens[2, 0], tokens[4, 5] = 17, 60_000
    path.write_bytes(tokens.tobytes())
    reseal(keep, "train_000000.bin")
    found = found_in(keep)
    assert any("row 2: begins with 17, not with BOS" in line for line in found)
    assert any("row 4, column 5: id 60000" in line for line in found)


def test_quick_finds_counts_that_disagree_and_files_that_are_not_named(keep):
    (keep / "val_000099.bin").write_bytes(b"")
    meta = json.loads((keep / "meta.json").read_bytes())
    meta["bosrow"]["ledger"]["train"]["tokens_placed"] += 1
    write_manifest(keep, meta)
    found = "\n".join(found_in(keep, quick=True))
    assert "val_000099.bin is not named" in found
    assert "does not balance" in found


def test_quick_and_checksums_exclude_each_other():
    with pytest.raises(OptionError, match="give one of them"):
        VerifyOptions(data_dir=Path("any"), quick=True, checksums=True)


@pytest.mark.parametrize("spoil", ["no meta.json", "short shard", "long shard", "missing shard", "missing provenance"])
def test_training_refuses_at_once_what_is_not_whole_and_names_it(keep, tmp_path, capsys, spoil):
    shard = keep / "train_000000.bin"
    path = {"no meta.json": keep / "meta.json", "missing provenance": keep / "provenance" / "documents_000000.parquet"}
    path = path.get(spoil, shard)
    if spoil.endswith("shard") and spoil != "missing shard":
        shard.write_bytes(shard.read_bytes()[:-2] if spoil == "short shard" else shard.read_bytes() + b"\0\0")
    else:
        path.unlink()
    run = tmp_path / "run"
    assert main(["train", "--data_dir", str(keep), "--seq_len", "32", "--device", "cpu", "--run_dir", str(run)]) == 2
    told = capsys.readouterr().err
    assert path.name in told
    assert str(keep) in told
    assert not run.exists()
