"""The verdict, why it is what it is, and what it would take to decide; and the noise floor beside it."""

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from bosrow.compare import statistics
from bosrow.compare.checks.matched_settings import Mismatch
from bosrow.compare.grouping import Arm, Pair
from bosrow.compare.metrics.metric import Figure
from bosrow.compare.metrics.table import PRIMARY
from bosrow.compare.runs import Run, number
from bosrow.compare.statistics import LEAST_SEEDS, Difference
from bosrow.report.numbers import signed

Content = dict[str, Any]
PLANNED_SEEDS = (3, 4, 5, 6, 8, 10, 12, 16, 24, 32)


def judge(
    arms: list[Arm],
    pairs: list[Pair],
    figures: list[Figure],
    comparisons: list[Content],
    found: list[Mismatch],
    health: dict[str, list[str]],
) -> Content:
    """`verdict` and what belongs to it."""
    primary = figures[0]
    reasons = _reasons(arms, pairs, primary, found, health)
    difference = _primary(comparisons)
    if difference is not None and not reasons and not math.isfinite(difference.low):
        reasons.append("the seeds of an arm do not differ at all, so there is no deviation to judge by")
    measured = statistics.verdict(difference) if difference is not None else "inconclusive"
    verdict = "inconclusive" if reasons else measured
    return {
        "verdict": verdict,
        "sentence": _sentence(verdict, pairs, difference, reasons),
        "reasons": reasons,
        "caveats": _caveats(comparisons, difference, measured, noise_floor(arms, pairs, primary), found),
        "primary": _primary_content(pairs, comparisons, primary),
        "to_decide": to_decide(pairs, primary, difference, verdict),
    }


def _primary(comparisons: list[Content]) -> Difference | None:
    found = comparisons[0]["figures"].get(PRIMARY) if comparisons else None
    return Difference(**{name: found[name] for name in Difference.__dataclass_fields__}) if found else None


def _reasons(
    arms: list[Arm], pairs: list[Pair], primary: Figure, found: list[Mismatch], health: dict[str, list[str]]
) -> list[str]:
    """What makes the verdict inconclusive by rule, whatever the figures say."""
    reasons = []
    if not pairs:
        reasons.append(f"there is one arm alone ({', '.join(arm.label for arm in arms)}); two are compared")
        return reasons
    pair = pairs[0]
    members = (*pair.control.runs, *pair.treatment.runs)
    reasons += [
        f"{arm.label} has {_seeds(len(arm.runs))}; at least {LEAST_SEEDS} are required"
        for arm in (pair.control, pair.treatment)
        if len(arm.runs) < LEAST_SEEDS
    ]
    lacking = [run.name for run in members if str(run.path) not in primary.values]
    if lacking:
        reasons.append(f"{primary.title}, the primary figure, is missing in {', '.join(lacking)}")
    infinite = [run.name for run in members if math.isnan(primary.values.get(str(run.path), 0.0))]
    if infinite:
        reasons.append(f"{primary.title} is not finite in {', '.join(infinite)}: to leave a run out favours its arm")
    if primary.warning:
        reasons.append(primary.warning)
    unfinished = [run.name for run in members if not run.finished]
    if unfinished:
        reasons.append(f"not ended: {', '.join(unfinished)}")
    names = {run.name for run in members}
    for mismatch in found:
        sides = [who for who in mismatch.values.values() if names & set(who)]
        if mismatch.decisive and len(sides) > 1:
            reasons.append(f"the runs differ in more than their data: {mismatch}")
    return reasons


def _caveats(
    comparisons: list[Content], difference: Difference | None, measured: str, noise: Content, found: list[Mismatch]
) -> list[str]:
    """What a reader of the verdict should know in the same breath."""
    caveats = []
    if difference is not None and measured != "inconclusive":
        items = comparisons[0]["figures"][PRIMARY]["over_items"]
        if items is not None and items["low"] <= 0 <= items["high"]:
            caveats.append(
                f"Over the {items['items']:,} held-out documents the interval holds zero: others could turn the sign."
            )
        if abs(difference.effect) < difference.minimum_detectable:
            caveats.append(
                "The difference is smaller than what these seeds find reliably; such findings tend to be too large."
            )
    if noise["measured"] and difference is not None and abs(noise["effect"]) >= abs(difference.effect):
        caveats.append("Two groups of seeds of one arm (A/A) differed by as much or more.")
    shown = [mismatch.knob for mismatch in found if not mismatch.decisive]
    if shown:
        caveats.append(f"The runs also differ in {', '.join(shown)}: see the matched knobs.")
    return caveats


def _seeds(count: int) -> str:
    return f"{count} seed{'s' * (count != 1)}"


def seeds_of(difference: Difference) -> str:
    """The seeds behind a difference, in words."""
    control, treatment = difference.control_seeds, difference.treatment_seeds
    return f"{_seeds(control)} an arm" if control == treatment else f"{treatment} and {control} seeds"


