"""Resolving and reading data sets of the Hub, with the real clients against the loopback Hub of tests/hub_server.py."""

import gzip
import hashlib
import io
import os
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_corpora import FINEWEB, add_fineweb, jsonl, parquet
from hub_server import TOKEN, Hub, Request

from bosrow.hub.ranges import open_file
from bosrow.prepare.prepare_options import PrepareOptions
from bosrow.sources.find import find_source
from bosrow.sources.hub_repository import resolve
from bosrow.sources.reading import documents_of, units_of
from bosrow.sources.unit import Position


def test_a_config_is_resolved_to_its_files_in_sorted_order_at_the_commit_of_now(hub: Hub):
    commit = add_fineweb(hub, seed=100)
    found = resolve(FINEWEB, "sample-10BT", "train")
    assert (found.revision, found.format, found.config, found.split) == (commit, "parquet", "sample-10BT", "train")
    assert [file.path for file in found.files] == ["sample/10BT/000_00000.parquet", "sample/10BT/001_00000.parquet"]
    contents = [hub.repositories[FINEWEB].commits[commit][file.path] for file in found.files]
    assert [file.size for file in found.files] == [len(content) for content in contents]
    assert [file.etag for file in found.files] == [hashlib.sha256(content).hexdigest() for content in contents]


def test_files_named_in_a_list_keep_the_order_of_the_list_and_compressed_json_is_json(hub: Hub):
    add_fineweb(hub, seed=200)
    found = resolve(FINEWEB, "notes", "train")
    assert found.format == "json"
    assert [file.path for file in found.files] == ["notes/b.jsonl.gz", "notes/a.jsonl"]


def test_the_order_of_files_is_the_one_in_which_datasets_streams_them(hub: Hub):
    from datasets import load_dataset

    files = {f"part-{name}.jsonl": jsonl(name) for name in ("10", "9", "b", "a", "A")}
    hub.add("someone/unsorted", files)
    found = resolve("someone/unsorted")
    streamed = [row["text"] for row in load_dataset("someone/unsorted", split="train", streaming=True)]
    assert [file.path for file in found.files] == [f"part-{text}.jsonl" for text in streamed]


def test_more_files_than_fit_into_one_answer_are_all_found(hub: Hub):
    names = [f"train-{number:05}.jsonl" for number in range(1300)]
    hub.add("someone/many", {name: jsonl(name) for name in names})
    found = resolve("someone/many")
    assert [file.path for file in found.files] == names
    assert sum(request.kind == "paths-info" for request in hub.requests) == 3


def test_without_a_config_the_default_one_is_taken(hub: Hub):
    add_fineweb(hub, seed=300)
    assert resolve(FINEWEB).config == "default"


