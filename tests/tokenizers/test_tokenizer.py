from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bosrow.errors import BosrowError
from bosrow.tokenizers import chunks
from bosrow.tokenizers.chunks import gpt2_cut
from bosrow.tokenizers.gpt2 import END_OF_TEXT, Gpt2Tokenizer, load_tokenizer

TOKENIZER = load_tokenizer()
WHOLE = TOKENIZER._encoding.encode_ordinary  # tiktoken on the whole text, the oracle

# Everything the split pattern tells apart: contractions, digits, letters of two scripts, punctuation, emoji,
# and every kind of white space, U+001C included, which is one for Python and none for tiktoken.
NASTY = st.text(
    st.sampled_from("ab'sdtlver019 .,!\n\t\r\x0b\x1c\x85\xa0\u1680\u2003\u2028\u202f\u205f\u3000é中。😀²Ⅷ"), max_size=60
)


def text_chunks(data: bytes, chunk_bytes: int) -> list[memoryview]:
    return list(chunks.text_chunks(data, gpt2_cut(), chunk_bytes))


def test_known_ids_of_gpt2():
    assert TOKENIZER.encode("Hello world").tolist() == [15496, 995]
    assert TOKENIZER.encode(" don't\n\n  stop").tolist() == [836, 470, 628, 220, 2245]
    assert TOKENIZER.encode("").tolist() == []
    assert TOKENIZER.encode("a").dtype == np.uint16


@given(NASTY, st.integers(1, 12), st.integers(9, 40))
@settings(max_examples=1500)
def test_where_a_text_is_cut_does_not_depend_on_how_much_is_searched_at_once(text, chunk_bytes, window_bytes):
    expected = text_chunks(text.encode(), chunk_bytes)
    with mock.patch.object(chunks, "WINDOW_BYTES", window_bytes):
        assert text_chunks(text.encode(), chunk_bytes) == expected


@given(NASTY, st.integers(1, 12))
@settings(max_examples=1500)
def test_a_text_encoded_in_chunks_has_the_ids_of_the_whole(text, chunk_bytes):
    cut = [str(chunk, "utf-8") for chunk in text_chunks(text.encode(), chunk_bytes)]
    assert "".join(cut) == text
    assert [i for piece in cut for i in WHOLE(piece)] == WHOLE(text)


def test_texts_are_really_cut():
    assert len(text_chunks(b"some words 12abc " * 100, 50)) > 25
    assert len(text_chunks("漢字。\n".encode() * 100, 50)) > 15
    assert len(text_chunks(b"x" * 1000, 50)) == 1


@given(st.text())
@settings(max_examples=300)
def test_any_text_decodes_to_itself(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@pytest.mark.parametrize("space", [" ", "\n", "\u3000", " \n"])
def test_two_million_white_space_characters_before_a_letter(space):
    run = space * (2_000_000 // len(space))
    ids = TOKENIZER.encode("x" + run + "y")
    # The pattern leaves the run's last character to the next word: the same, put together by hand.
    assert ids.tolist() == WHOLE("x") + WHOLE(run[:-1]) + WHOLE(run[-1] + "y")


def test_end_of_text_in_a_text_gives_ordinary_ids():
    ids = TOKENIZER.encode("a<|endoftext|>b")
    assert END_OF_TEXT not in ids
    assert TOKENIZER.decode(ids) == "a<|endoftext|>b"


def test_a_lone_surrogate_becomes_the_replacement_character():
    assert TOKENIZER.decode(TOKENIZER.encode("a\ud800b")) == "a\ufffdb"
    assert TOKENIZER.decode(TOKENIZER.encode("\ud83d\ude00")) == "😀"


def test_bytes_that_are_not_utf8_are_refused():
    with pytest.raises(UnicodeDecodeError):
        TOKENIZER.encode(b"abc\xff")


def test_a_damaged_vocabulary_is_noticed_with_the_first_text_and_before_that_none_is_needed(monkeypatch):
    monkeypatch.setattr("lzma.decompress", lambda packed: b"IQ== 0\n")
    tokenizer = Gpt2Tokenizer()
    assert tokenizer.spec.bos_token_id == END_OF_TEXT
    with pytest.raises(BosrowError, match="install bosrow again"):
        tokenizer.encode("a")
