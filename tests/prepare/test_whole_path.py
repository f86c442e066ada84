"""From text to shards against the slow oracle, and the ledger against a recount, at the end and at every checkpoint."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpora import POLICIES, documents, prepared
from oracles import data_set as oracle

from bosrow.dataset.piece_table import PlacedPiece
from bosrow.dataset.provenance import Provenance
from bosrow.dataset.state_file import read_state
from bosrow.prepare.run import Run
from bosrow.tokenizers.gpt2 import load_tokenizer

ENCODING = load_tokenizer()._encoding  # tiktoken itself, with the vocabulary that is shipped
SEQ_LEN, BUFFER_DOCS, SHARD_ROWS = 32, 20, 50
VAL: dict[str, dict[str, Any]] = {
    "shards": {"val_shards": 1},
    "fraction": {"val_fraction": 0.2},
    "none": {"val_fraction": 0.0},
}
A_ROW_LONG = "the" + " the" * (SEQ_LEN - 1)  # with its BOS exactly a row
COMBINATIONS = [
    (policy, val)
    for policy in POLICIES
    for val in VAL
    if (policy, val) not in {("keep", "shards"), ("stream", "shards")}
]


def write_jsonl(path: Path, texts: list[str | None]) -> tuple[str, ...]:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return (str(path),)


def rows_on_disk(folder: Path, split: str) -> list[list[int]]:
    shards = sorted(folder.glob(f"{split}_*.bin"))
    return [row for shard in shards for row in np.fromfile(shard, "<u2").reshape(-1, SEQ_LEN + 1).tolist()]


@pytest.mark.parametrize(("policy", "val"), [pair for pair in COMBINATIONS if pair[0] != "keep"])
def test_the_rows_on_disk_are_those_that_the_slow_oracle_builds_from_tiktoken_ids(tmp_path, policy, val):
    texts = documents(250, seed=7)
    prepared(tmp_path / "out", data_files=write_jsonl(tmp_path / "a.jsonl", texts), policy=policy, **VAL[val])
    tokens = [oracle.document_tokens(ENCODING, text) for text in texts]
    fraction = VAL[val].get("val_fraction", 0.0)
    for split in ("train", "val"):
        chosen = [one for one in tokens if oracle.is_val(one, fraction) == (split == "val")]
        expected, _ = oracle.rows_of(policy, chosen, SEQ_LEN + 1, BUFFER_DOCS)
        found = rows_on_disk(tmp_path / "out", split)
        if val == "shards":
            found = rows_on_disk(tmp_path / "out", "val") + rows_on_disk(tmp_path / "out", "train")
            expected, _ = oracle.rows_of(policy, tokens, SEQ_LEN + 1, BUFFER_DOCS)
            assert len(rows_on_disk(tmp_path / "out", "val")) == SHARD_ROWS
        assert len(found) > 20 or (val == "none" and split == "val")
        if policy == "crop-long-first":  # the oracle does not say where the rows of long documents stand
            found, expected = sorted(found), sorted(expected)
        assert found == expected


def recount(folder: Path, lengths: list[int], lossy: bool) -> dict[str, dict[str, int]]:
    """Every count of the ledger of a finished data set, from the pieces of its rows and the documents' lengths."""
    provenance = Provenance(folder)
    counts: dict[str, Counter[str]] = {"train": Counter(), "val": Counter()}
    places: dict[int, list[PlacedPiece]] = {document: [] for document in range(len(lengths))}
    for split, count in counts.items():
        count["rows"] = provenance.manifest.rows_of(split)
        rows = provenance.pieces.of_rows(split, range(count["rows"])) if count["rows"] else {}
        for placed in (placed for row in sorted(rows) for placed in rows[row]):
            places[placed.piece.document].append(placed)
            count["added_bos"] += placed.piece.added_bos
    for document, info in provenance.documents.of(places).items():
        mine, length = places[document], lengths[document]
        count = counts[info.split or (mine[0].split if mine else "train")]
        seen: set[int] = set()
        parts = 0
        for _, _, _, piece in mine:
            held = range(piece.offset, piece.offset + piece.length - piece.added_bos)
            parts += piece.added_bos or not seen.issuperset(held)
            count["tokens_repeated"] += len(seen.intersection(held))
            seen.update(held)
        missing = length - len(seen)
        count["documents_read"] += 1
        count["tokens_read"] += length
        count["tokens_placed"] += len(seen)
        count["cuts"] += max(0, parts - 1)
        count[f"documents_{'cropped' if missing else 'whole' if parts == 1 else 'split'}"] += 1
        # A crop policy places one piece of a document, or none where the last row was not full.
        where = "tail" if not (lossy and mine) else "cropped_long" if length > SEQ_LEN + 1 else "cropped_fit"
        count[f"tokens_{where}"] += missing
    return {split: +count for split, count in counts.items()}


