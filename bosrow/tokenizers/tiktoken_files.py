"""Vocabularies of tiktoken: its own encodings by name, and a `.tiktoken` file with the JSON that belongs to it.

NAME.tiktoken holds a token a line, in Base64, with its id. NAME.tiktoken.json beside it holds what the first lacks:
`pattern`, the regular expression that splits a text, and `special_tokens`, an object of names and ids; `bos_token` and
`eos_token` may name two of them. Nothing else is read: a pickled encoding is never opened.
"""

import base64
import binascii
import hashlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from bosrow.errors import BadRowError, DataSetError, MachineError, OptionError, first_line
from bosrow.files import read_untrusted
from bosrow.strict_json import Count, Invalid, parse_json, typed
from bosrow.tokenizers.chunks import NOWHERE, word_cut
from bosrow.tokenizers.spec import RANKS_FILE, SETTINGS_FILE, TokenizerSpec
from bosrow.tokenizers.special_tokens import AskedTokens, Template, document_tokens
from bosrow.tokenizers.token_ids import TokenArray, token_dtype
from bosrow.tokenizers.tokenizer import Tokenizer

if TYPE_CHECKING:
    import tiktoken

ENCODINGS = ("cl100k_base", "o200k_base", "p50k_base", "r50k_base", "o200k_harmony")
END_OF_TEXT = "<|endoftext|>"


class TiktokenSettings(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What stands in NAME.tiktoken.json. Other fields are passed over."""

    pattern: str
    special_tokens: dict[str, Count]
    bos_token: str | None = None
    eos_token: str | None = None


def spec_of_file(path: Path, asked: AskedTokens) -> TokenizerSpec:
    """The tokenizer in NAME.tiktoken and NAME.tiktoken.json. Raises OptionError if they are not such files."""
    beside = path.with_name(f"{path.name}.json")
    if not beside.is_file():
        raise OptionError(
            f"{path} holds only tokens; {beside.name} is required beside it, with the pattern that splits a text and "
            'the special tokens: {"pattern": "...", "special_tokens": {"<|bos|>": 65527}, "bos_token": "<|bos|>"}'
        )
    return spec_of(path.name, str(path), read_untrusted(path.resolve()), read_untrusted(beside.resolve()), asked)


def spec_of_encoding(name: str, asked: AskedTokens) -> TokenizerSpec:
    """An encoding that tiktoken knows by name. It keeps a copy of what it has once fetched.

    Raises MachineError where it can be neither fetched nor found.
    """
    import tiktoken

    try:
        encoding = tiktoken.get_encoding(name)
    except Exception as error:  # of the network, or of the file system
        raise MachineError(
            f"tiktoken cannot fetch its encoding {name} ({first_line(error)}); run this once on a machine with network "
            "and copy its cache (TIKTOKEN_CACHE_DIR), or give the vocabulary as a .tiktoken file"
        ) from None
    settings = TiktokenSettings(pattern=encoding._pat_str, special_tokens=dict(encoding._special_tokens))
    return spec_of(name, name, _written(encoding._mergeable_ranks), msgspec.json.encode(settings), asked)


def _written(ranks: dict[bytes, int]) -> bytes:
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items())


def spec_of(name: str, what: str, ranks: bytes, settings: bytes, asked: AskedTokens) -> TokenizerSpec:
    """The tokenizer of the contents of both files; `what` is what messages call it."""
    try:
        tokens, found = parsed(what, ranks, settings)
    except DataSetError as error:
        raise OptionError(str(error)) from None
    special = found.special_tokens
    named = {"bos_token": found.bos_token, "eos_token": found.eos_token}
    if found.bos_token is None and found.eos_token is None and END_OF_TEXT in special:
        named["bos_token"] = END_OF_TEXT
    bos, eos, append = document_tokens(what, asked, Template(), named, special, special)
    if bos in tokens.values():
        raise OptionError(f"the BOS of {what} ({bos}) is the id of an ordinary token, which a text can produce")
    files = ((RANKS_FILE, ranks), (SETTINGS_FILE, settings))
    return TokenizerSpec(name=name, kind="tiktoken", bos_token_id=bos, eos_token_id=eos, append_eos=append, files=files)


def parsed(what: str, ranks: bytes, settings: bytes) -> tuple[dict[bytes, int], TiktokenSettings]:
    """The ids of all tokens, and the settings. Raises DataSetError where they do not make up a vocabulary."""
    try:
        found = typed(parse_json(settings, f"the settings of {what}"), TiktokenSettings)
    except Invalid as error:
        raise DataSetError(f"the settings of {what} (a .tiktoken.json): {error}") from None
    tokens: dict[bytes, int] = {}
    for number, line in enumerate(ranks.splitlines(), start=1):
        if not line:
            continue
        try:
            token, rank = line.split()
            tokens[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            raise DataSetError(f"{what}, line {number}: a token in Base64 and its id are required") from None
    ids = [*tokens.values(), *found.special_tokens.values()]
    if not tokens or len(set(ids)) < len(ids):
        raise DataSetError(f"{what} has {'no tokens' if not tokens else 'two tokens of one id'}")
    return tokens, found


class TiktokenTokenizer(Tokenizer):
    """The tokenizer of a spec of kind "tiktoken"."""

    engine = "tiktoken"

    def __init__(self, spec: TokenizerSpec) -> None:
        """Raise DataSetError if the files of `spec` are damaged."""
        self.spec = spec
        ranks, settings = spec.content(RANKS_FILE), spec.content(SETTINGS_FILE)
        self._ranks, self.settings = parsed(spec.name, ranks, settings)
        self.vocabulary_sha256 = hashlib.sha256(ranks + b"\0" + settings).hexdigest()
        self.vocab_size = 1 + max(*self._ranks.values(), *self.settings.special_tokens.values())
        self.dtype = token_dtype(self.vocab_size)
        self.safe_cut = word_cut(self.settings.pattern) or NOWHERE

    @cached_property
    def _encoding(self) -> "tiktoken.Encoding":
        import tiktoken

        return tiktoken.Encoding(
            name=self.spec.name,
            pat_str=self.settings.pattern,
            mergeable_ranks=self._ranks,
            special_tokens=self.settings.special_tokens,
        )

    def encode_chunk(self, text: str) -> TokenArray:
        """Ids of a text that is taken at once. Raises BadRowError if tiktoken cannot split it."""
        try:
            return self._encoding.encode_to_numpy(text, disallowed_special=()).astype(self.dtype)
        except (ValueError, RuntimeError) as error:  # its regular expressions give up on a million blanks
            raise BadRowError(f"tiktoken cannot split it ({first_line(error)})") from None

    def decode(self, ids: npt.ArrayLike) -> str:
        """Text of `ids`; bytes that are not UTF-8 (a character cut in two) become U+FFFD."""
        return self._encoding.decode(np.asarray(ids).tolist())
