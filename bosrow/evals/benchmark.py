"""A benchmark: how a record becomes an item, and how scores become results, with standard errors.

Promise: a rule is part of the result, so numbers by different rules are never mixed. Adding a benchmark
takes one file that makes a `Benchmark`, and its name in `catalogue`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bosrow.distributed.world import World
from bosrow.evals.items import Item, ItemsOnHub, Record, tokenize_items
from bosrow.evals.scoring import LanguageModel, Track, score
from bosrow.tokenizers.tokenizer import Tokenizer

Result = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ItemScore:
    """An item's summed log-probability and number of scored tokens, for each choice."""

    logprobs: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.int64]

    @property
    def per_token(self) -> npt.NDArray[np.float64]:
        """Mean log-probability of a token; 0 where none is scored."""
        return self.logprobs / np.maximum(self.tokens, 1)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """`bos`: whether BOS stands before the context unless the user says otherwise.

    `summarize` makes the task's own part of the result, of which `accuracy`, `accuracy_stderr` and
    `chance` are always there.
    """

    name: str
    rule: str
    bos: bool
    hub: ItemsOnHub
    parse: Callable[[Record], Item]
    summarize: Callable[[list[Item], list[ItemScore]], Result]


@dataclass(frozen=True)
class Outcome:
    """What came of one benchmark on one model."""

    result: Result
    items: list[Item]
    scores: list[ItemScore]

    def lines(self) -> list[dict[str, Any]]:
        """One record an item, as items_TASK.jsonl has them. A log-probability that is not finite becomes null."""
        return [
            {
                "item": item.number,
                "logprobs": [value if math.isfinite(value) else None for value in scored.logprobs.tolist()],
                "tokens": scored.tokens.tolist(),
                "label": item.label,
            }
            for item, scored in zip(self.items, self.scores, strict=True)
        ]


def evaluate(
    model: LanguageModel,
    tokenizer: Tokenizer,
    benchmark: Benchmark,
    items: list[Item],
    *,
    bos: bool,
    world: World,
    batch_size: int,
    track: Track | None = None,
) -> Outcome:
    """Score `items` over all ranks; every rank gets the same outcome. `batch_size` as for `token_scores`."""
    tokenized = tokenize_items(items, tokenizer, bos=bos, context_tokens=model.context_tokens)
    totals = score(model, tokenized.sequences, world=world, batch_size=batch_size, track=track)
    tokens = np.array([sequence.scored for sequence in tokenized.sequences])
    bounds = np.cumsum([len(item.choices) for item in items])[:-1]
    scores = [
        ItemScore(logprobs=logprobs, tokens=counts)
        for logprobs, counts in zip(np.split(totals, bounds), np.split(tokens, bounds), strict=True)
    ]
    result = {
        "task": benchmark.name,
        "rule": benchmark.rule,
        "bos": bos,
        "items": len(items),
        **benchmark.summarize(items, scores),
        "truncated": tokenized.truncated,
        "clipped": tokenized.clipped,
        "unscored": sum(bool((scored.tokens == 0).any()) for scored in scores),
        "not_finite": sum(not np.isfinite(scored.logprobs).all() for scored in scores),
    }
    return Outcome(result, items, scores)


def mean_and_error(values: Sequence[float] | npt.NDArray[Any]) -> tuple[float, float]:
    """The mean of `values` and its standard error (sample deviation over sqrt(n)); NaN for a single value."""
    array = np.asarray(values, np.float64)
    error = array.std(ddof=1) / math.sqrt(len(array)) if len(array) > 1 else math.nan
    return float(array.mean()), float(error)


def best(values: npt.NDArray[np.float64]) -> int:
    """The index of the largest value, the first of equals; -1, which is no answer, if one is not finite."""
    return int(np.argmax(values)) if np.isfinite(values).all() else -1


def multiple_choice(
    items: list[Item], scores: list[ItemScore], *, norm: Literal["token", "character", None] = None
) -> Result:
    """Accuracy by the largest sum, and with `norm` also by the largest mean per token or per character.

    A choice's characters are those of its continuation without the space that it begins with.
    """
    right = [best(scored.logprobs) == item.label for item, scored in zip(items, scores, strict=True)]
    result: Result = dict(zip(("accuracy", "accuracy_stderr"), mean_and_error(right), strict=True))
    if norm is not None:
        right_norm = [
            best(scored.per_token if norm == "token" else scored.logprobs / _characters(item)) == item.label
            for item, scored in zip(items, scores, strict=True)
        ]
        result |= dict(zip(("accuracy_norm", "accuracy_norm_stderr"), mean_and_error(right_norm), strict=True))
        result["norm"] = norm
    return result | {"chance": mean_and_error([1 / len(item.choices) for item in items])[0]}


def _characters(item: Item) -> npt.NDArray[np.int64]:
    return np.array([max(len(continuation.removeprefix(" ")), 1) for _, continuation in item.choices])


def by_group(items: list[Item], kind: str, values: npt.NDArray[np.float64]) -> dict[str, Result]:
    """Items, mean and standard error of `values` (one an item) for each group of `kind`, in order of names."""
    members: dict[str, list[float]] = {}
    for item, value in zip(items, values, strict=True):
        if kind in item.groups:
            members.setdefault(item.groups[kind], []).append(float(value))
    return {
        name: {"items": len(part), **dict(zip(("accuracy", "accuracy_stderr"), mean_and_error(part), strict=True))}
        for name, part in sorted(members.items())
    }


def macro(groups: dict[str, Result]) -> tuple[float, float]:
    """The mean of the groups' accuracies, each counting the same, and its standard error."""
    errors = [group["accuracy_stderr"] for group in groups.values()]
    mean = sum(group["accuracy"] for group in groups.values()) / len(groups)
    return mean, math.sqrt(sum(error**2 for error in errors)) / len(groups)
