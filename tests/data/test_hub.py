"""Resolving and reading data sets of the Hub, with the real clients against the loopback Hub of tests/hub_server.py."""

import gzip
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import zlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import TOKEN, Fault, Hub, Request

from bosrow.data import hub as hub_module
from bosrow.data.hub import open_file, resolve
from bosrow.errors import MachineError, SourceError

FINEWEB = "HuggingFaceFW/fineweb-edu"
README = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/*/*.parquet
- config_name: sample-10BT
  data_files:
  - split: train
    path: sample/10BT/*
- config_name: notes
  data_files:
  - split: train
    path: [notes/b.jsonl.gz, notes/a.jsonl]
  - split: validation
    path: notes/held.jsonl
---
# Text of the web
"""


def parquet(rows: int, seed: int = 0, row_group_size: int = 50) -> bytes:
    random_text = random.Random(seed)
    table = pa.table(
        {
            "text": [random_text.randbytes(200).hex() for _ in range(rows)],
            "url": [random_text.randbytes(400).hex() for _ in range(rows)],
        }
    )
    sink = io.BytesIO()
    pq.write_table(
        table, sink, row_group_size=row_group_size, compression="none", use_dictionary=False, write_statistics=False
    )
    return sink.getvalue()


def jsonl(*texts: str) -> bytes:
    return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()


def add_fineweb(hub: Hub, seed: int = 0, **access: bool) -> str:
    """Contents differ with `seed`, so that no test finds the commit of another one in the clients' caches."""
    files = {
        "README.md": README.encode(),
        "data/CC-MAIN-2013-20/000.parquet": parquet(10, seed=seed),
        "sample/10BT/001_00000.parquet": parquet(200, seed=seed + 1),
        "sample/10BT/000_00000.parquet": parquet(100, seed=seed + 2),
        "notes/a.jsonl": jsonl("a", str(seed)),
        "notes/b.jsonl.gz": gzip.compress(jsonl("b"), mtime=0),
        "notes/held.jsonl": jsonl("held"),
        ".huggingface.yaml": b"license: odc-by\n",
    }
    return hub.add(FINEWEB, files, **access)


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


def refused(*arguments: str | None) -> str:
    with pytest.raises(SourceError) as caught:
        resolve(*arguments)
    assert TOKEN not in str(caught.value)
    return str(caught.value)


def test_no_such_data_set(hub: Hub):
    message = refused("someone/nothing")
    assert "no data set 'someone/nothing'" in message
    assert "private" in message


def test_a_private_data_set_opens_with_the_token_alone(hub: Hub, monkeypatch):
    hub.add("someone/secret", {"train.txt": b"secret\n"}, private=True)
    assert "private" in refused("someone/secret")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert resolve("someone/secret").format == "text"


def test_a_token_that_is_not_valid_is_not_shown(hub: Hub, monkeypatch):
    add_fineweb(hub, seed=1000)
    monkeypatch.setenv("HF_TOKEN", "hf_wrongandnotshown")
    message = refused(FINEWEB, "sample-10BT")
    assert "refused your token" in message
    assert "wrongandnotshown" not in message


def test_a_gated_data_set_without_a_token_says_how_to_get_in(hub: Hub):
    add_fineweb(hub, seed=1100, gated=True)
    message = refused(FINEWEB, "sample-10BT")
    assert "gated" in message
    assert f"/datasets/{FINEWEB}" in message
    assert "HF_TOKEN" in message


def test_a_gated_data_set_whose_readme_is_open_to_all_is_still_found_gated(hub: Hub):
    hub.add("someone/gated", {"train.txt": b"text\n"}, gated=True)
    assert "gated" in refused("someone/gated")


def test_no_such_config_lists_those_there_are(hub: Hub):
    add_fineweb(hub, seed=1200)
    message = refused(FINEWEB, "sample-10GT")
    assert "no config 'sample-10GT'" in message
    assert "default, sample-10BT, notes" in message


def test_a_config_that_is_needed_lists_those_there_are(hub: Hub):
    readme = README.replace("config_name: default", "config_name: full")
    hub.add("someone/configs", {"README.md": readme.encode(), "data/a/0.parquet": parquet(3)})
    assert "--config: full, sample-10BT, notes" in refused("someone/configs")


def test_no_such_split_lists_those_there_are(hub: Hub):
    add_fineweb(hub, seed=1300)
    assert "there are: train, validation" in refused(FINEWEB, "notes", "test")


@pytest.mark.parametrize("split", ["train[:1%]", "train+test", "train[10:20]", ""])
def test_a_split_expression_is_refused_with_max_docs_as_the_way(split: str):
    assert "--max_docs" in refused(FINEWEB, None, split)


def test_no_such_revision(hub: Hub):
    add_fineweb(hub, seed=1400)
    assert "no revision 'v9'" in refused(FINEWEB, "sample-10BT", "train", "v9")


@pytest.mark.parametrize("name", ["wikitext", "a/b/c", "../x/y", "", "owner/na me"])
def test_what_cannot_be_a_name_on_the_hub_is_refused_without_a_request(hub: Hub, name: str):
    assert "--data_files" in refused(name)
    assert not hub.requests


def test_other_formats_are_refused_and_those_that_are_read_are_named(hub: Hub):
    hub.add("someone/tables", {"train.xml": b"<text>hello</text>"})
    assert "train.xml; bosrow reads files that end in .parquet" in refused("someone/tables")


def test_two_formats_in_one_split_are_refused(hub: Hub):
    readme = b"---\nconfigs:\n- config_name: default\n  data_files: '*'\n---\n"
    hub.add("someone/mixed", {"README.md": readme, "a.jsonl": jsonl("a"), "b.txt": b"b\n", "c.jsonl": jsonl("c")})
    assert "a.jsonl and b.txt" in refused("someone/mixed")


def test_a_data_set_that_is_a_script_is_refused_and_never_run(hub: Hub, tmp_path):
    trap = tmp_path / "trap"
    hub.add("someone/script", {"script.py": f"open({str(trap)!r}, 'w')".encode(), "train.txt": b"text\n"})
    assert "script" in refused("someone/script")
    assert not trap.exists()


def test_a_data_set_without_files_is_refused(hub: Hub):
    hub.add("someone/empty", {"README.md": b"# nothing yet\n"})
    assert "someone/empty" in refused("someone/empty")


def test_a_readme_that_is_not_yaml_is_refused(hub: Hub):
    hub.add("someone/broken", {"README.md": b"---\nconfigs: [\n---\n", "train.txt": b"x\n"})
    assert "someone/broken" in refused("someone/broken")


def test_settings_that_would_change_which_text_is_read_are_refused(hub: Hub):
    readme = b"---\nconfigs:\n- config_name: default\n  data_files: train.json\n  field: rows\n---\n"
    hub.add("someone/nested", {"README.md": readme, "train.json": b'{"rows": [{"text": "a"}]}'})
    assert "field='rows'" in refused("someone/nested")


@pytest.mark.parametrize("kind", ["info", "tree", "paths-info", "resolve"])
@pytest.mark.parametrize(
    "fault",
    [Fault(status=429), Fault(status=500), Fault(status=503, headers={"Retry-After": "0"}), Fault(reset=True)],
    ids=["429", "500", "503", "reset"],
)
def test_one_passing_fault_in_resolving_changes_nothing(hub: Hub, quick_retries, kind: str, fault: Fault):
    seed = zlib.crc32(f"{kind} {fault}".encode())
    add_fineweb(hub, seed=seed)
    left = [fault]
    hub.fault = lambda request: left.pop() if request.kind == kind and left else None
    found = resolve(FINEWEB, "sample-10BT")
    assert not left
    assert [file.path for file in found.files] == ["sample/10BT/000_00000.parquet", "sample/10BT/001_00000.parquet"]


@pytest.mark.parametrize("status", [403, 404, 429, 500, 502, 503, 504])
def test_passing_faults_while_reading_give_the_same_bytes_and_are_logged(
    hub: Hub, quick_retries, caplog: pytest.LogCaptureFixture, status: int
):
    commit = hub.add("someone/read", {"train.parquet": b"0123456789" * 10})
    left = [Fault(status=status), Fault(status=status)]
    hub.fault = lambda request: left.pop() if left else None
    with open_file("someone/read", commit, "train.parquet", 100) as file:
        assert file.seek(95) == 95
        assert file.read() == b"56789"
    assert not left
    assert [f"HTTP status {status}" in record.message for record in caplog.records].count(True) == 2


@pytest.mark.parametrize(
    "fault", [Fault(reset=True), Fault(body_bytes=3), Fault(status=404, headers={"X-Error-Code": "EntryNotFound"})]
)
def test_resets_short_bodies_and_false_not_founds_while_reading_give_the_same_bytes(
    hub: Hub, quick_retries, fault: Fault
):
    commit = hub.add("someone/read", {"train.txt": b"0123456789"})
    left = [fault]
    hub.fault = lambda request: left.pop() if left else None
    with open_file("someone/read", commit, "train.txt", 10) as file:
        assert file.read() == b"0123456789"
    assert not left


@pytest.mark.parametrize("kind", ["info", "tree", "paths-info", "resolve"])
def test_a_connection_that_goes_silent_while_resolving_is_tried_again(hub: Hub, quick_retries, monkeypatch, kind: str):
    monkeypatch.setattr(hub_module, "SILENCE_SECONDS", 0.3)
    add_fineweb(hub, seed=zlib.crc32(kind.encode()))
    left = [Fault(delay_seconds=0.6)]
    hub.fault = lambda request: left.pop() if request.kind == kind and left else None
    assert len(resolve(FINEWEB, "sample-10BT").files) == 2
    assert not left


def test_a_connection_that_goes_silent_while_reading_is_tried_again(hub: Hub, quick_retries, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    commit = hub.add("someone/read", {"train.txt": b"0123456789"})
    left = [Fault(delay_seconds=0.6)]
    hub.fault = lambda request: left.pop() if left else None
    with open_file("someone/read", commit, "train.txt", 10) as file:
        assert file.read() == b"0123456789"
    assert not left


def test_a_hub_that_stays_broken_while_reading_is_given_up_and_the_message_says_the_run_can_go_on(
    hub: Hub, quick_retries
):
    commit = hub.add("someone/read", {"train.txt": b"0123456789"})
    hub.fault = lambda request: Fault(status=503)
    with open_file("someone/read", commit, "train.txt", 10) as file, pytest.raises(MachineError) as caught:
        file.read()
    assert "HTTP status 503" in str(caught.value)
    assert "the same command goes on" in str(caught.value)


@pytest.mark.parametrize("path", ["README.md", ".huggingface.yaml", "sample/10BT/001_00000.parquet"])
def test_a_listed_file_that_is_not_found_for_a_moment_is_asked_for_again(hub: Hub, quick_retries, path: str):
    add_fineweb(hub, seed=zlib.crc32(path.encode()))
    left = [Fault(status=404, headers={"X-Error-Code": "EntryNotFound"})]
    hub.fault = lambda request: left.pop() if request.path == path and left else None
    assert len(resolve(FINEWEB, "sample-10BT").files) == 2
    assert not left


@pytest.mark.parametrize("number", range(1, 12))
def test_a_false_not_found_at_any_request_never_resolves_to_other_files(hub: Hub, quick_retries, number: int):
    add_fineweb(hub, seed=4000 + 10 * number)
    fault = Fault(status=404, headers={"X-Error-Code": "EntryNotFound"})
    hub.fault = lambda request: fault if request.number == number else None
    try:
        found = resolve(FINEWEB)
    except SourceError:
        return
    assert (found.config, [file.path for file in found.files]) == ("default", ["data/CC-MAIN-2013-20/000.parquet"])


def test_a_hub_that_stays_broken_while_resolving_is_given_up(hub: Hub, quick_retries):
    hub.fault = lambda request: Fault(status=502)
    assert "HTTP status 502" in refused("someone/any")
    assert len(hub.requests) == 4


def in_a_process_with(environment: dict[str, str]) -> str:
    """The message of resolve in a process of its own: huggingface_hub reads its settings when it is imported."""
    code = (
        "from bosrow.data.hub import resolve\nfrom bosrow.errors import SourceError\n"
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
    code = "import sys, bosrow.data.hub; print('datasets' in sys.modules, 'huggingface_hub' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "False"]
