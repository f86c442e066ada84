"""A tokenizer before it is opened: the contents of its files, and the tokens that stand around a document.

It is what one process hands to another, and what a data set keeps.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

TOKENIZER_FILE = "tokenizer.json"  # of Hugging Face
RANKS_FILE = "tokenizer.tiktoken"  # of tiktoken: a token a line, in Base64, with its id
SETTINGS_FILE = "tokenizer.tiktoken.json"  # its pattern and its special tokens
CONFIGS = ("tokenizer_config.json", "special_tokens_map.json")  # of Hugging Face: they name the special tokens
KEPT_FILES = (TOKENIZER_FILE, *CONFIGS, RANKS_FILE, SETTINGS_FILE)  # under these names in a data set and a checkpoint


Engine = Literal["auto", "gigatoken", "tiktoken", "tokenizers"]
Kind = Literal["gpt2", "hugging_face", "tiktoken"]


def kind_of(files: Iterable[tuple[str, bytes]]) -> Kind:
    """What the files that a data set or a checkpoint keeps are; GPT-2's vocabulary is bosrow's own, so it has none."""
    names = [name for name, _ in files]
    return "tiktoken" if RANKS_FILE in names else "hugging_face" if names else "gpt2"


@dataclass(frozen=True, kw_only=True)
class TokenizerSpec:
    """What a tokenizer is made of. Documents are `[BOS] + ids`, and `+ [EOS]` with `append_eos`."""

    name: str  # gpt2, tokenizer.json, or what it is called on the Hub or by tiktoken
    kind: Kind
    bos_token_id: int
    eos_token_id: int
    append_eos: bool = False
    revision: str | None = None  # the commit of one from the Hub
    files: tuple[tuple[str, bytes], ...] = ()  # contents, by one of KEPT_FILES

    def content(self, name: str) -> bytes:
        """The content of a file that this tokenizer has."""
        return dict(self.files)[name]
