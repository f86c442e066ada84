"""A state file that says what bosrow never writes: one clear error, exit status 2, and nothing touched."""

import json

import pytest
from corpora import prepared

from bosrow.cli import main
from bosrow.data.state import STATE, read_state, write_state
from bosrow.errors import BadRowError

HOSTILE = {
    "position": ["a", [], {"file": 1}, [0, 0, 0, 0], None],
    "taken": [-1, "2", 1.5],
    "ledgers": [{}, [], {"train": {"rows": 1, "unheard": 2}, "val": {}}, None],
    "packers": [{}, [], {"train": 5}, {"train": {"policy": []}}],
    "document_log": [{}, [], 7, {"closed": [{"name": "../../etc/passwd"}], "records": 0, "ids_bytes": 0}],
    "source": [{}, [], {"files": 5}],
    "identity": [[], 5],
    "engines": [[], "tiktoken", None],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in HOSTILE.items() for value in values])
def test_a_hostile_state_is_refused_in_one_message(tmp_path, capsys, name, value):
    corpus, out = tmp_path / "a.jsonl", tmp_path / "out"
    corpus.write_text(json.dumps({"text": "water " * 40}) + "\n" + json.dumps({"text": None}) + "\n")
    with pytest.raises(BadRowError):
        prepared(out, data_files=(str(corpus),), policy="keep", val_fraction=0.0)
    state = read_state(out)
    write_state(out, state.value | {name: value}, [state.tokens])
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name != ".lock"}
    flags = ["--policy", "keep", "--val_fraction", "0", "--seq_len", "32", "--shard_rows", "50", "--buffer_docs", "20"]
    flags += ["--data_files", str(corpus), "--out_dir", str(out), "--workers", "0"]
    capsys.readouterr()
    assert main(["prepare", *flags]) == 2
    assert STATE in (told := capsys.readouterr().err) or "begun with other options" in told
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name != ".lock"}
