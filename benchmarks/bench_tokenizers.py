"""Tokens a second and CPU seconds of each engine, for tokenizers of every kind, on the same real documents in turn."""

import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from real_tokenizers import claude, deepseek, encodings, qwen
from side_by_side import DEV, needs_dev, report, spread

from bosrow.tokenizers.by_name import find_tokenizer, open_spec
from bosrow.tokenizers.special_tokens import AskedTokens

pytestmark = needs_dev
DOCUMENTS = 4000
KINDS = ("gpt2", "cl100k_base", "o200k_base", "qwen", "deepseek", "claude")


def named(kind: str, folder: Path) -> str:
    """What --tokenizer takes for it."""
    files = {"deepseek": deepseek, "claude": claude, "qwen": lambda: qwen(folder)}
    return str(files[kind]()) if kind in files else kind


@pytest.mark.parametrize("kind", KINDS)
def test_engines(benchmark, capsys, tmp_path, monkeypatch, kind):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(encodings()))
    asked = AskedTokens(bos_token="<SOS>") if kind == "claude" else AskedTokens()
    spec = find_tokenizer(named(kind, tmp_path), asked)
    own, fast = open_spec(spec, "reference"), open_spec(spec, "auto")
    texts = [text.encode() for text in pq.read_table(DEV[0], columns=["text"])["text"].to_pylist()[:DOCUMENTS]]
    seconds: dict[str, list[float]] = {"own": [], "fast": []}
    tokens = 0

    def encode(name: str, tokenizer) -> None:
        nonlocal tokens
        began = time.process_time()
        tokens = sum(len(tokenizer.encode(text)) for text in texts)
        seconds[name].append(time.process_time() - began)

    benchmark.pedantic(lambda: encode("fast", fast), setup=lambda: encode("own", own), rounds=3)
    size = sum(map(len, texts)) / 1e6
    lines = [f"{kind}: {len(texts):,} documents, {size:.1f} MB, {tokens / 1e6:.2f} million tokens"]
    for name, tokenizer in (("own", own), ("fast", fast)):
        cost = spread(seconds[name])["median"]
        lines.append(f"  {tokenizer.engine:<11} {tokens / 1e6 / cost:>7.2f} million tokens a CPU second, {cost:.2f} s")
    figures = {"own_cpu_seconds": spread(seconds["own"]), "fast_cpu_seconds": spread(seconds["fast"])}
    report(capsys, f"engines_{kind}", lines, tokens=tokens, engines=[own.engine, fast.engine], **figures)