def test_plain_text_files_without_a_readme_are_a_data_set(hub: Hub):
    hub.add("someone/plain", {"train.txt": b"a line\n", "test.txt": b"another\n"})
    found = resolve("someone/plain", split="test")
    assert (found.format, [file.path for file in found.files]) == ("text", ["test.txt"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [("x.jsonl.parquet", "parquet"), ("x.csv.parquet", "parquet"), ("x.parquet.jsonl.gz", "json")],
)
def test_the_last_ending_decides_what_a_file_holds(hub: Hub, name: str, expected: str):
    dataset = "someone/ending-" + name.replace(".", "-")
    hub.add(
        dataset,
        {name: parquet(4), "README.md": f"---\nconfigs:\n- {{config_name: a, data_files: {name}}}\n---".encode()},
    )
    assert resolve(dataset).format == expected


def test_a_revision_keeps_its_files_when_the_branch_moves_on(hub: Hub):
    first = add_fineweb(hub, seed=400)
    second = add_fineweb(hub, seed=500)
    assert resolve(FINEWEB, "sample-10BT").revision == second
    old = resolve(FINEWEB, "sample-10BT", revision=first)
    assert old.revision == first
    with open_file(FINEWEB, first, "notes/a.jsonl") as file:
        assert file.read() == jsonl("a", "400")


def test_a_push_in_the_middle_of_resolving_changes_nothing(hub: Hub):
    first = add_fineweb(hub, seed=600)

    def push_after_the_first_answer(request: Request) -> None:
        if request.number == 1:
            add_fineweb(hub, seed=700)

    hub.fault = push_after_the_first_answer
    found = resolve(FINEWEB, "sample-10BT")
    assert found.revision == first
    assert found.files[0].size == len(hub.repositories[FINEWEB].commits[first]["sample/10BT/000_00000.parquet"])


def test_a_local_folder_of_the_same_name_is_not_taken_for_the_data_set(hub: Hub, tmp_path, monkeypatch):
    commit = add_fineweb(hub, seed=800)
    (tmp_path / FINEWEB).mkdir(parents=True)
    (tmp_path / FINEWEB / "train.txt").write_text("local")
    monkeypatch.chdir(tmp_path)
    assert resolve(FINEWEB, "sample-10BT").revision == commit


def test_one_column_of_one_row_group_costs_little_more_than_its_own_bytes(hub: Hub):
    content = parquet(2000, seed=1)
    commit = hub.add("someone/wide", {"train.parquet": content})
    with pq.ParquetFile(
        open_file("someone/wide", commit, "train.parquet", len(content)), pre_buffer=False
    ) as parquet_file:
        column = parquet_file.metadata.row_group(7).column(0)
        texts = parquet_file.read_row_group(7, columns=["text"])["text"].to_pylist()
    assert texts == pq.read_table(io.BytesIO(content))["text"].to_pylist()[350:400]
    footer = 64 << 10  # what pyarrow reads of a file's end to find the footer
    assert hub.bytes_served["train.parquet"] == column.total_compressed_size + footer
    assert hub.bytes_served["train.parquet"] < len(content) / 10


def test_reading_a_whole_parquet_file_fetches_no_byte_of_a_column_twice(hub: Hub):
    content = parquet(2000, seed=2)
    commit = hub.add("someone/whole", {"train.parquet": content})
    with pq.ParquetFile(open_file("someone/whole", commit, "train.parquet"), pre_buffer=False) as parquet_file:
        rows = sum(parquet_file.read_row_group(group).num_rows for group in range(parquet_file.num_row_groups))
    assert rows == 2000
    assert hub.bytes_served["train.parquet"] <= len(content) + (64 << 10)


def test_a_dictionary_that_is_looked_at_first_costs_no_byte_more(hub: Hub):
    letters = random.Random(3)
    kinds = [letters.randbytes(500).hex() for _ in range(400)]
    table = pa.table({"id": [kind[:9] for kind in kinds] * 6, "text": kinds * 6})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=800)
    content = sink.getvalue()
    hub.add("someone/dictionaries", {"train.parquet": content})
    options = PrepareOptions(dataset="someone/dictionaries", id_field="id", out_dir=Path("out"))
    source = find_source(options)
    texts = [bytes(one.text).decode() for unit in units_of(source, Position()) for one in documents_of(source, unit)]
    assert texts == table["text"].to_pylist()
    assert hub.bytes_served["train.parquet"] <= len(content) + (64 << 10)


def test_a_compressed_file_is_read_once_from_start_to_end_and_can_seek(hub: Hub):
    text = random.Random(3).randbytes(3 << 20).hex().encode()
    content = gzip.compress(text, mtime=0)
    commit = hub.add("someone/zipped", {"train.jsonl.gz": content})
    with open_file("someone/zipped", commit, "train.jsonl.gz") as file:
        assert gzip.GzipFile(fileobj=file).read() == text
        assert hub.bytes_served["train.jsonl.gz"] == len(content)
        assert file.seek(-5, io.SEEK_END) == len(content) - 5
        assert file.read() == content[-5:]
        assert file.read(1) == b""


def test_the_token_goes_to_the_hub_and_not_to_the_storage(hub: Hub, monkeypatch):
    commit = add_fineweb(hub, seed=900, gated=True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    found = resolve(FINEWEB, "sample-10BT")
    assert found.revision == commit
    with open_file(FINEWEB, commit, found.files[0].path) as file:  # the server asserts that no token comes along
        assert file.read(4) == b"PAR1"
    assert any(request.kind == "storage" for request in hub.requests)


def in_a_process_with(environment: dict[str, str]) -> str:
    """The message of resolve in a process of its own: huggingface_hub reads its settings when it is imported."""
    code = (
        "from bosrow.sources.hub_repository import resolve\nfrom bosrow.errors import SourceError\n"
        "try:\n    resolve('someone/any')\nexcept SourceError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_offline_mode_is_named_and_nothing_is_asked(hub: Hub):
    assert "offline mode is set" in in_a_process_with({"HF_HUB_OFFLINE": "1"})
    assert not hub.requests


def test_no_network_points_to_local_files():
    message = in_a_process_with({"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert "cannot be reached" in message
    assert "--data_files" in message


def test_importing_the_module_imports_neither_client():
    code = (
        "import sys, bosrow.sources.hub_repository; print('datasets' in sys.modules, 'huggingface_hub' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "False"]
