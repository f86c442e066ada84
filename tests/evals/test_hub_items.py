"""Items from the Hugging Face Hub: the user's own account, its cache, and what is said when neither has them."""

import io
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from folders import BLIMP, EWOK, HELLASWAG

from bosrow.errors import UserError
from bosrow.evals.catalogue import load_benchmark
from bosrow.evals.eval_options import EvalOptions


def parquet(records):
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records), sink)
    return sink.getvalue()


def options(tasks, **more):
    return EvalOptions(checkpoints=(), tasks=tasks, **more)


def test_a_cached_data_set_is_used_without_network(hub):
    hub.add("someone/hellaswag", {"data/validation-00000-of-00001.parquet": parquet(HELLASWAG)})
    asked = options("hellaswag", hellaswag_dataset="someone/hellaswag")
    from_cache = replace(asked, hellaswag_local_files_only=True)
    with pytest.raises(UserError, match="--hellaswag_data"):
        load_benchmark("hellaswag", from_cache)
    _, online = load_benchmark("hellaswag", asked)
    hub.requests.clear()
    _, cached = load_benchmark("hellaswag", from_cache)
    assert cached == online
    assert not hub.requests


def test_a_gated_data_set_says_how_to_get_in(hub):
    hub.add("ewok-core/ewok-core-1.0", {"data/test-00000-of-00001.parquet": parquet(EWOK)}, gated=True)
    with pytest.raises(UserError, match="hf auth login") as error:
        load_benchmark("ewok", options("ewok"))
    assert "--ewok_data" in str(error.value)


def test_all_paradigms_of_blimp_are_joined(hub):
    readme = "---\nconfigs:\n" + "".join(
        f"- config_name: {uid}\n  data_files:\n  - split: train\n    path: {uid}/train.parquet\n"
        for uid in ("one", "two")
    )
    files = {f"{uid}/train.parquet": parquet([pair for pair in BLIMP if pair["UID"] == uid]) for uid in ("one", "two")}
    hub.add("nyu-mll/blimp", {"README.md": (readme + "---\n").encode(), **files})
    _, items = load_benchmark("blimp", options("blimp"))
    assert [item.number for item in items] == list(range(6))
    assert {item.groups["paradigm"] for item in items} == {"one", "two"}
