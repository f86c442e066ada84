"""The engine gigatoken gives tiktoken's ids, and a run in which it does not is stopped."""

import importlib.metadata
import json
import sys

import numpy as np
import pytest
from corpora import bosrow, contents, documents, write_corpus
from hypothesis import given, settings
from hypothesis import strategies as st

from bosrow.errors import BosrowError
from bosrow.tokenizers import gigatoken
from bosrow.tokenizers.by_name import open_spec
from bosrow.tokenizers.gigatoken import GigatokenTokenizer
from bosrow.tokenizers.gpt2 import load_tokenizer

pytest.importorskip("gigatoken", reason="gigatoken is not installed (the extra `fast`)")

TIKTOKEN = load_tokenizer()
GIGATOKEN = GigatokenTokenizer(TIKTOKEN)
NASTY = st.text(
    st.sampled_from("ab'sdtlver019 .,!\n\t\r\x0b\x1c\x85\xa0\u1680\u2003\u2028\u202f\u205f\u3000é中。😀²Ⅷ\0<|>"),
    max_size=80,
)


@given(st.one_of(NASTY, st.text()))
@settings(max_examples=1500)
def test_any_text_has_the_ids_of_tiktoken(text):
    assert GIGATOKEN.encode(text).tolist() == TIKTOKEN.encode(text).tolist()


@pytest.mark.parametrize(
    "text",
    [
        "x" + " " * 2_000_000 + "y",
        "漢" * 300_000,
        "a" * 300_000,
        "a<|endoftext|>b",
        "\ud800 alone",
    ],
    ids=["white space", "no space", "one letter", "end of text", "surrogate"],
)
def test_traps_have_the_ids_of_tiktoken(text):
    assert np.array_equal(GIGATOKEN.encode(text), TIKTOKEN.encode(text))


def test_the_engine_is_free_to_change_and_the_rows_are_the_same(tmp_path):
    flags = ["--seq_len", 64, "--buffer_docs", 20, "--val_fraction", 0.1]
    flags += write_corpus(tmp_path / "corpus", "parquet", documents(300))
    for engine in ("tiktoken", "gigatoken"):
        done = bosrow("prepare", *flags, "--engine", engine, "--workers", 2, "--out_dir", tmp_path / engine)
        assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "tiktoken") == contents(tmp_path / "gigatoken")
    for engine in ("tiktoken", "gigatoken"):
        made_by = json.loads((tmp_path / engine / "meta.json").read_bytes())["bosrow"]["tokenizer"]
        assert (made_by["engine"], made_by["engine_version"]) == (engine, importlib.metadata.version(engine))
    done = bosrow("prepare", *flags, "--engine", "gigatoken", "--out_dir", tmp_path / "tiktoken")
    assert "is complete" in done.stdout


def test_ids_that_differ_from_those_of_tiktoken_stop_the_run(monkeypatch):
    class Broken:
        def encode(self, text: str) -> np.ndarray:
            return np.array([1, 2, 3], np.uint32)

    tokenizer = GigatokenTokenizer(TIKTOKEN)
    monkeypatch.setattr(tokenizer, "_gigatoken", Broken())
    with pytest.raises(BosrowError, match=r"other ids than tiktoken.* Only a sample .* --engine tiktoken --fresh"):
        tokenizer.encode("some text")
    monkeypatch.setattr(gigatoken, "_load", lambda _: Broken())
    with pytest.raises(BosrowError, match="start over with --engine tiktoken --fresh"):
        GigatokenTokenizer(TIKTOKEN)


def test_its_memory_is_renewed_and_the_ids_stay(monkeypatch):
    monkeypatch.setattr(gigatoken, "RENEWED_BYTES", 100)
    tokenizer, loaded = GigatokenTokenizer(TIKTOKEN), []
    load = gigatoken._load
    monkeypatch.setattr(gigatoken, "_load", lambda reference: loaded.append(1) or load(reference))
    for text in documents(20):
        assert np.array_equal(tokenizer.encode(text), TIKTOKEN.encode(text))
    assert len(loaded) > 5


def test_one_that_reads_a_tokenizer_differently_is_not_taken_by_itself(monkeypatch):
    class Broken:
        def encode(self, text: str) -> np.ndarray:
            return np.array([1, 2, 3], np.uint32)

    monkeypatch.setattr(gigatoken, "_load", lambda _: Broken())
    assert open_spec(TIKTOKEN.spec, "auto").engine == "tiktoken"
    with pytest.raises(BosrowError, match="gives other ids than tiktoken"):
        open_spec(TIKTOKEN.spec, "gigatoken")


def test_without_the_package_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gigatoken", None)
    with pytest.raises(BosrowError, match=r"pip install 'bosrow\[fast\]'"):
        GigatokenTokenizer(TIKTOKEN)
