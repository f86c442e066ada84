"""`bosrow export`: writes a checkpoint as a folder that transformers, and all that reads its format, loads offline.

Promise: the checkpoint's checksums are verified, and its config and weights are copied byte for byte, together with the
tokenizer. Ids without a word in the tokenizer (as with `--vocab_size 50304`) stay, so all scores stay the same; the
generation config keeps transformers' `generate` from drawing them. The folder appears complete or not at all, and
nothing is overwritten. Cost: the weights are read twice and written once.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from bosrow.errors import OptionError, UserError
from bosrow.files import read_untrusted, replace_file, replace_with, sync_folder
from bosrow.model.gpt2 import ModelConfig
from bosrow.model.pretrained import CONFIG, WEIGHTS, read_config
from bosrow.model.pretrained_tokenizer import GPT2_VOCAB_SIZE, has_gpt2_words
from bosrow.strict_json import parse_json
from bosrow.tokenizers.spec import RANKS_FILE, SETTINGS_FILE, TOKENIZER_FILE
from bosrow.tokenizers.tiktoken_files import parsed
from bosrow.train.checkpoint import NAME, newest_valid, read_state
from bosrow.train.exported_tokenizer import gpt2_tokenizer_files, tokenizer_json
from bosrow.train.train_options import ExportOptions

GENERATION_CONFIG = "generation_config.json"


def export(options: ExportOptions) -> None:
    """Write `options.out_dir`. Raises UserError if it exists, or if there is no checkpoint or no tokenizer."""
    checkpoint, out_dir = _chosen(options.checkpoint), options.out_dir
    if out_dir.exists():
        raise OptionError(f"--out_dir {out_dir} exists already; remove it, or name another folder")
    config = read_config(checkpoint)
    files, words = _tokenizer_files(options.tokenizer, checkpoint, config)
    if config.vocab_size > words:
        files[GENERATION_CONFIG] = _generation_config(config, words)
    unfinished = out_dir.with_name(f".unfinished_{out_dir.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        for name in (CONFIG, WEIGHTS):
            copy = shutil.copyfile(checkpoint / name, unfinished / f"{name}.tmp")
            replace_with(copy, unfinished / name)
        for name, content in files.items():
            replace_file(unfinished / name, content)
        os.rename(unfinished, out_dir)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    sync_folder(out_dir.parent)
    print(f"{checkpoint} -> {out_dir}: {', '.join((CONFIG, WEIGHTS, *files))}; {config.parameters:,} parameters")


def _chosen(path: Path) -> Path:
    """The checkpoint at `path`, or the newest valid one if `path` is a run folder; its checksums are verified."""
    if not path.is_dir():
        raise UserError(f"{path} is not a directory; a checkpoint or a run folder of 'bosrow train' is required")
    if NAME.fullmatch(path.resolve().name):
        read_state(path, check_files=True)
        return path
    newest = newest_valid(path, lambda text: print(f"warning: {text}"))
    if newest is None:
        raise UserError(f"{path} holds no undamaged checkpoint; a checkpoint or a run folder is required")
    return newest


def _generation_config(config: ModelConfig, words: int) -> bytes:
    """generation_config.json, which keeps transformers' `generate` from drawing ids without a word."""
    bos = config.bos_token_id
    settings = {"bos_token_id": bos, "eos_token_id": bos, "suppress_tokens": [*range(words, config.vocab_size)]}
    return json.dumps(settings).encode() + b"\n"


def _tokenizer_files(asked: Path | None, checkpoint: Path, config: ModelConfig) -> tuple[dict[str, bytes], int]:
    """The tokenizer's files by name, and how many ids it has: the one given, the checkpoint's, or GPT-2's."""
    own = checkpoint / TOKENIZER_FILE  # or one of tiktoken, in every checkpoint whose vocabulary is not GPT-2's
    content = read_untrusted(asked or own) if asked is not None or own.is_file() else _of_tiktoken(checkpoint)
    if content is not None:
        tokenizer = parse_json(content, str(asked or own))
        bos = _name_of(config.bos_token_id, tokenizer)
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": config.seq_len,
            **({} if bos is None else {"bos_token": bos, "eos_token": bos}),  # transformers reads them only from here
        }
        files = {TOKENIZER_FILE: content, "tokenizer_config.json": json.dumps(settings).encode() + b"\n"}
        return files, _words(tokenizer)
    if not has_gpt2_words(config):
        raise OptionError(
            f"{checkpoint} has a vocabulary of {config.vocab_size:,}, GPT-2's tokenizer one of {GPT2_VOCAB_SIZE:,}; "
            "give the tokenizer.json that it was trained with as --tokenizer"
        )
    return gpt2_tokenizer_files(config.seq_len), GPT2_VOCAB_SIZE


def _of_tiktoken(checkpoint: Path) -> bytes | None:
    """The tokenizer.json of a checkpoint with a vocabulary of tiktoken."""
    if not (checkpoint / RANKS_FILE).is_file():
        return None
    ranks, settings = (read_untrusted(checkpoint / name) for name in (RANKS_FILE, SETTINGS_FILE))
    tokens, found = parsed(str(checkpoint), ranks, settings)
    return tokenizer_json(tokens, found.special_tokens, found.pattern)


def _words(tokenizer: dict[str, Any]) -> int:
    """One more than the largest id in a tokenizer.json. Its vocabulary is an object of ids, or a list in order."""
    model, added = tokenizer.get("model"), tokenizer.get("added_tokens")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else [*range(len(vocabulary or []))]
    ids += [token.get("id") for token in added or [] if isinstance(token, dict)]
    return 1 + max((found for found in ids if type(found) is int), default=-1)


def _name_of(token_id: int, tokenizer: dict[str, Any]) -> str | None:
    """The text of a special token in a tokenizer.json; None if it has none with this id."""
    added = tokenizer.get("added_tokens")
    for token in added if isinstance(added, list) else []:
        if isinstance(token, dict) and token.get("id") == token_id and isinstance(token.get("content"), str):
            return str(token["content"])
    return None
