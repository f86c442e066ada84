"""Documents that end on, before and after the end of a row, shard, row group or documents file: all read alike.

Rows, shards, row groups and documents files hold only a few entries here, so that ends of all kinds coincide often.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from corpora import POLICIES, prepared
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracles import data_set
from oracles.survey import held, tokens_of_rows

from bosrow.dataset.documents import cropped_documents, read_documents
from bosrow.dataset.provenance import Provenance
from bosrow.dataset.rows import open_rows
from bosrow.dataset.verify_provenance import provenance_damage
from bosrow.inspect.survey import survey
from bosrow.tokenizers.gpt2 import load_tokenizer

WORDS = ("one", " two", " three", " four", " five", " six", " seven", " eight", " nine", " ten", " old", " new")
ENCODING = load_tokenizer()._encoding
LOSSLESS = ("keep", "stream")


def text_of(document: int, tokens: int) -> str:
    """A text of so many tokens, BOS counted, that differs from document to document."""
    return "".join(WORDS[(document + number) % len(WORDS)] for number in range(tokens - 1))


@contextmanager
def small_files(row_group: int) -> Iterator[Path]:
    """A folder; in it files of three documents, and row groups of `row_group` lines."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("bosrow.dataset.provenance_writer.DOCUMENTS_PER_FILE", 3)
        patch.setattr("bosrow.dataset.document_table.DOCUMENTS_PER_FILE", 3)
        patch.setattr("bosrow.dataset.provenance_writer.ROW_GROUP_LINES", row_group)
        yield Path(folder)


def shards(contents: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in contents.items() if name.endswith(".bin")}


LENGTHS = st.lists(st.integers(1, 14), min_size=1, max_size=14).filter(lambda lengths: sum(lengths) > 14)


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=5, deadline=None)
@given(lengths=LENGTHS, row_tokens=st.integers(2, 6), shard_rows=st.integers(1, 3), row_group=st.integers(1, 4))
@example(lengths=[5, 6], row_tokens=5, shard_rows=1, row_group=4)  # document 0 ends with the first shard
@example(lengths=[9, 1, 1, 9], row_tokens=5, shard_rows=2, row_group=4)
@example(lengths=[3, 2, 8, 4, 4], row_tokens=5, shard_rows=3, row_group=2)  # ... with a row group
def test_what_is_read_back_is_what_was_read(policy, lengths, row_tokens, shard_rows, row_group):
    texts = [text_of(document, tokens) for document, tokens in enumerate(lengths)]
    tokens = [data_set.document_tokens(ENCODING, text) for text in texts]
    assert [len(one) for one in tokens] == lengths
    with small_files(row_group) as folder:
        (folder / "d.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        corpus = (str(folder / "d.jsonl"),)
        sizes = {"seq_len": row_tokens - 1, "shard_rows": shard_rows, "buffer_docs": 3, "val_fraction": 0.0}
        prepared(folder / "made", data_files=corpus, policy=policy, **sizes)
        provenance = Provenance(folder / "made")

        assert provenance_damage(folder / "made") == []
        rows = tokens_of_rows(folder / "made")
        assert survey(provenance).in_rows.tolist() == held(rows, len(lengths))
        read = open_rows(folder / "made")
        for number, row in enumerate(rows):
            assert read[number].tolist() == [data_set.BOS if at is None else tokens[doc][at] for doc, at in row]
        for document, length in enumerate(lengths):
            places = [
                (number, column, at)
                for number, row in enumerate(rows)
                for column, (holds, at) in enumerate(row)
                if holds == document and at is not None
            ]
            traced = [
                (placed.row, placed.column + placed.piece.added_bos + place, placed.piece.offset + place)
                for placed in provenance.pieces.of_document(document)
                for place in range(placed.piece.length - placed.piece.added_bos)
            ]
            assert sorted(traced) == places
            assert {at for *_, at in traced} <= set(range(length))

        if policy in LOSSLESS:
            assert [found.tolist() for _, found in read_documents(provenance)] == tokens
        else:
            parts = {info.document: np.concatenate(found).tolist() for info, found in cropped_documents(provenance)}
            assert parts == {n: tokens[n][:count] for n, count in enumerate(held(rows, len(lengths))) if count}
        for again in POLICIES if policy in LOSSLESS else ():
            expected = prepared(folder / f"{again} of texts", data_files=corpus, policy=again, **sizes)
            found = prepared(folder / f"{again} of rows", from_dir=folder / "made", policy=again, **sizes)
            assert shards(found) == shards(expected)


@pytest.mark.parametrize("end", range(3, 12))
def test_a_stream_packed_anew_is_the_corpus_wherever_its_documents_end(tmp_path, end):
    """Through the whole command, with both splits: the first document shifts the ends of all others."""
    texts = [text_of(document, 8 + end * (document == 0)) for document in range(40)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    corpus = {"data_files": (str(tmp_path / "d.jsonl"),), "seq_len": 4, "val_fraction": 0.3}
    prepared(tmp_path / "stream", policy="stream", shard_rows=1, **corpus)
    expected = prepared(tmp_path / "expected", policy="keep", **corpus)
    found = prepared(tmp_path / "found", policy="keep", seq_len=4, from_dir=tmp_path / "stream")
    assert shards(found) == shards(expected)
