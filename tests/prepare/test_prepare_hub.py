"""`bosrow prepare` on a data set of the loopback Hub, as a process of its own, with the command line of the README."""

import io
import json
import os
import random
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forked import Forked
from hub_server import TOKEN, Fault, Hub, Request

from bosrow.dataset.state_file import read_state, write_state
from bosrow.errors import DataSetError, MachineError
from bosrow.prepare.command import prepare
from bosrow.prepare.prepare_options import PrepareOptions
from bosrow.sources.source import Source
from bosrow.strict_json import typed

FINEWEB = "HuggingFaceFW/fineweb-edu"
README = b"""---
configs:
- config_name: default
  data_files: data/*/*.parquet
- config_name: sample-10BT
  data_files: sample/10BT/*
---
"""
COMMAND = (
    "prepare --dataset HuggingFaceFW/fineweb-edu --config sample-10BT --split train --text_field text --tokenizer gpt2 "
    "--out_dir fineweb_edu_10B_bosrow --seq_len 1024 --batch_docs 256 --buffer_docs 1000 --val_shards 1"
)
SMALL = "--shard_rows 20 --workers 2"  # this corpus is ten thousand times smaller than a usual shard is large
OUT = "fineweb_edu_10B_bosrow"


def parquet(documents: int, seed: int) -> bytes:
    """Documents of web-like lengths, in row groups of 50."""
    source = random.Random(seed)
    words = ["the", "water", "of", "history", "Ångström", "learning", "x=1", "cells", "\n\n", "therefore", "模型", "42"]
    texts = [" ".join(source.choices(words, k=int(source.lognormvariate(5.5, 1)))) for _ in range(documents)]
    table = pa.table({"text": texts, "url": [f"https://example.org/{number}" for number in range(documents)]})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=50)
    return sink.getvalue()


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return {
        "README.md": README,
        "data/CC-MAIN-2013-20/000.parquet": parquet(20, seed=0),
        "sample/10BT/000_00000.parquet": parquet(300, seed=1),
        "sample/10BT/001_00000.parquet": parquet(200, seed=2),
    }