def watch_checkpoints(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[dict[str, Any]]:
    """Every state file that a preparation writes, as it stood on disk."""
    states: list[dict[str, Any]] = []
    checkpoint = Run.checkpoint

    def watched(run: Run) -> None:
        checkpoint(run)
        saved = read_state(folder)
        assert saved is not None
        states.append(saved[0])

    monkeypatch.setattr(Run, "checkpoint", watched)
    return states


def check_balance(state: dict[str, Any], lengths: list[int], one_packer: bool) -> None:
    """The equations of docs/format.md ("Ledger"), over what a state file says of ledgers, buffers and shards."""
    assert sum(ledger["tokens_read"] for ledger in state["ledgers"].values()) == sum(lengths[: state["documents"]])
    rows: Counter[str] = Counter()
    for packer in state["packers"].values():
        for shard in packer["shards"]["closed"]:
            rows[shard["split"]] += shard["rows"]
    for split, ledger in state["ledgers"].items():
        held = state["packers"][split]["held"] if split in state["packers"] else []
        tokens_held = sum(length - placed for _, length, placed, *_ in held)
        accounted = ledger["tokens_placed"] + ledger["tokens_cropped"] + ledger["tokens_tail"] + tokens_held
        assert ledger["tokens_read"] == accounted + sum(ledger["tokens_dropped"].values())
        in_rows = ledger["tokens_placed"] + ledger["added_bos"] + ledger["tokens_repeated"]
        assert ledger["rows"] * (SEQ_LEN + 1) == in_rows
        kinds = ("documents_whole", "documents_split", "documents_cropped")
        documents_of = sum(ledger[kind] for kind in kinds) + len(held) + sum(ledger["documents_dropped"].values())
        assert ledger["documents_read"] == documents_of
        if not one_packer:
            assert ledger["rows"] == rows[split] + state["packers"][split]["shards"]["rows"]
    if one_packer:
        open_rows = state["packers"]["train"]["shards"]["rows"]
        assert sum(ledger["rows"] for ledger in state["ledgers"].values()) == rows.total() + open_rows


def check_ledger(folder: Path, lengths: list[int], policy: str) -> None:
    """The ledger of meta.json, count by count, against `recount`."""
    own = json.loads((folder / "meta.json").read_bytes())["bosrow"]
    for split, expected in recount(folder, lengths, lossy=policy.startswith("crop")).items():
        ledger = own["ledger"][split]
        assert ledger.pop("tokens_cropped") == ledger["tokens_cropped_long"] + ledger["tokens_cropped_fit"]
        assert {name: count for name, count in ledger.items() if count} == expected


def run_and_check(
    folder: Path, monkeypatch: pytest.MonkeyPatch, policy: str, val: str, seed: int, count: int = 60
) -> None:
    """Prepare a random corpus with a checkpoint after every document; check each one, and the end."""
    random_ = random.Random(seed)
    # Enough that fill a row alone for more than a shard of val, whatever else the policy loses.
    texts = documents(count - 25, seed, median_words=random_.choice([2, 10, 40])) + [A_ROW_LONG] * 25
    random_.shuffle(texts)
    lengths = [len(oracle.document_tokens(ENCODING, text)) for text in texts]
    settings = VAL[val] | {"buffer_docs": random_.choice([1, 3, 20, 1000]), "shard_rows": random_.choice([1, 4, 20])}
    files = write_jsonl(folder / "a.jsonl", texts)
    with monkeypatch.context() as patch:
        states = watch_checkpoints(patch, folder / "out")
        prepared(folder / "out", data_files=files, policy=policy, batch_docs=1, checkpoint_seconds=1e-9, **settings)
    assert [state["documents"] for state in states] == sorted(state["documents"] for state in states)
    assert {state["documents"] for state in states} >= set(range(1, count))
    for state in states:
        check_balance(state, lengths, one_packer=val != "fraction")
    check_ledger(folder / "out", lengths, policy)


@pytest.mark.parametrize(("policy", "val"), COMBINATIONS)
def test_the_ledger_balances_at_every_checkpoint_and_equals_a_recount_at_the_end(tmp_path, monkeypatch, policy, val):
    for seed in range(2):
        (tmp_path / str(seed)).mkdir()
        run_and_check(tmp_path / str(seed), monkeypatch, policy, val, seed)


@pytest.mark.soak
@pytest.mark.parametrize(("policy", "val"), COMBINATIONS)
@pytest.mark.parametrize("seed", range(100, 120))
def test_the_same_of_many_corpora(tmp_path, monkeypatch, policy, val, seed):
    run_and_check(tmp_path, monkeypatch, policy, val, seed, count=150)


@pytest.mark.parametrize("policy", ["keep", "stream"])
def test_without_provenance_the_tail_is_counted_as_dropped(tmp_path, policy):
    files = write_jsonl(tmp_path / "a.jsonl", documents(60))
    for name, without in (("with", False), ("without", True)):
        prepared(tmp_path / name, data_files=files, policy=policy, no_provenance=without, val_fraction=0.0)
    with_it, without_it = (
        json.loads((tmp_path / name / "meta.json").read_bytes())["bosrow"]["ledger"]["train"]
        for name in ("with", "without")
    )
    assert with_it["tokens_tail"] > 0
    assert without_it["tokens_tail"] == 0
    assert sum(without_it["tokens_dropped"].values()) == with_it["tokens_tail"]
    assert rows_on_disk(tmp_path / "with", "train") == rows_on_disk(tmp_path / "without", "train")


def test_rows_without_text_that_are_skipped_are_documents_dropped_with_a_reason(tmp_path):
    texts = [*documents(60), None, "x", None]
    files = write_jsonl(tmp_path / "a.jsonl", texts)
    prepared(tmp_path / "out", data_files=files, on_bad_row="skip", val_fraction=0.0)
    ledger = json.loads((tmp_path / "out" / "meta.json").read_bytes())["bosrow"]["ledger"]["train"]
    assert ledger["documents_dropped"] == {"null": 2}
    assert ledger["documents_read"] == 63
    bad = [json.loads(line) for line in (tmp_path / "out" / "bad_rows.jsonl").read_text().splitlines()]
    assert [(one["row"], one["reason"]) for one in bad] == [(60, "null"), (62, "null")]
