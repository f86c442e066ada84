"""Text into uint16 token ids: GPT-2's byte-pair encoding by tiktoken, its vocabulary shipped, no network.

Promise: the ids are those of tiktoken's `encode_ordinary(text)` for every string, also for those on which
tiktoken itself fails or swells: a million spaces before a letter, lone surrogates, documents of any length.
A literal `<|endoftext|>` in a text gives ordinary ids, so text cannot forge a BOS. Memory beside the text
and its ids is a few megabytes, unless a text goes on for megabytes within one word.
"""

import functools
import hashlib
import importlib.metadata
import importlib.resources
import lzma
import re
from base64 import b64decode
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import tiktoken

from bosrow.errors import BosrowError

VOCABULARY = "r50k_base.tiktoken.xz"
VOCABULARY_SHA256 = "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"  # of the unpacked file
# GPT-2's split pattern (github.com/openai/gpt-2, src/encoder.py), as tiktoken writes it for r50k_base.
GPT2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
END_OF_TEXT = 50256

# A document longer than this is encoded in pieces. Less than a million, since tiktoken's regular-expression
# engine gives up ("Max stack size") at a million white-space characters before another character.
PIECE_BYTES = 1 << 19
WINDOW_BYTES = 1 << 16  # of text searched at once for a place to cut
LOOK_AHEAD_BYTES = 8  # that tell such a place, at most


def _safe_cut() -> re.Pattern[bytes]:
    """Places in UTF-8 text where no match of GPT2_PATTERN, nor a look-ahead's outcome, crosses over.

    These are: before white space that follows something else; before the last character of a run of white
    space (which the pattern always leaves to the next word); after an ASCII letter or digit before an ASCII
    character of another class. White space is Unicode's White_Space, as tiktoken's \\s, not Python's.
    """
    spaces = [
        rb"[\t-\r ]",
        rb"\xc2[\x85\xa0]",
        rb"\xe1\x9a\x80",
        rb"\xe2\x80[\x80-\x8a\xa8\xa9\xaf]",
        rb"\xe2\x81\x9f",
        rb"\xe3\x80\x80",
    ]
    space = b"(?:" + b"|".join(spaces) + b")"
    after_space = b"(?:" + b"|".join(b"(?<=" + kind + b")" for kind in spaces) + b")"
    after_other = b"".join(b"(?<!" + kind + b")" for kind in spaces)
    return re.compile(
        after_other + b"(?=" + space + b")"
        b"|" + after_space + b"(?=" + space + b"(?!" + space + b").)"
        rb"|(?<=[A-Za-z])(?=[^A-Za-z\x80-\xff])"
        rb"|(?<=[0-9])(?=[^0-9\x80-\xff])",
        re.DOTALL,
    )


SAFE_CUT = _safe_cut()


def pieces(data: bytes | memoryview, piece_bytes: int = PIECE_BYTES) -> Iterator[memoryview]:
    """Cut UTF-8 text into stretches of about `piece_bytes` whose ids, joined, are those of the whole."""
    view = memoryview(data)
    start = 0
    while len(view) - start > piece_bytes:
        cut = _next_cut(view, start + piece_bytes)
        if cut is None:
            break
        yield view[start:cut]
        start = cut
    yield view[start:]


def _next_cut(view: memoryview, begin: int) -> int | None:
    """The first safe cut from `begin` on. Searched in windows: while a search lasts no other thread runs."""
    while begin < len(view):
        end = min(begin + WINDOW_BYTES, len(view))
        cut = SAFE_CUT.search(view, begin, end)
        known = end if end == len(view) else end - LOOK_AHEAD_BYTES  # beyond it the pattern may lack what follows
        if cut is not None and cut.start() < known:
            return cut.start()
        begin = known
    return None


def gpt2_vocabulary() -> bytes:
    """GPT-2's vocabulary but for <|endoftext|>, as tiktoken writes it: a token a line, in Base64, with its id."""
    packed = importlib.resources.files("bosrow.tokenizers").joinpath("vocabulary", VOCABULARY).read_bytes()
    vocabulary = lzma.decompress(packed)
    if hashlib.sha256(vocabulary).hexdigest() != VOCABULARY_SHA256:
        raise BosrowError(f"the vocabulary {VOCABULARY} inside bosrow is damaged; install bosrow again")
    return vocabulary


def gpt2_ranks() -> dict[bytes, int]:
    """The same by token: the id of each, which is also its rank among the merges."""
    return {b64decode(token): int(rank) for token, rank in map(bytes.split, gpt2_vocabulary().splitlines())}


class Gpt2Tokenizer:
    """GPT-2's tokenizer. `bos_token_id` is 50256, which no text can produce.

    >>> Gpt2Tokenizer().encode("Rows begin with BOS.").tolist()
    [49, 1666, 2221, 351, 347, 2640, 13]
    """

    name = location = "gpt2"
    engine = "tiktoken"
    vocab_size = 50257
    bos_token_id = END_OF_TEXT
    eos_token_id = END_OF_TEXT
    vocabulary_sha256 = VOCABULARY_SHA256

    def __init__(self) -> None:
        self._encoding = tiktoken.Encoding(
            name="gpt2",
            explicit_n_vocab=self.vocab_size,
            pat_str=GPT2_PATTERN,
            mergeable_ranks=gpt2_ranks(),
            special_tokens={"<|endoftext|>": END_OF_TEXT},
        )

    @property
    def engine_version(self) -> str:
        """The installed version of the library that does the work."""
        return importlib.metadata.version(self.engine)

    def encode(self, text: str | bytes | memoryview) -> npt.NDArray[np.uint16]:
        """Ids of `text` (a str, or UTF-8), shape (tokens,), without BOS.

        A lone surrogate, which JSON can bring into a str, becomes U+FFFD. Raises UnicodeDecodeError for bytes
        that are not UTF-8.
        """
        ids = [self._encode_piece(piece) for piece in pieces(utf8(text) if isinstance(text, str) else text)]
        return ids[0] if len(ids) == 1 else np.concatenate(ids)

    def _encode_piece(self, piece: memoryview) -> npt.NDArray[np.uint16]:
        return self._encoding.encode_to_numpy(str(piece, "utf-8"), disallowed_special=()).astype(np.uint16)

    def decode(self, ids: npt.ArrayLike) -> str:
        """Text of `ids`; bytes that are not UTF-8 (a character cut in two) become U+FFFD."""
        return self._encoding.decode(np.asarray(ids).tolist())


def utf8(text: str) -> bytes:
    """UTF-8 of a text, which may hold lone surrogates: each becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


@functools.cache
def load_tokenizer() -> Gpt2Tokenizer:
    """GPT-2's tokenizer, unpacked once a process."""
    return Gpt2Tokenizer()
