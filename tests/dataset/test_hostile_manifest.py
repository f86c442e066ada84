"""A meta.json from elsewhere, sealed with a right checksum: whatever it says, one clear error or a sound manifest."""

import json

import pytest
from synthetic import write_data_set

from bosrow.dataset.manifest import META, read_manifest, write_manifest
from bosrow.errors import DataSetError

NAMES = [
    "../train_000000.bin",
    "/etc/passwd",
    "train_000000.bin/..",
    "train_00000.bin",
    "train_000000.bin\n",
    "",
    5,
    None,
]
FIELDS = {
    "seq_len": [0, -1, 1 << 70, "16", 16.0, None, True, [], 15],
    "row_tokens": [0, 16, -17, "17", {}],
    "vocab_size": [0, -1, 1 << 17, (1 << 31) + 1, "61", None],
    "dtype": ["uint32", "int16", "<u2", 2, None],
    "bos_token_id": [-1, 61, "0", 1e300],
}
SHARD = {
    "rows": [0, -1, 1 << 60, "25", 24, True],
    "bytes": [-1, 0, 1 << 60, None],
    "sha256": ["", "x" * 64, 0],
    "split": ["test", 1],
}


def edited(folder, change):
    write_data_set(folder)
    meta = json.loads((folder / META).read_bytes())
    change(meta)
    write_manifest(folder, meta)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in FIELDS.items() for value in values])
def test_a_field_that_cannot_be_is_refused_and_named(tmp_path, name, value):
    edited(tmp_path, lambda meta: meta.update({name: value}))
    with pytest.raises(DataSetError, match=r"meta\.json"):
        read_manifest(tmp_path)


SHARDS = [*(("name", value) for value in NAMES), *((name, value) for name, values in SHARD.items() for value in values)]


@pytest.mark.parametrize(("name", "value"), SHARDS)
def test_a_shard_that_cannot_be_is_refused(tmp_path, name, value):
    edited(tmp_path, lambda meta: meta["bosrow"]["shards"][0].update({name: value}))
    with pytest.raises(DataSetError, match=r"meta\.json|train_000000"):
        read_manifest(tmp_path)


def test_a_shard_that_is_a_link_out_of_the_folder_is_refused(tmp_path):
    write_data_set(tmp_path / "set")
    (tmp_path / "set" / "train_000000.bin").rename(tmp_path / "outside")
    (tmp_path / "set" / "train_000000.bin").symlink_to(tmp_path / "outside")
    with pytest.raises(DataSetError, match="not a regular file"):
        read_manifest(tmp_path / "set")


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"NaN", b'{"a": NaN}', b"[" * 200_000, b"\xff", b"5"])
def test_what_is_no_json_object_is_refused(tmp_path, data):
    write_data_set(tmp_path)
    (tmp_path / META).write_bytes(data)
    with pytest.raises(DataSetError, match=r"meta\.json"):
        read_manifest(tmp_path)


def test_a_meta_json_that_could_not_be_read_back_is_not_written(tmp_path, monkeypatch):
    write_data_set(tmp_path)
    before = (tmp_path / META).read_bytes()
    monkeypatch.setattr("bosrow.dataset.manifest.MAX_META_BYTES", len(before) - 1)
    with pytest.raises(DataSetError, match="fewer and larger source files"):
        write_manifest(tmp_path, json.loads(before))
    assert (tmp_path / META).read_bytes() == before


def test_a_gigabyte_of_json_is_not_read(tmp_path):
    write_data_set(tmp_path)
    with open(tmp_path / META, "r+b") as file:
        file.truncate(1 << 30)
    with pytest.raises(DataSetError, match="at most"):
        read_manifest(tmp_path)
