"""EWoK (Ivanova et al. 2024): does a context make the target that fits it more likely than the one that does not.

With s(T|C) the log-probability of a target's tokens after "context target", as a sum and as a mean per
token: m1 = s(T1|C1) - s(T2|C1), the official comparison, m2 = s(T2|C2) - s(T1|C2), the symmetric one, m their
mean. An item is right where m > 0; |m| < 1e-6 counts as a tie, shown beside. Named apart, the paper's score
of 1, 1/2 or 0: there the contexts are compared, s(T1|C1) > s(T1|C2) and s(T2|C2) > s(T2|C1), half a
point each, half of that for equal ones (its section 3 and the analysis code released with it).

EWoK is gated and never bundled; a password-protected archive is not unpacked.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from bosrow.evals.benchmark import Benchmark, ItemScore, Outcome, Result, by_group, macro, mean_and_error
from bosrow.evals.items import Item, ItemsOnHub, Record, text

TIE = 1e-6
PAIRS = ("T1|C1", "T2|C1", "T2|C2", "T1|C2")  # the order of an item's four choices
CATEGORIES = ("Category", "ContextType", "ContextDiff", "TargetDiff")  # columns that an item may have
HUB = ItemsOnHub(dataset="ewok-core/ewok-core-1.0", split="test")

Measure = Callable[[ItemScore], npt.NDArray[np.float64]]
MEASURES: dict[str, Measure] = {"sum": lambda score: score.logprobs, "mean": lambda score: score.per_token}


def parse(record: Record) -> Item:
    """An item from Domain, Context1, Context2, Target1, Target2 and the columns in CATEGORIES that it has."""
    contexts = {"C1": text(record, "Context1"), "C2": text(record, "Context2")}
    targets = {"T1": text(record, "Target1"), "T2": text(record, "Target2")}
    choices = tuple((contexts[pair[3:]], f" {targets[pair[:2]]}") for pair in PAIRS)
    groups = {"domain": text(record, "Domain")}
    groups |= {name: str(record[name]) for name in CATEGORIES if record.get(name)}
    return Item(choices=choices, label=0, groups=groups)


def margins(score: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """m1, m2 and their mean m, from s of the four PAIRS."""
    first, second = float(score[0] - score[1]), float(score[2] - score[3])
    return first, second, (first + second) / 2


def paper_points(score: npt.NDArray[np.float64]) -> float:
    """1, 1/2 or 0 (with ties also quarters): each target under its own context against the other one."""
    comparisons = (score[0] - score[3], score[2] - score[1])
    return sum(0.25 if abs(margin) < TIE else 0.5 * bool(margin > 0) for margin in comparisons)


def _measured(items: list[Item], values: npt.NDArray[np.float64]) -> Result:
    """All figures by one measure; `values` is s of the four PAIRS, (items, 4)."""
    m1, m2, m = np.array([margins(row) for row in values]).T
    right = (m > 0).astype(np.float64)
    points = np.array([paper_points(row) for row in values])
    result: Result = {}
    for name, series in (
        ("accuracy", right),
        ("accuracy_official", m1 > 0),
        ("accuracy_symmetric", m2 > 0),
        ("paper_score", points),
        ("margin", m),
        ("margin_official", m1),
        ("margin_symmetric", m2),
    ):
        result[name], result[f"{name}_stderr"] = mean_and_error(series)
    for name, series in (("tie_rate", m), ("tie_rate_official", m1), ("tie_rate_symmetric", m2)):
        result[name] = float((np.abs(series) < TIE).mean())
    kinds = {kind for item in items for kind in item.groups}
    result["groups"] = {kind: by_group(items, kind, right) for kind in ("domain", *CATEGORIES) if kind in kinds}
    result["macro_accuracy"], result["macro_accuracy_stderr"] = macro(result["groups"]["domain"])
    return result


def summarize(items: list[Item], scores: list[ItemScore]) -> Result:
    """Figures by the sum at the top; by each measure under `sum` and `mean`."""
    measured = {name: _measured(items, np.array([measure(s) for s in scores])) for name, measure in MEASURES.items()}
    overall = {name: measured["sum"][name] for name in ("accuracy", "accuracy_stderr")}
    return {**overall, "chance": 0.5, **measured}


def item_lines(outcome: Outcome) -> list[dict[str, Any]]:
    """One record an item, as ewok_items.jsonl has them: the four scores and the margins, by sum and by mean."""
    lines = []
    for item, score in zip(outcome.items, outcome.scores, strict=True):
        line: dict[str, Any] = {"item": item.number, **item.groups}
        for name, measure in MEASURES.items():
            values = measure(score)
            m1, m2, m = margins(values)
            line[name] = dict(zip(PAIRS, values.tolist(), strict=True)) | {"m1": m1, "m2": m2, "m": m}
        lines.append(line)
    return lines


def benchmark(hub: ItemsOnHub = HUB) -> Benchmark:
    """EWoK, with BOS before the context."""
    return Benchmark(
        name="ewok", rule="right where m = (m1 + m2) / 2 > 0", bos=True, hub=hub, parse=parse, summarize=summarize
    )
