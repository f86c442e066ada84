"""What every tokenizer offers, and text as all of them take it."""

from typing import Protocol

import numpy.typing as npt

from bosrow.tokenizers.token_ids import TokenArray, TokenDtype

TOKENIZER_FILE = "tokenizer.json"  # of Hugging Face; what a data set calls its own


class Tokenizer(Protocol):
    """What bosrow needs of a tokenizer. No text gives `bos_token_id`, and every id is below `vocab_size`."""

    name: str
    location: str  # what another process opens it by
    engine: str
    vocab_size: int
    dtype: TokenDtype  # of ids: `token_dtype(vocab_size)`
    bos_token_id: int
    eos_token_id: int
    vocabulary_sha256: str

    @property
    def engine_version(self) -> str:
        """The version of the library that does the work."""

    def encode(self, text: str | bytes | memoryview) -> TokenArray:
        """Ids of `text` (a str, or UTF-8), shape (tokens,), of `dtype`, without BOS."""

    def decode(self, ids: npt.ArrayLike) -> str:
        """Text of `ids`."""


def utf8(text: str) -> bytes:
    """UTF-8 of a text, which may hold lone surrogates: each becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def version_of(package: str) -> str:
    """The installed version of a package."""
    from importlib.metadata import version  # 15 ms, which only the process that records it pays

    return version(package)
