"""The ids of another tokenizer, found by gigatoken (the extra `fast`), many times as fast.

Promise: the ids are compared with those of the tokenizer's own library, on texts known to be hard when a process starts
and then on one text in CHECKED_EVERY; any difference stops the run. Cost: gigatoken remembers every word it meets, so
after RENEWED_BYTES of text it is loaded anew, which keeps that to about 70 MB on real text.
"""

import json
import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt

from bosrow.errors import BosrowError, UserError, first_line
from bosrow.tokenizers.gpt2 import Gpt2Tokenizer, gpt2_vocabulary
from bosrow.tokenizers.hugging_face import HuggingFaceTokenizer
from bosrow.tokenizers.spec import RANKS_FILE, TOKENIZER_FILE
from bosrow.tokenizers.tiktoken_files import TiktokenTokenizer
from bosrow.tokenizers.token_ids import TokenArray
from bosrow.tokenizers.tokenizer import Tokenizer

CHECKED_EVERY = 128
RENEWED_BYTES = 64 << 20
HARD_TEXTS = (
    "",
    "a<|endoftext|>b <|endoftext|>",
    "x" + " " * 5000 + "y" + "\n" * 5000 + "z\t\t \u3000\u3000w  \x85\xa0 \u2028v ",
    "don't DON'T we'll 'S ''re I'vex 's",
    "\0a\0\0 \x1c\x1d \x7f",
    "١٢٣ ½ Ⅷ² 漢字かな é e\u0301 \u200b\ufeff \ufffd 😀👩\u200d👩\u200d👧 \U0010ffff",
    "ab" * 5000 + "7" * 5000 + "-" * 5000 + "é" * 5000,
)
# The names that gigatoken has for split patterns, by an alternative that only these patterns have.
SCHEMES = (
    (r"\p{Lu}", "o200k"),
    (r"\p{N}{1,3}", "cl100k"),
    (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|", "qwen2"),
)


class OtherIds(BosrowError):
    """gigatoken does not read a tokenizer as its own library does."""


class GigatokenTokenizer(Tokenizer):
    """The ids of `reference`, found by gigatoken. Raises OtherIds if it does not read this tokenizer."""

    engine = "gigatoken"

    def __init__(self, reference: Tokenizer) -> None:
        self.spec, self.dtype, self.vocab_size = reference.spec, reference.dtype, reference.vocab_size
        self.vocabulary_sha256, self.safe_cut = reference.vocabulary_sha256, reference.safe_cut
        self._reference = reference
        self._gigatoken = _load(reference)
        self._texts = self._bytes_since_loaded = 0
        for text in HARD_TEXTS:
            self._check(text, self._gigatoken.encode(text))

    def encode_chunk(self, text: str) -> TokenArray:
        """Ids of a text that is taken at once."""
        if self._bytes_since_loaded > RENEWED_BYTES:
            self._gigatoken, self._bytes_since_loaded = _load(self._reference), 0
        self._bytes_since_loaded += len(text)
        ids = self._gigatoken.encode(text)
        if self._texts % CHECKED_EVERY == 0:
            self._check(text, ids)
        self._texts += 1
        return ids.astype(self.dtype)

    def decode(self, ids: npt.ArrayLike) -> str:
        """Text of `ids`."""
        return self._reference.decode(ids)

    def _check(self, text: str, ids: npt.NDArray[np.uint32]) -> None:
        """Raise OtherIds unless the tokenizer's own library gives the same ids."""
        if not np.array_equal(ids, self._reference.encode_chunk(text)):
            own = self._reference.engine
            raise OtherIds(
                f"gigatoken {self.engine_version} gives other ids than {own}. Only a sample of the texts is compared, "
                f"so rows written before cannot be relied on: start over with --engine {own} --fresh. The text begins "
                f"{text[:60]!r}"
            )


def _load(reference: Tokenizer) -> Any:
    try:
        from gigatoken import Tokenizer as Gigatoken
    except ImportError:
        raise UserError(
            "--engine gigatoken needs the package 'gigatoken'; install it with: pip install 'bosrow[fast]'"
        ) from None
    try:
        if isinstance(reference, HuggingFaceTokenizer):
            return Gigatoken.from_json(_without_names(reference.spec.content(TOKENIZER_FILE))).backend
        if isinstance(reference, TiktokenTokenizer):
            scheme = next((name for part, name in SCHEMES if part in reference.settings.pattern), None)
            if scheme is None:
                raise OtherIds(f"gigatoken does not know the pattern of {reference.spec.name}")
            return _from_ranks(Gigatoken, reference.spec.content(RANKS_FILE), scheme)
        assert isinstance(reference, Gpt2Tokenizer)
        return _from_ranks(Gigatoken, gpt2_vocabulary(), "gpt2")
    except OtherIds:
        raise
    except Exception as error:  # it raises no narrower class
        raise OtherIds(f"gigatoken does not read {reference.spec.name} ({first_line(error)})") from None


def _from_ranks(gigatoken: Any, ranks: bytes, scheme: str) -> Any:
    with tempfile.NamedTemporaryFile() as file:  # it reads a vocabulary from a file only
        file.write(ranks)
        file.flush()
        # No special tokens: with them it gives their ids for their names in a text.
        return gigatoken.from_tiktoken(file.name, pretokenizer=scheme, special_tokens={}).backend


def _without_names(content: bytes) -> str:
    """A tokenizer.json whose added tokens are only runs of blanks, so that a name in a text is ordinary text."""
    found = json.loads(content)
    added = found.get("added_tokens") or []
    found["added_tokens"] = [token for token in added if not token["content"].strip()]
    found["post_processor"] = None
    return json.dumps(found)
