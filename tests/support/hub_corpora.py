"""Data sets for the loopback Hub, as the tests of the Hub need them."""

import gzip
import io
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import TOKEN, Hub

from bosrow.errors import SourceError
from bosrow.sources.hub_repository import resolve

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


def refused(*arguments: str | None) -> str:
    with pytest.raises(SourceError) as caught:
        resolve(*arguments)
    assert TOKEN not in str(caught.value)
    return str(caught.value)
