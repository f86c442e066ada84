"""Vocabularies of tiktoken as the files that transformers reads offline: GPT-2's, which bosrow ships, and any other.

tiktoken's vocabulary lists tokens as bytes, with their ranks. Hugging Face's files write each byte as a printable
character (by a table in GPT-2's released code, src/encoder.py), and they list merges. Merging the bytes of a token of
rank r by the ranks below r leaves two parts; these two are its merge. Promise: the same ids as tiktoken for any text,
except that transformers always reads the name of a special token as that token. Cost: about a second for 50,000 tokens.
"""

import itertools
import json
from typing import Any

from bosrow.tokenizers.gpt2 import END_OF_TEXT, gpt2_ranks

SPECIAL = "<|endoftext|>"
BY_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def byte_characters() -> list[str]:
    """The character for each byte: the byte itself if printable, else the next character from U+0100 on.

    >>> byte_characters()[ord("A")], byte_characters()[ord(" ")]
    ('A', 'Ġ')
    """
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) if byte in printable else chr(256 + others.index(byte)) for byte in range(256)]


def merge_of(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The two tokens that byte-pair encoding joins last to make `token`.

    >>> merge_of(b"the", {b"t": 0, b"h": 1, b"e": 2, b"he": 3, b"th": 4, b"the": 5})
    (b't', b'he')
    """
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        pairs = [ranks.get(left + right, len(ranks)) for left, right in itertools.pairwise(parts)]
        place = pairs.index(min(pairs))
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts[0], parts[1]


def gpt2_tokenizer_files(seq_len: int) -> dict[str, bytes]:
    """tokenizer.json, tokenizer_config.json, vocab.json and merges.txt by name; `seq_len`: the model's positions."""
    vocabulary, merges = _words_and_merges(gpt2_ranks())
    vocabulary[SPECIAL] = END_OF_TEXT
    settings = {
        "tokenizer_class": "GPT2Tokenizer",
        "model_max_length": seq_len,
        "add_prefix_space": False,
        **dict.fromkeys(("bos_token", "eos_token", "unk_token"), SPECIAL),
    }
    return {
        "tokenizer.json": _json(_tokenizer_json(vocabulary, merges, {SPECIAL: END_OF_TEXT}, BY_BYTES)),
        "tokenizer_config.json": _json(settings),
        "vocab.json": _json(vocabulary),
        "merges.txt": "\n".join(["#version: 0.2", *merges, ""]).encode(),
    }


def tokenizer_json(ranks: dict[bytes, int], special: dict[str, int], pattern: str) -> bytes:
    """The tokenizer.json of a vocabulary of tiktoken with its special tokens and the pattern that splits a text."""
    vocabulary, merges = _words_and_merges(ranks)
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    steps = {"type": "Sequence", "pretokenizers": [split, BY_BYTES | {"use_regex": False}]}
    return _json(_tokenizer_json(vocabulary, merges, special, steps))


def _words_and_merges(ranks: dict[bytes, int]) -> tuple[dict[str, int], list[str]]:
    characters = byte_characters()

    def written(token: bytes) -> str:
        return "".join(characters[byte] for byte in token)

    vocabulary = {written(token): rank for token, rank in sorted(ranks.items(), key=lambda item: item[1])}
    pairs = [merge_of(token, ranks) for token in sorted(ranks, key=ranks.__getitem__) if len(token) > 1]
    return vocabulary, [f"{written(left)} {written(right)}" for left, right in pairs]


def _tokenizer_json(
    vocabulary: dict[str, int], merges: list[str], special: dict[str, int], pre_tokenizer: dict[str, Any]
) -> dict[str, Any]:
    usual = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": id, "content": name} | usual for name, id in special.items()],
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": BY_BYTES,
        "decoder": BY_BYTES,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": True,  # as tiktoken: a word that is in the vocabulary is its token
            "vocab": vocabulary,
            "merges": merges,
        },
    }


def _json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode() + b"\n"
