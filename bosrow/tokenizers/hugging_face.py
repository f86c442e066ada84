"""A Hugging Face `tokenizer.json` as tokenizer, read by the package `tokenizers`.

Promise: no text can produce the BOS id; nothing is executed and nothing is fetched. Cost: a core makes about a
million tokens a second. A document is encoded whole, so it takes memory by its length: where its text might be cut
without changing ids is not known.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bosrow.errors import DataSetError, OptionError, SourceError, UserError, first_line
from bosrow.files import read_untrusted
from bosrow.strict_json import parse_json
from bosrow.tokenizers.token_ids import MAX_VOCABULARY, TokenArray, token_dtype
from bosrow.tokenizers.tokenizer import TOKENIZER_FILE, utf8, version_of

CONFIGS = ("tokenizer_config.json", "special_tokens_map.json")  # where a folder names its special tokens


class HuggingFaceTokenizer:
    """The tokenizer in the file `path`, whose `bos_token_id` begins each document."""

    name = TOKENIZER_FILE
    engine = "tokenizers"

    def __init__(self, path: Path, *, bos_token_id: int) -> None:
        self.location = str(path)
        self.file_bytes = read_untrusted(path)
        self.vocabulary_sha256 = hashlib.sha256(self.file_bytes).hexdigest()
        self._tokenizer = _tokenizer_from(path, self.file_bytes)
        self.bos_token_id = self.eos_token_id = bos_token_id
        self.vocab_size: int = 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values())
        if self.vocab_size > MAX_VOCABULARY:
            raise OptionError(
                f"{path} has ids up to {self.vocab_size - 1:,}; {MAX_VOCABULARY - 1:,} at most is possible"
            )
        self.dtype = token_dtype(self.vocab_size)
        bos = self._tokenizer.id_to_token(bos_token_id)
        if bos is None:
            raise OptionError(f"{path} has no token {bos_token_id}, which is said to be its BOS")
        self.encode(f"a{bos}b {bos}")

    @property
    def engine_version(self) -> str:
        """The installed version of tokenizers."""
        return version_of(self.engine)

    def encode(self, text: str | bytes | memoryview) -> TokenArray:
        """Ids of `text` (a str, or UTF-8), shape (tokens,), of `dtype`, without BOS.

        Raises UnicodeDecodeError for bytes that are not UTF-8, SourceError for a text that the tokenizer cannot take
        or to whose ids BOS belongs.
        """
        words = str(utf8(text) if isinstance(text, str) else text, "utf-8")
        try:
            (found,) = self._tokenizer.encode_batch_fast([words], add_special_tokens=False)
        except Exception as error:  # tokenizers raises no narrower class
            raise SourceError(
                f"{TOKENIZER_FILE} has no ids for a text ({first_line(error)}); give one that takes every text: "
                "a byte-level one, or one whose vocabulary holds its unknown token (unk_token)"
            ) from None
        ids = np.array(found.ids, self.dtype)
        if self.bos_token_id in ids:
            raise SourceError(
                f"{TOKENIZER_FILE} gives its BOS ({self.bos_token_id}) for ordinary text, so rows could not be told "
                "apart; give a tokenizer whose BOS is a special token that no text produces"
            )
        return ids

    def decode(self, ids: npt.ArrayLike) -> str:
        """Text of `ids`, special tokens included."""
        return self._tokenizer.decode(np.asarray(ids).tolist(), skip_special_tokens=False)


def _tokenizer_from(path: Path, data: bytes) -> Any:
    try:
        import tokenizers
    except ImportError:
        raise UserError(
            f"{path} is read by the package 'tokenizers'; install it with: pip install 'bosrow[tokenizers]'"
        ) from None
    try:
        tokenizer = tokenizers.Tokenizer.from_str(data.decode("utf-8", "replace"))
    except Exception as error:  # tokenizers raises no narrower class
        raise DataSetError(f"{path} is no tokenizer.json ({error})") from None
    tokenizer.encode_special_tokens = True  # a special token's name in a text is ordinary text
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def bos_token_id_of(path: Path) -> int:
    """The id of the BOS token, or of the EOS token where there is no BOS."""
    named: dict[str, Any] = {}
    for config in CONFIGS:
        if (beside := path.with_name(config)).is_file():
            named = parse_json(read_untrusted(beside.resolve()), str(beside)) | named
    tokenizer = _tokenizer_from(path, read_untrusted(path.resolve()))
    for role in ("bos_token", "eos_token"):
        token = named.get(role)
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str):
            found = tokenizer.token_to_id(token)
            if found is None:
                raise OptionError(f"{path} has no token {token!r}, which is said to be its {role}")
            return int(found)
    special = {int(id): token.content for id, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    if len(special) == 1:
        return next(iter(special))
    names = ", ".join(special.values()) or "none"
    raise OptionError(
        f"{path} does not say which token is BOS (its special tokens: {names}); put a tokenizer_config.json beside it "
        'with {"bos_token": "..."} or {"eos_token": "..."}'
    )