def bosrow(folder: Path, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(parents=True, exist_ok=True)
    if not environment:
        process = Forked(["-m", "bosrow", *shlex.split(command)], folder=folder)
        said = process.communicate(timeout=120)
        return subprocess.CompletedProcess(command, process.wait(), *said)
    return subprocess.run(
        [sys.executable, "-m", "bosrow", *shlex.split(command)],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def refused(folder: Path, command: str, **environment: str) -> str:
    """The one message of a command that the user has to mend."""
    done = bosrow(folder, command, **environment)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("bosrow prepare: ")
    assert "Traceback" not in done.stderr
    assert not (folder / OUT / "meta.json").exists()
    return done.stderr


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.bin"))}


def provenance(folder: Path) -> dict[str, object]:
    """Every provenance table; files on the Hub are called by their path in the repository, so names are left out."""
    tables = {path.name: pq.read_table(path) for path in sorted((folder / "provenance").glob("*.parquet"))}
    return {
        name: table.drop_columns(["source_file"]) if "source_file" in table.column_names else table
        for name, table in tables.items()
    }


@pytest.fixture(scope="module")
def local(files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same files prepared from the disk."""
    folder = tmp_path_factory.mktemp("local")
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    source = f"--dataset {FINEWEB} --config sample-10BT"
    assert source in COMMAND
    command = COMMAND.replace(source, "--dataset parquet --data_files 'sample/10BT/*.parquet'")
    done = bosrow(folder, f"{command} {SMALL}")
    assert done.returncode == 0, done.stderr
    return folder / OUT


def test_the_command_of_the_readme_gives_the_bytes_of_the_same_files_prepared_locally(
    hub: Hub, files, local: Path, tmp_path: Path
):
    commit = hub.add(FINEWEB, files)
    done = bosrow(tmp_path, f"{COMMAND} {SMALL}")
    assert done.returncode == 0, done.stderr
    prepared = shards(tmp_path / OUT)
    assert prepared == shards(local)
    assert {name[:5] for name in prepared} == {"train", "val_0"}
    assert provenance(tmp_path / OUT) == provenance(local)
    meta = json.loads((tmp_path / OUT / "meta.json").read_bytes())
    assert (meta["dataset"], meta["config"], meta["split"]) == (FINEWEB, "sample-10BT", "train")
    assert commit in json.dumps(meta["bosrow"])
    assert meta["docs_processed"] == 500
    assert bosrow(tmp_path, f"verify {OUT}").returncode == 0


def test_other_columns_than_the_text_are_not_fetched(hub: Hub, files, tmp_path: Path):
    wide = pa.table(
        {"text": ["water " * 300] * 200, "other": [random.Random(number).randbytes(20_000) for number in range(200)]}
    )
    sink = io.BytesIO()
    pq.write_table(wide, sink, row_group_size=50)
    hub.add("someone/wide", {"train.parquet": sink.getvalue()})
    command = COMMAND.replace(f"--dataset {FINEWEB} --config sample-10BT", "--dataset someone/wide")
    assert bosrow(tmp_path, f"{command} {SMALL}").returncode == 0
    assert hub.bytes_served["train.parquet"] < len(sink.getvalue()) / 4


def test_each_process_fetches_a_footer_once_and_each_column_is_fetched_once(hub: Hub, files, tmp_path: Path):
    hub.add(FINEWEB, files)
    assert bosrow(tmp_path, f"{COMMAND} {SMALL}").returncode == 0
    fetched = Counter((request.path, request.range) for request in hub.requests if request.kind == "storage")
    times = sorted(fetched.values())
    assert times[:-2] == [1] * 10  # the text columns of ten row groups
    assert max(times[-2:]) <= 4  # the footers of two files: the first look, the reader, two workers


def test_a_push_while_a_data_set_is_prepared_changes_nothing(hub: Hub, files, local: Path, tmp_path: Path):
    hub.add(FINEWEB, files)

    def push(request: Request) -> None:
        if request.kind == "storage" and request.method == "GET":
            hub.add(FINEWEB, files | {"sample/10BT/000_00000.parquet": parquet(300, seed=9)})

    hub.fault = push
    done = bosrow(tmp_path, f"{COMMAND} {SMALL}")
    assert done.returncode == 0, done.stderr
    assert shards(tmp_path / OUT) == shards(local)


def test_passing_faults_of_the_network_change_nothing_and_are_told(hub: Hub, files, local: Path, tmp_path: Path):
    hub.add(FINEWEB, files)
    left = [Fault(status=503), Fault(reset=True), Fault(body_bytes=10), Fault(status=404)]
    hub.fault = lambda request: left.pop() if request.kind == "storage" and request.number % 3 == 0 and left else None
    done = bosrow(tmp_path, f"{COMMAND} {SMALL}")
    assert done.returncode == 0, done.stderr
    assert not left
    assert "HTTP status 404 while reading hf://" in done.stderr
    assert "Signature" not in done.stderr
    assert shards(tmp_path / OUT) == shards(local)


def test_a_network_that_stays_away_stops_the_run_and_the_same_command_goes_on(
    hub: Hub, files, local: Path, tmp_path: Path, quick_retries
):
    hub.add(FINEWEB, files)
    options = PrepareOptions(
        dataset=FINEWEB,
        config="sample-10BT",
        out_dir=tmp_path / OUT,
        shard_rows=20,
        val_shards=1,
        workers=0,
        checkpoint_seconds=0.001,
    )
    second = "sample/10BT/001_00000.parquet"
    # Its footer and its first row group arrive, the second row group never does.
    hub.fault = lambda request: Fault(status=503) if hub.bytes_served[second] > 70_000 else None
    with pytest.raises(MachineError, match=r"HTTP status 503, tried 4 times.*the same command goes on"):
        prepare(options)
    assert shards(tmp_path / OUT)
    assert not (tmp_path / OUT / "meta.json").exists()
    hub.fault = lambda request: None
    state = read_state(tmp_path / OUT)
    other = state.value["source"] | {"dataset": "someone/else"}
    sealed = {"source": typed(other, Source).fingerprint}
    for edit, change in (
        ({"dataset": None}, {}),
        ({"dataset": "someone/else"}, sealed),
        ({"kind": "data_set", "data_dir": "/etc"}, {}),
    ):
        source, identity = state.value["source"] | edit, state.value["identity"] | change
        write_state(tmp_path / OUT, state.value | {"source": source, "identity": identity}, [state.tokens])
        with pytest.raises(DataSetError, match=r"state.bin is damaged or was edited|with other options"):
            prepare(options)
    write_state(tmp_path / OUT, state.value, [state.tokens])
    prepare(options)
    assert shards(tmp_path / OUT) == shards(local)


def test_a_private_data_set_is_prepared_with_a_token_that_is_written_nowhere(
    hub: Hub, files, local: Path, tmp_path: Path
):
    hub.add(FINEWEB, files, private=True)
    done = bosrow(tmp_path, f"{COMMAND} {SMALL}", HF_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    assert shards(tmp_path / OUT) == shards(local)
    assert TOKEN not in done.stdout + done.stderr
    for path in (tmp_path / OUT).rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes()


def test_a_gated_data_set_says_how_to_get_in(hub: Hub, files, tmp_path: Path):
    hub.add(FINEWEB, files, gated=True)
    message = refused(tmp_path, COMMAND)
    assert "gated" in message
    assert "HF_TOKEN" in message


def test_configs_and_splits_that_are_not_there_list_those_that_are(hub: Hub, files, tmp_path: Path):
    hub.add(FINEWEB, files)
    assert "there are: default, sample-10BT" in refused(tmp_path, COMMAND.replace("sample-10BT", "sample-1BT"))
    assert "there are: train" in refused(tmp_path, COMMAND.replace("--split train", "--split test"))
    assert "--max_docs" in refused(tmp_path, COMMAND.replace("--split train", "--split train[:1%]"))


def test_a_text_field_that_is_not_there_lists_the_columns(hub: Hub, files, tmp_path: Path):
    hub.add(FINEWEB, files)
    assert "text, url" in refused(tmp_path, COMMAND.replace("--text_field text", "--text_field body"))


def test_a_data_set_that_is_not_there_and_a_hub_that_is_not_there(hub: Hub, tmp_path: Path):
    assert f"no data set '{FINEWEB}'" in refused(tmp_path, COMMAND)
    assert "cannot be reached" in refused(tmp_path, COMMAND, HF_ENDPOINT="http://127.0.0.1:9")
    assert "offline mode" in refused(tmp_path, COMMAND, HF_HUB_OFFLINE="1")
