"""CONTRIBUTING.md, "To add a policy": a class and its line in the table are enough, all the way through a real run."""

import json

import pytest
from corpora import documents, prepared, write_corpus

from bosrow import open_rows
from bosrow.cli import main
from bosrow.dataset.manifest import read_manifest
from bosrow.errors import BadRowError, OptionError
from bosrow.packing.policy import Piece, Policy, Row, unfilled_row
from bosrow.packing.table import POLICIES
from bosrow.strict_json import Record
from bosrow.tokenizers.gpt2 import END_OF_TEXT, load_tokenizer


class InOrderState(Record):
    """The row under construction."""

    unfilled: list[Piece]


class InOrder(Policy):
    """Documents in order of arrival; the last one of a row is cropped to the space. It needs no buffer."""

    name = "in-order"
    lossy = True
    State = InOrderState
    algorithm = "order_of_arrival_crop_last"
    advice = "for tests: simple, and loses much"

    def __init__(self, row_tokens: int, buffer_docs: int, buffer_tokens: int) -> None:
        self.unfilled = []
        self._row_tokens = row_tokens

    def add(self, document: int, tokens: int) -> list[Row]:
        space = self._row_tokens - sum(piece.length for piece in self.unfilled)
        self.unfilled.append(Piece(document, 0, min(tokens, space), False))
        if tokens < space:
            return []
        row = Row(self.unfilled, [piece.document for piece in self.unfilled])
        self.unfilled = []
        return [row]

    def finish(self) -> list[Row]:
        return []

    def rest(self) -> list[tuple[int, int, int]]:
        return [(document, length, 0) for document, _, length, _ in self.unfilled]

    def state(self) -> InOrderState:
        return InOrderState(unfilled=list(self.unfilled))

    def restore(self, state: InOrderState) -> None:
        self.unfilled = unfilled_row(state.unfilled, self._row_tokens)


@pytest.fixture(autouse=True)
def table(monkeypatch):
    """The table of policies with this one in it."""
    monkeypatch.setitem(POLICIES, InOrder.name, InOrder)


def expected_rows(texts, row_tokens):
    rows, row = [], []
    for text in texts:
        row = [*row, END_OF_TEXT, *load_tokenizer().encode(text).tolist()][:row_tokens]
        if len(row) == row_tokens:
            rows.append(row)
            row = []
    return rows


def test_a_policy_in_the_table_prepares_a_data_set_that_verifies(tmp_path, capsys):
    texts = documents(80)
    flags = write_corpus(tmp_path / "corpus", "jsonl", texts)
    out = ["--out_dir", str(tmp_path / "out"), "--seq_len", "32", "--val_fraction", "0", "--workers", "1"]
    assert main(["prepare", *flags, *out, "--policy", "in-order"]) == 0
    assert main(["verify", str(tmp_path / "out")]) == 0
    assert "is sound" in capsys.readouterr().out
    assert [row.tolist() for row in open_rows(tmp_path / "out", "train")] == expected_rows(texts, 33)
    manifest = read_manifest(tmp_path / "out")
    assert (manifest.policy, manifest.meta["packing_algo"]) == ("in-order", "order_of_arrival_crop_last")


def test_a_stopped_run_of_it_goes_on_to_the_same_bytes(tmp_path):
    lines = [json.dumps({"text": text}) for text in documents(80)]
    (tmp_path / "corpus.jsonl").write_text("\n".join([*lines[:50], '{"text": null}', *lines[50:]]))
    options = {"data_files": (str(tmp_path / "corpus.jsonl"),), "policy": "in-order", "val_fraction": 0.2}
    undisturbed = prepared(tmp_path / "undisturbed", **options, on_bad_row="skip")
    with pytest.raises(BadRowError, match="row 50"):
        prepared(tmp_path / "stopped", **options)
    assert prepared(tmp_path / "stopped", **options, on_bad_row="skip") == undisturbed


def test_policies_foretells_what_it_would_do(tmp_path, capsys):
    flags = write_corpus(tmp_path / "corpus", "jsonl", documents(80))
    assert main(["policies", *flags, "--seq_len", "32", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["policies"]
    assert [figures["policy"] for figures in found] == ["crop", "crop-long-first", "keep", "stream", "in-order"]
    assert 0 < found[-1]["lost"] < 1


def test_a_policy_that_is_not_in_the_table_is_refused_with_those_that_are(tmp_path):
    with pytest.raises(OptionError, match="'best'; it must be crop, crop-long-first, keep, stream or in-order"):
        prepared(tmp_path / "out", data_files=("corpus.jsonl",), policy="best")
