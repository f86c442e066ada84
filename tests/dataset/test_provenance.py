"""Provenance: every document back, to the token; from rows to documents and from documents to rows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpora import POLICIES, contents, documents, prepared, write_corpus
from oracles import data_set, packing

from bosrow.dataset.documents import read_documents
from bosrow.dataset.piece_table import PlacedPiece
from bosrow.dataset.provenance import Provenance
from bosrow.dataset.rows import open_rows
from bosrow.errors import OptionError
from bosrow.packing.policy import Piece
from bosrow.packing.table import make_policy
from bosrow.prepare.command import prepare
from bosrow.prepare.prepare_options import PrepareOptions
from bosrow.tokenizers.gpt2 import load_tokenizer

ENCODING = load_tokenizer()._encoding  # tiktoken itself, with the vocabulary that is shipped
TEXTS = documents(250, seed=3)
TOKENS = [data_set.document_tokens(ENCODING, text) for text in TEXTS]
ROW_TOKENS, BUFFER_DOCS, SHARD_ROWS = 33, 20, 50  # as `prepared` sets them
DEV = Path(__file__).parents[3] / "shared" / "data" / "dev" / "dev-00000-of-00009.parquet"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> tuple[str, ...]:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, "parquet", TEXTS)
    return (str(folder / "*.parquet"),)


@pytest.mark.parametrize("val_fraction", [0.0, 0.2])
@pytest.mark.parametrize("policy", ["keep", "stream"])
def test_the_documents_rebuilt_from_shards_and_tail_are_those_that_were_read(corpus, tmp_path, policy, val_fraction):
    prepared(tmp_path / "out", data_files=corpus, policy=policy, val_fraction=val_fraction, id_field="id")
    rebuilt = list(read_documents(Provenance(tmp_path / "out")))
    assert [tokens.tolist() for _, tokens in rebuilt] == TOKENS
    for number, (info, tokens) in enumerate(rebuilt):
        assert (info.document, info.id, info.tokens) == (number, f"id-{number}", len(tokens))
        assert (info.source_file, info.source_row) == (f"part_{number // 125}.parquet", number % 125)
        assert info.split == ("val" if data_set.is_val(TOKENS[number], val_fraction) else "train")
    for split in ("train", "val"):
        assert [info.document for info, _ in read_documents(Provenance(tmp_path / "out"), split)] == [
            info.document for info, _ in rebuilt if info.split == split
        ]


def dev_tokens() -> tuple[list[str], list[list[int]]]:
    if not DEV.exists():
        pytest.skip(f"there is no {DEV.name}; the small corpus was rebuilt all the same")
    table = pq.read_table(DEV, columns=["id", "text"])
    encoded = [ENCODING.encode_to_numpy(text, disallowed_special=()) for text in table["text"].to_pylist()]
    return table["id"].to_pylist(), encoded


def check_dev(folder: Path, policy: str) -> None:
    names, encoded = dev_tokens()
    options: dict[str, Any] = {"data_files": (str(DEV),), "policy": policy, "id_field": "id", "val_fraction": 0.05}
    prepare(PrepareOptions(out_dir=folder / "out", seq_len=1024, workers=2, **options))
    rebuilt = 0
    for (info, tokens), name, ids in zip(read_documents(Provenance(folder / "out")), names, encoded, strict=True):
        assert (info.id, tokens[0]) == (name, data_set.BOS)
        assert np.array_equal(tokens[1:], ids)
        rebuilt += 1
    assert rebuilt == 3218


def test_the_documents_of_a_large_file_of_real_text_are_rebuilt_in_full(tmp_path):
    check_dev(tmp_path, "keep")


@pytest.mark.soak
def test_the_documents_of_a_large_file_of_real_text_are_rebuilt_in_full_from_stream_rows(tmp_path):
    check_dev(tmp_path, "stream")


def pieces_by_rule(policy: str) -> list[list[tuple]]:
    """The rows that the rule makes of these documents; for `keep` by the policy, whose tests are its oracle."""
    lengths = [len(tokens) for tokens in TOKENS]
    if policy == "crop":
        return packing.crop(lengths, ROW_TOKENS, BUFFER_DOCS)[0]
    if policy == "stream":
        return packing.stream(lengths, ROW_TOKENS)[0]
    chosen = make_policy(policy, row_tokens=ROW_TOKENS, buffer_docs=BUFFER_DOCS, buffer_tokens=1 << 26)
    rows = [row for document, tokens in enumerate(lengths) for row in chosen.add(document, tokens)] + chosen.finish()
    return [[tuple(piece) for piece in row.pieces] for row in rows]


@pytest.mark.parametrize("policy", POLICIES)
def test_rows_lead_to_documents_and_documents_to_rows_as_the_rule_has_it(corpus, tmp_path, policy):
    prepared(tmp_path / "out", data_files=corpus, policy=policy, val_fraction=0.0)
    provenance, rows = Provenance(tmp_path / "out"), open_rows(tmp_path / "out", "train")
    expected = pieces_by_rule(policy)
    assert len(expected) == len(rows) > 2 * SHARD_ROWS
    of_documents: dict[int, list[PlacedPiece]] = {document: [] for document in range(len(TOKENS))}
    found = provenance.pieces.of_rows("train", range(len(rows)))
    for row, pieces in enumerate(expected):
        column = 0
        for placed, piece in zip(found[row], pieces, strict=True):
            document, offset, length, added_bos = piece
            assert placed == PlacedPiece("train", row, column, Piece(*piece))
            of_documents[document].append(placed)
            own = TOKENS[document][offset : offset + length - added_bos]
            assert rows[row][column : column + length].tolist() == [data_set.BOS] * added_bos + own
            column += length
    for document in range(0, len(TOKENS), 7):
        assert provenance.pieces.of_document(document) == of_documents[document]


def test_rows_and_documents_are_found_on_both_sides_of_val_shards(corpus, tmp_path):
    prepared(tmp_path / "out", data_files=corpus, val_shards=1)
    provenance = Provenance(tmp_path / "out")
    expected = pieces_by_rule("crop")
    for row in (0, SHARD_ROWS - 1, SHARD_ROWS, len(expected) - 1):
        split, number = ("val", row) if row < SHARD_ROWS else ("train", row - SHARD_ROWS)
        found = provenance.pieces.of_row(split, number)
        assert [tuple(placed.piece) for placed in found] == expected[row]
        assert provenance.pieces.of_document(found[0].piece.document) == [found[0]]
    assert provenance.documents[7].split is None


def test_what_is_out_of_range_is_refused_with_the_range(corpus, tmp_path):
    prepared(tmp_path / "out", data_files=corpus, val_fraction=0.0)
    provenance = Provenance(tmp_path / "out")
    rows = provenance.manifest.rows_of("train")
    with pytest.raises(OptionError, match=rf"no train row {rows}; .* has 0 to {rows - 1}"):
        provenance.pieces.of_row("train", rows)
    with pytest.raises(OptionError, match="has no val rows"):
        provenance.pieces.of_row("val", 0)
    with pytest.raises(OptionError, match=r"no document 250; .* has 0 to 249"):
        provenance.documents[250]


@pytest.mark.parametrize("policy", ["crop", "keep"])
def test_the_bytes_of_every_file_are_the_same_whatever_the_checkpoints(corpus, tmp_path, monkeypatch, policy):
    """Several document files and row groups, so that each kind of boundary is crossed."""
    monkeypatch.setattr("bosrow.dataset.provenance_writer.DOCUMENTS_PER_FILE", 100)
    monkeypatch.setattr("bosrow.dataset.document_table.DOCUMENTS_PER_FILE", 100)
    monkeypatch.setattr("bosrow.dataset.provenance_writer.ROW_GROUP_LINES", 64)
    settings: dict[str, Any] = {"data_files": corpus, "policy": policy, "id_field": "id", "val_fraction": 0.2}
    alone = prepared(tmp_path / "alone", **settings)
    assert {name for name in alone if "documents" in name} == {
        f"provenance/documents_00000{n}.parquet" for n in range(3)
    }
    assert pq.ParquetFile(tmp_path / "alone" / "provenance" / "documents_000000.parquet").num_row_groups == 2
    often = {"checkpoint_seconds": 1e-9, "batch_docs": 9}
    assert prepared(tmp_path / "often", **often, **settings) == alone
    assert prepared(tmp_path / "workers", workers=2, **often, **settings) == alone
    assert contents(tmp_path / "alone") == alone
    provenance = Provenance(tmp_path / "alone")
    infos = provenance.documents.of(range(250))
    assert [infos[document].id for document in range(250)] == [f"id-{n}" for n in range(250)]
    assert provenance.documents.lengths().tolist() == [len(tokens) for tokens in TOKENS]


def test_ids_that_are_missing_or_no_strings_are_kept_as_they_can_be(tmp_path):
    lines = [
        {"text": "a " * 40, "id": 7},
        {"text": "b " * 40},
        {"text": "c " * 40, "id": None},
        {"text": "", "id": "é\n"},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    files = (str(tmp_path / "a.jsonl"),)
    prepared(tmp_path / "out", data_files=files, policy="keep", val_fraction=0.0, id_field="id")
    infos = Provenance(tmp_path / "out").documents.of(range(4))
    assert [infos[document].id for document in range(4)] == ["7", None, None, "é\n"]
