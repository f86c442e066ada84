"""The packer alone: documents per second, and how near `keep` comes to the least number of cuts."""

import time

import numpy as np
import pyarrow.parquet as pq
import pytest
from oracles import packing as oracle
from side_by_side import DEV, in_turn, needs_dev, report, spread

from bosrow.inspect.policies import compare_policies
from bosrow.packing.table import POLICIES, make_policy
from bosrow.tokenizers.gpt2 import load_tokenizer

WEB_MEDIAN, WEB_MEAN = 630, 1026  # of a web corpus, in GPT-2 tokens
AIMS = {(1024, 1000): 1.25, (1024, 10_000): 1.10, (2048, 1000): 1.13, (2048, 10_000): 1.08}


def web_lengths(count: int, seed: int = 0) -> list[int]:
    """Log-normal lengths of the median and mean above."""
    sigma = (2 * np.log(WEB_MEAN / WEB_MEDIAN)) ** 0.5
    drawn = np.random.default_rng(seed).lognormal(np.log(WEB_MEDIAN), sigma, count)
    return np.maximum(1, np.rint(drawn)).astype(int).tolist()


def pack(name: str, lengths: list[int], row_tokens: int, buffer_docs: int) -> None:
    """What the packer process does for a policy, without copying tokens."""
    policy = make_policy(name, row_tokens=row_tokens, buffer_docs=buffer_docs, buffer_tokens=1 << 40)
    for document, tokens in enumerate(lengths):
        policy.add(document, tokens)
    policy.finish()


def test_crop_against_the_linear_scan(benchmark, capsys):
    lengths = web_lengths(30_000)  # so that the buffer is full nearly all the time
    ours, theirs = in_turn(
        benchmark,
        lambda: pack("crop", lengths, 1025, 1000),
        lambda: oracle.crop(lengths, 1025, 1000),
        rounds=3,
    )
    ours, theirs = ([len(lengths) / seconds for seconds in both] for both in (ours, theirs))
    ratio = spread(ours)["median"] / spread(theirs)["median"]
    lines = [
        f"crop, seq_len 1024, buffer of 1,000     {spread(ours)['median']:>9,.0f} documents/s",
        f"the same by a linear scan, in turn      {spread(theirs)['median']:>9,.0f} documents/s",
        f"ratio                                   {ratio:>9.0f}  (aim: at least 30)",
    ]
    figures = {"documents_per_second": spread(ours), "linear_scan": spread(theirs), "ratio": round(ratio, 1)}
    report(capsys, "crop_against_linear_scan", lines, **figures)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_hundred_thousand_documents_in_the_buffer(benchmark, capsys, policy):
    """The rate once the buffer is full: the time to fill it, when no row is made, is left out."""
    lengths = web_lengths(140_000)

    def rate(buffer_docs: int) -> float:
        chosen = make_policy(policy, row_tokens=1025, buffer_docs=buffer_docs, buffer_tokens=1 << 40)
        for document in range(100_000):
            chosen.add(document, lengths[document])
        began = time.perf_counter()
        for document in range(100_000, 140_000):
            chosen.add(document, lengths[document])
        return 40_000 / (time.perf_counter() - began)

    small, large = [], []
    benchmark.pedantic(lambda: large.append(rate(100_000)), setup=lambda: small.append(rate(1_000)), rounds=3)
    ratio = spread(small)["median"] / spread(large)["median"]
    lines = [
        f"{policy:<16} buffer of 1,000: {spread(small)['median']:>9,.0f} documents/s, of 100,000: "
        f"{spread(large)['median']:>9,.0f}, ratio {ratio:.2f} (aim: at most 3)"
    ]
    report(capsys, f"buffer_{policy}", lines, small=spread(small), large=spread(large), ratio=round(ratio, 3))


def dev_lengths() -> list[int]:
    """Tokens of each document of ../shared/data/dev, its BOS counted."""
    tokenizer = load_tokenizer()
    return [
        1 + len(tokenizer.encode(text.as_buffer()))
        for path in DEV
        for text in pq.read_table(path, columns=["text"])["text"]
    ]


def cuts(benchmark, capsys, name: str, lengths: list[int]) -> None:
    """Cuts of `keep` as a multiple of the least, `stream` beside it, and `keep`'s documents per second."""
    found, lines = {}, [f"{name}: {len(lengths):,} documents, cuts as a multiple of the least"]
    for seq_len in (1024, 2048):
        for buffer_docs in (1000, 10_000):
            compared = compare_policies(lengths, row_tokens=seq_len + 1, buffer_docs=buffer_docs, buffer_tokens=1 << 40)
            by_name = {line.policy: line.cuts_over_least for line in compared}
            seconds = []
            for _ in range(3):
                began = time.perf_counter()
                pack("keep", lengths, seq_len + 1, buffer_docs)
                seconds.append(len(lengths) / (time.perf_counter() - began))
            aim = AIMS[seq_len, buffer_docs] if name == "web" else 1.05 if buffer_docs == 10_000 else None
            found[f"{seq_len}/{buffer_docs}"] = {
                "keep": round(by_name["keep"] or 0, 4),
                "stream": round(by_name["stream"] or 0, 4),
                "documents_per_second": spread(seconds),
            }
            lines.append(
                f"  seq_len {seq_len}, buffer {buffer_docs:>6,}: keep {by_name['keep']:.3f}"
                f"{f' (aim: at most {aim})' if aim else '':<22} stream {by_name['stream']:.3f}  "
                f"{spread(seconds)['median']:>9,.0f} documents/s (aim: 150,000)"
            )
    benchmark.pedantic(pack, args=("keep", lengths, 1025, 1000), rounds=1)
    report(capsys, f"keep_{name}", lines, documents=len(lengths), figures=found)


def test_cuts_of_keep_on_web_like_lengths(benchmark, capsys):
    cuts(benchmark, capsys, "web", web_lengths(100_000))


@needs_dev
def test_cuts_of_keep_on_real_text(benchmark, capsys):
    cuts(benchmark, capsys, "dev", dev_lengths())
