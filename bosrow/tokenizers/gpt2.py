"""Text into uint16 token ids: GPT-2's byte-pair encoding by tiktoken, its vocabulary shipped, no network.

Promise: the ids are those of tiktoken's `encode_ordinary(text)` for every string, also for those on which
tiktoken itself fails or swells: a million spaces before a letter, lone surrogates, documents of any length.
A literal `<|endoftext|>` in a text gives ordinary ids, so text cannot forge a BOS. Memory beside the text
and its ids is a few megabytes, unless a text goes on for megabytes within one word.
"""

import hashlib
import lzma
from binascii import a2b_base64
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bosrow.errors import BosrowError
from bosrow.tokenizers.chunks import gpt2_cut
from bosrow.tokenizers.spec import TokenizerSpec
from bosrow.tokenizers.special_tokens import AskedTokens, Template, document_tokens
from bosrow.tokenizers.token_ids import TokenArray, token_dtype
from bosrow.tokenizers.tokenizer import Tokenizer

if TYPE_CHECKING:
    import tiktoken

VOCABULARY = "r50k_base.tiktoken.xz"
VOCABULARY_SHA256 = "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"  # of the unpacked file
# GPT-2's split pattern (github.com/openai/gpt-2, src/encoder.py), as tiktoken writes it for r50k_base.
GPT2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
END_OF_TEXT = 50256


def gpt2_vocabulary() -> bytes:
    """GPT-2's vocabulary but for <|endoftext|>, as tiktoken writes it: a token a line, in Base64, with its id."""
    packed = Path(__file__).with_name("vocabulary") / VOCABULARY
    vocabulary = lzma.decompress(packed.read_bytes())
    if hashlib.sha256(vocabulary).hexdigest() != VOCABULARY_SHA256:
        raise BosrowError(f"the vocabulary {VOCABULARY} inside bosrow is damaged; install bosrow again")
    return vocabulary


def gpt2_ranks() -> dict[bytes, int]:
    """The same by token: the id of each, which is also its rank among the merges."""
    tokens = gpt2_vocabulary().split()[::2]  # whose ids, the words between them, are 0, 1, 2 and so on
    return {a2b_base64(token): rank for rank, token in enumerate(tokens)}


GPT2 = TokenizerSpec(name="gpt2", kind="gpt2", bos_token_id=END_OF_TEXT, eos_token_id=END_OF_TEXT)


def gpt2_spec(asked: AskedTokens) -> TokenizerSpec:
    """GPT-2's tokenizer. Raises OptionError if a token is asked for that it does not have."""
    ids = {"<|endoftext|>": END_OF_TEXT}
    bos, eos, append = document_tokens("gpt2", asked, Template(), {}, ids, ids)
    return replace(GPT2, bos_token_id=bos, eos_token_id=eos, append_eos=append)


class Gpt2Tokenizer(Tokenizer):
    """GPT-2's tokenizer. Its BOS is 50256, which no text can produce.

    >>> Gpt2Tokenizer().encode("Rows begin with BOS.").tolist()
    [49, 1666, 2221, 351, 347, 2640, 13]
    """

    engine = "tiktoken"
    vocab_size = 50257
    dtype = token_dtype(vocab_size)
    vocabulary_sha256 = VOCABULARY_SHA256

    def __init__(self, spec: TokenizerSpec = GPT2) -> None:
        self.spec = spec
        self.safe_cut = gpt2_cut()

    @cached_property
    def _encoding(self) -> "tiktoken.Encoding":
        """tiktoken's own object, made with the first text: that takes some 0.2 s, which not every process needs."""
        import tiktoken

        return tiktoken.Encoding(
            name="gpt2",
            explicit_n_vocab=self.vocab_size,
            pat_str=GPT2_PATTERN,
            mergeable_ranks=gpt2_ranks(),
            special_tokens={"<|endoftext|>": END_OF_TEXT},
        )

    def encode_chunk(self, text: str) -> TokenArray:
        """Ids of a text that is taken at once."""
        return self._encoding.encode_to_numpy(text, disallowed_special=()).astype(self.dtype)

    def decode(self, ids: npt.ArrayLike) -> str:
        """Text of `ids`; bytes that are not UTF-8 (a character cut in two) become U+FFFD."""
        return self._encoding.decode(np.asarray(ids).tolist())


@cache
def load_tokenizer() -> Gpt2Tokenizer:
    """GPT-2's tokenizer, one for the whole process."""
    return Gpt2Tokenizer()
