"""What every tokenizer offers, and text as all of them take it."""

import re
from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from bosrow.errors import BadRowError
from bosrow.tokenizers.chunks import text_chunks
from bosrow.tokenizers.spec import TokenizerSpec
from bosrow.tokenizers.token_ids import TokenArray, TokenDtype

MAX_UNCUT_BYTES = 64 << 20  # of text that cannot be cut; its ids take some gigabytes while they are found


class Tokenizer(ABC):
    """A tokenizer. No text gives its BOS, and every id is below `vocab_size`.

    `safe_cut` finds places in UTF-8 text where a text may be cut without changing its ids. The encoding of a long text
    takes bounded memory where there are such places.
    """

    spec: TokenizerSpec
    engine: str
    vocab_size: int
    dtype: TokenDtype  # of ids: `token_dtype(vocab_size)`
    vocabulary_sha256: str
    safe_cut: re.Pattern[bytes]

    @property
    def engine_version(self) -> str:
        """The installed version of the library that does the work."""
        from importlib.metadata import version  # 15 ms, which only the process that records it pays

        return version(self.engine)

    def encode(self, text: str | bytes | memoryview) -> TokenArray:
        """Ids of `text` (a str, or UTF-8), shape (tokens,), of `dtype`, without BOS and EOS.

        A lone surrogate, which JSON can bring into a str, becomes U+FFFD. Raises UnicodeDecodeError for bytes that are
        not UTF-8, BadRowError for a text that cannot be taken.
        """
        ids = []
        for chunk in text_chunks(utf8(text) if isinstance(text, str) else text, self.safe_cut):
            if len(chunk) > MAX_UNCUT_BYTES:
                raise BadRowError(
                    f"{len(chunk):,} bytes without a place where this tokenizer can cut them, at most "
                    f"{MAX_UNCUT_BYTES:,} are taken at once"
                )
            ids.append(self.encode_chunk(str(chunk, "utf-8")))
        return ids[0] if len(ids) == 1 else np.concatenate(ids)

    @abstractmethod
    def encode_chunk(self, text: str) -> TokenArray:
        """Ids of a text that is taken at once."""

    @abstractmethod
    def decode(self, ids: npt.ArrayLike) -> str:
        """Text of `ids`, special tokens included; bytes that are not UTF-8 become U+FFFD."""


def utf8(text: str) -> bytes:
    """UTF-8 of a text, which may hold lone surrogates: each becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
