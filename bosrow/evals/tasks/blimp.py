"""BLiMP (Warstadt et al. 2020): which of two sentences is grammatical, over 67 paradigms.

The sum over all tokens of the sentence, which follows a space, as in lm-evaluation-harness. Without a BOS
before it the first token has no probability and is left out, which the result says.
"""

import numpy as np

from bosrow.evals.benchmark import Benchmark, ItemScore, Result, best, by_group, macro
from bosrow.evals.items import Item, ItemsOnHub, Record, text

GROUPS = {"field": "field", "phenomenon": "linguistics_term", "paradigm": "UID"}  # our name: the file's


def parse(record: Record) -> Item:
    """An item from `sentence_good`, `sentence_bad` and the three names of where it belongs."""
    sentences = (text(record, "sentence_good"), text(record, "sentence_bad"))
    groups = {kind: text(record, name) for kind, name in GROUPS.items()}
    return Item(choices=tuple(("", f" {sentence}") for sentence in sentences), label=0, groups=groups)


def summarize(items: list[Item], scores: list[ItemScore]) -> Result:
    """Accuracy overall (each paradigm counts the same), by field, by phenomenon and by paradigm."""
    right = np.array([best(scored.logprobs) == 0 for scored in scores], np.float64)
    groups = {kind: by_group(items, kind, right) for kind in GROUPS}
    accuracy, error = macro(groups["paradigm"])
    return {"accuracy": accuracy, "accuracy_stderr": error, "chance": 0.5, "groups": groups}


def benchmark() -> Benchmark:
    """BLiMP, all paradigms."""
    return Benchmark(
        name="blimp",
        rule="sum over the sentence; without BOS its first token is not scored",
        bos=True,
        hub=ItemsOnHub(dataset="nyu-mll/blimp", all_configs=True, split="train"),
        parse=parse,
        summarize=summarize,
    )