def _sentence(verdict: str, pairs: list[Pair], difference: Difference | None, reasons: list[str]) -> str:
    if not pairs:
        return "Nothing was compared."
    pair = pairs[0]
    names = f"{pair.treatment.label} against {pair.control.label}"
    if difference is None:
        return f"{names}: inconclusive, since there is no figure to compare."
    bounds = f" (95% interval {signed(difference.low, 5)} to {signed(difference.high, 5)})"
    effect = f"{signed(difference.effect, 5)} bits per byte{bounds if math.isfinite(difference.low) else ''}"
    seeds = seeds_of(difference)
    if verdict == "inconclusive":
        why = "by rule" if reasons else "the interval holds zero"
        return f"{names}: inconclusive, {why}; {effect}, {seeds}."
    return f"{pair.treatment.label} is {verdict} than {pair.control.label}: {effect}, {seeds}."


def _primary_content(pairs: list[Pair], comparisons: list[Content], primary: Figure) -> Content:
    named: Content = {"key": primary.key, "title": primary.title, "unit": primary.unit, "source": primary.source}
    named |= {"items": primary.items, "items_of": primary.items_of}
    if not pairs:
        return named
    pair = pairs[0]
    found = comparisons[0]["figures"].get(PRIMARY) or {}
    control = statistics.estimate(primary.of(pair.control.runs)).mean
    relative = found["effect"] / control if found and control else None
    return named | {"control": pair.control.label, "treatment": pair.treatment.label, "relative": relative} | found


def to_decide(pairs: list[Pair], primary: Figure, difference: Difference | None, verdict: str) -> Content:
    """What these seeds can find, and how many seeds or steps an undecided difference would need."""
    nothing: Content = {"seeds": None, "steps": None, "deviation": None, "plan": [], "text": ""}
    if not pairs or difference is None or not math.isfinite(difference.minimum_detectable):
        least = f"at least {LEAST_SEEDS} seeds on each of two data sets, and the same held-out documents for all runs"
        return nothing | {"text": f"To decide anything takes {least}."}
    pair = pairs[0]
    sides = [statistics.estimate(primary.of(arm.runs)).deviation for arm in (pair.control, pair.treatment)]
    deviation = math.sqrt(sum(side**2 for side in sides) / 2)
    seeds = statistics.seeds_needed(difference.effect, *sides)
    steps, gaps = gaps_over_steps(pair)
    more_steps = statistics.steps_needed(steps, gaps, difference.minimum_detectable)
    plan = [
        {"seeds": count, "detectable": statistics.noncentrality(2 * count - 2) * deviation * math.sqrt(2 / count)}
        for count in PLANNED_SEEDS
    ]
    text = (
        f"With {seeds_of(difference)} and the deviation seen from seed to seed ({deviation:.5f}), a true "
        f"difference of {difference.minimum_detectable:.5f} bits per byte is found in "
        "80% of cases"
    )
    text += "; a smaller one may be there unseen." if verdict == "inconclusive" else "."
    if verdict == "inconclusive":
        text += " " + _advice(seeds, more_steps)
    return {"seeds": seeds, "steps": more_steps, "deviation": deviation, "plan": plan, "text": text}


def _advice(seeds: int | None, steps: int | None) -> str:
    if seeds is None:
        advice = (
            "A difference as small as the one seen would take more than 10,000 seeds an arm: it is none in practice."
        )
    else:
        advice = f"If the difference seen is the true one, {seeds:,} seeds an arm find it in 80% of cases."
    if steps is not None:
        advice += (
            f" Extrapolated as a line in the logarithm of steps, the gap reaches what these seeds can find at about "
            f"step {steps:,}."
        )
    return advice


def gaps_over_steps(pair: Pair) -> tuple[list[int], list[float]]:
    """The difference of the arms' mean bits per byte at every step that all their runs evaluated in training."""
    curves = [[primary_curve(run) for run in arm.runs] for arm in (pair.control, pair.treatment)]
    if not all(curves):
        return [], []
    steps = sorted(set.intersection(*(set(curve) for side in curves for curve in side)))
    means = [[float(np.mean([curve[step] for curve in side])) for step in steps] for side in curves]
    return steps, [treatment - control for control, treatment in zip(*means, strict=True)]


def primary_curve(run: Run) -> dict[int, float]:
    """Bits per byte by step, as training evaluated them."""
    return {line["step"]: number(line.get(PRIMARY)) for line in run.evaluated.get(PRIMARY, [])}


def noise_floor(arms: list[Arm], pairs: list[Pair], primary: Figure) -> Content:
    """What two groups of one arm differ by: measured where an arm has an A/A group, else expected from its seeds."""
    for arm in arms:
        if arm.noise and arm.runs:
            difference = statistics.compare(primary.of(arm.runs), primary.of(arm.noise))
            return {"measured": True, "arm": arm.label, **asdict(difference), **_expected(arm, primary)}
    if not pairs:
        return {"measured": False, "arm": None}
    return {"measured": False, "arm": pairs[0].control.label, **_expected(pairs[0].control, primary)}


def _expected(arm: Arm, primary: Figure) -> Content:
    """The mean size of the difference of two groups of as many seeds: sqrt(2/n) sqrt(2/pi) deviations."""
    found = statistics.estimate(primary.of(arm.runs))
    expected = found.deviation * math.sqrt(2 / found.seeds) * math.sqrt(2 / math.pi) if found.seeds else math.nan
    return {"deviation": found.deviation, "expected_size": expected, "seeds": found.seeds}
