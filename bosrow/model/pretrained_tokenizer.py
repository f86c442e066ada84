"""The tokenizer of a model folder: its own tokenizer.json, or GPT-2's where the vocabulary is GPT-2's.

Promise: text cannot forge a special token, and a model never sees an id beyond its vocabulary. A model may know more
ids than there are words (`--vocab_size 50304`).
"""

import json
from pathlib import Path
from typing import Any

from bosrow.errors import DataSetError, UserError
from bosrow.files import read_untrusted
from bosrow.model.gpt2 import ModelConfig
from bosrow.strict_json import parse_json
from bosrow.tokenizers.by_name import open_spec, open_tokenizer
from bosrow.tokenizers.gpt2 import END_OF_TEXT, load_tokenizer
from bosrow.tokenizers.spec import KEPT_FILES, TokenizerSpec, kind_of
from bosrow.tokenizers.tokenizer import Tokenizer

GPT2_VOCAB_SIZE = 50257


def has_gpt2_words(config: ModelConfig) -> bool:
    """Whether a model without a tokenizer of its own reads GPT-2's ids: as many, or padded with ids of no word."""
    padded = config.vocab_size > GPT2_VOCAB_SIZE and config.bos_token_id == END_OF_TEXT
    return config.vocab_size == GPT2_VOCAB_SIZE or padded


def tokenizer_of(folder: Path, config: ModelConfig, asked: str | None) -> Tokenizer:
    """The tokenizer for the model in `folder`: the one asked for, else the folder's own, else GPT-2's.

    Raises UserError if there is none, or if it makes ids that the model does not know.
    """
    tokenizer: Tokenizer
    vocab_size = config.vocab_size
    if asked is not None:
        tokenizer = open_tokenizer(asked)
    elif files := _kept_files(folder):
        bos = _bos_token_id(folder)
        spec = TokenizerSpec(name=str(folder), kind=kind_of(files), bos_token_id=bos, eos_token_id=bos, files=files)
        tokenizer = open_spec(spec, "reference")
    elif has_gpt2_words(config):
        tokenizer = load_tokenizer()
    else:
        raise UserError(
            f"{folder} has no tokenizer.json and a vocabulary of {vocab_size:,}, GPT-2's has {GPT2_VOCAB_SIZE:,}; "
            "put its tokenizer.json there, or name one with --tokenizer"
        )
    if max(tokenizer.vocab_size, tokenizer.spec.bos_token_id + 1) > vocab_size:
        raise UserError(
            f"{folder} knows {vocab_size:,} tokens, but the tokenizer has {tokenizer.vocab_size:,}; "
            "it was trained with another vocabulary"
        )
    return tokenizer


def _kept_files(folder: Path) -> tuple[tuple[str, bytes], ...]:
    paths = [folder / name for name in KEPT_FILES]
    return tuple((path.name, read_untrusted(path.resolve())) for path in paths if path.is_file())


def _bos_token_id(folder: Path) -> int:
    path = folder / "config.json"
    try:
        fields: dict[str, Any] = parse_json(read_untrusted(path.resolve()), str(path))
    except DataSetError as error:
        raise UserError(str(error)) from None
    found = fields.get("bos_token_id")
    if type(found) is not int or found < 0:
        raise UserError(f"{path}: bos_token_id is {json.dumps(found)}; a token id is required")
    return found
