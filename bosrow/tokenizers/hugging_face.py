"""A Hugging Face `tokenizer.json` as tokenizer, read by the package `tokenizers`.

Promise: no text can produce the BOS id; the name of a special or an added token inside a text is ordinary text; nothing
is executed. Cost: a core makes about a million tokens a second. A long document is encoded in chunks where the
tokenizer's pattern allows it, else whole.
"""

import hashlib
import re
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from bosrow.errors import DataSetError, OptionError, SourceError, UserError, first_line
from bosrow.strict_json import parse_json
from bosrow.tokenizers.chunks import NOWHERE, word_cut
from bosrow.tokenizers.spec import CONFIGS, TOKENIZER_FILE, TokenizerSpec
from bosrow.tokenizers.special_tokens import AskedTokens, Template, document_tokens
from bosrow.tokenizers.token_ids import MAX_VOCABULARY, TokenArray, token_dtype
from bosrow.tokenizers.tokenizer import Tokenizer

# GPT-2's pattern as the pre-tokenizer ByteLevel has it built in (github.com/huggingface/tokenizers).
BYTE_LEVEL = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def spec_of(name: str, what: str, files: dict[str, bytes], asked: AskedTokens, revision: str | None) -> TokenizerSpec:
    """The tokenizer in tokenizer.json and in those of CONFIGS that there are. Raises OptionError if it is not one."""
    settings: dict[str, Any] = {}
    try:
        for config in CONFIGS:
            if config in files:
                settings = parse_json(files[config], f"{config} of {what}") | settings
        tokenizer = _tokenizer_from(what, files[TOKENIZER_FILE])
    except DataSetError as error:
        raise OptionError(str(error)) from None
    special = {token.content: int(id) for id, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    ids = tokenizer.get_vocab(with_added_tokens=True)
    bos, eos, append = document_tokens(what, asked, _template(tokenizer), settings, ids, special)
    spec = TokenizerSpec(
        name=name,
        kind="hugging_face",
        bos_token_id=bos,
        eos_token_id=eos,
        append_eos=append,
        revision=revision,
        files=tuple((kept, files[kept]) for kept in (TOKENIZER_FILE, *CONFIGS) if kept in files),
    )
    opened = HuggingFaceTokenizer(spec)
    bos_name = tokenizer.id_to_token(bos)
    try:
        opened.encode(f"a{bos_name}b {bos_name}")
    except SourceError as error:
        raise OptionError(f"{what}: {error}") from None
    return spec


def _template(tokenizer: Any) -> Template:
    """What the tokenizer itself puts around a text."""
    try:
        plain = tokenizer.encode("a", add_special_tokens=False).ids
        whole = tokenizer.encode("a", add_special_tokens=True).ids
    except Exception:  # one that has no ids for "a" says so when it is used
        return Template()
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return Template(tuple(whole[:start]), tuple(whole[start + len(plain) :]))
    return Template()


class HuggingFaceTokenizer(Tokenizer):
    """The tokenizer of a spec of kind "hugging_face"."""

    engine = "tokenizers"

    def __init__(self, spec: TokenizerSpec) -> None:
        """Raise DataSetError if its file is damaged, OptionError if it has no such BOS."""
        self.spec = spec
        content = spec.content(TOKENIZER_FILE)
        self.vocabulary_sha256 = hashlib.sha256(content).hexdigest()
        self._tokenizer = _tokenizer_from(spec.name, content)
        _take_names_as_text(self._tokenizer)
        self.vocab_size: int = 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
        if self.vocab_size > MAX_VOCABULARY:
            raise OptionError(
                f"{spec.name} has ids up to {self.vocab_size - 1:,}; at most {MAX_VOCABULARY - 1:,} is possible"
            )
        self.dtype = token_dtype(self.vocab_size)
        if self._tokenizer.id_to_token(spec.bos_token_id) is None:
            raise OptionError(f"{spec.name} has no token {spec.bos_token_id}, which is said to be its BOS")
        self.safe_cut = _safe_cut(content) or NOWHERE

    def encode_chunk(self, text: str) -> TokenArray:
        """Ids of a text that is taken at once.

        Raises SourceError for a text that the tokenizer has no ids for, or whose ids would hold BOS.
        """
        try:
            (found,) = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)
        except Exception as error:  # tokenizers raises no narrower class
            raise SourceError(
                f"{self.spec.name} has no ids for a text ({first_line(error)}); give a tokenizer that takes every "
                "text: a byte-level one, or one whose vocabulary holds its unknown token (unk_token)"
            ) from None
        ids = np.array(found.ids, self.dtype)
        if self.spec.bos_token_id in ids:
            raise SourceError(
                f"{self.spec.name} gives its BOS ({self.spec.bos_token_id}) for ordinary text, so documents could not "
                "be told apart; name a special token that no text produces with --bos_token"
            )
        return ids

    def decode(self, ids: npt.ArrayLike) -> str:
        """Text of `ids`, special tokens included."""
        return self._tokenizer.decode(np.asarray(ids).tolist(), skip_special_tokens=False)


def _tokenizer_from(what: str, content: bytes) -> Any:
    try:
        import tokenizers
    except ImportError:
        raise UserError(
            f"{what} is read by the package 'tokenizers'; install it with: pip install 'bosrow[tokenizers]'"
        ) from None
    try:
        tokenizer = tokenizers.Tokenizer.from_str(content.decode("utf-8", "replace"))
    except Exception as error:  # tokenizers raises no narrower class
        raise DataSetError(f"{what} is not a tokenizer.json ({error})") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _take_names_as_text(tokenizer: Any) -> None:
    """Let the names of special and added tokens be ordinary text. Added runs of blanks are words, and stay so."""
    from tokenizers import AddedToken

    added = [token for token in tokenizer.get_added_tokens_decoder().values() if not token.special]
    names = [token.content for token in added if token.content.strip()]
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    tokenizer.encode_special_tokens = True


def _safe_cut(content: bytes) -> re.Pattern[bytes] | None:
    """Where a text may be cut without changing ids; None where that is not known."""
    found = msgspec.json.decode(content)
    normalizer = found.get("normalizer")
    plain = (None, {"type": "NFC"}, {"type": "NFKC"}, {"type": "Sequence", "normalizers": []})
    if found.get("model", {}).get("type") != "BPE" or normalizer not in plain:
        return None
    patterns = _patterns(found.get("pre_tokenizer"))
    return word_cut(*patterns) if patterns else None


def _patterns(step: Any) -> list[str] | None:
    """The patterns that a pre-tokenizer splits by; None if it does anything else to a text."""
    if not isinstance(step, dict):
        return None
    match step.get("type"):
        case "Sequence":
            steps = [_patterns(one) for one in step.get("pretokenizers", ())]
            return None if None in steps else [pattern for found in steps for pattern in found or ()]
        case "Split":
            pattern = step.get("pattern", {}).get("Regex")
            isolates = step.get("behavior") == "Isolated" and not step.get("invert")
            return [pattern] if isolates and isinstance(pattern, str) else None
        case "Digits":
            return [r"\p{N}"]
        case "ByteLevel" if not step.get("add_prefix_space"):
            return [BYTE_LEVEL] if step.get("use_regex", True) else []
        case _:
            return None
