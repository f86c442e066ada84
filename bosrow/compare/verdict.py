"""The verdict, why it is what it is, and what it would take to decide; and the noise floor beside it."""

import math
from dataclasses import asdict
from typing import TypedDict

import msgspec

from bosrow.compare import statistics
from bosrow.compare.grouping import Arm, Pair
from bosrow.compare.metrics.metric import Metric
from bosrow.compare.result import (
    DifferingSetting,
    Judgement,
    NoiseFloor,
    PairResult,
    PowerAnalysis,
    PrimaryResult,
    SeedsAndDetectable,
)
from bosrow.compare.runs import PRIMARY
from bosrow.compare.seed_curves import primary_gap
from bosrow.compare.statistics import LEAST_SEEDS, Difference
from bosrow.report.numbers import signed

PLANNED_SEEDS = (3, 4, 5, 6, 8, 10, 12, 16, 24, 32)


def judge(
    arms: list[Arm],
    pairs: list[Pair],
    primary: Metric,
    compared: list[PairResult],
    different: list[DifferingSetting],
) -> Judgement:
    """The verdict and what belongs to it."""
    reasons = _reasons(arms, pairs, primary, different)
    difference = _difference_of(pairs, primary)
    if difference is not None and not reasons and not math.isfinite(difference.low):
        reasons.append("the seeds of an arm do not differ at all, so there is no deviation to judge by")
    measured = statistics.verdict(difference) if difference is not None else "inconclusive"
    verdict = "inconclusive" if reasons else measured
    return Judgement(
        verdict=verdict,
        sentence=_sentence(verdict, pairs, difference, reasons),
        reasons=reasons,
        caveats=_caveats(compared, difference, measured, noise_floor(arms, pairs, primary), different),
        primary=_primary_result(pairs, compared, primary),
        to_decide=to_decide(pairs, primary, difference, verdict),
    )


def _difference_of(pairs: list[Pair], primary: Metric) -> Difference | None:
    """The difference that the verdict is about; None where an arm has no value of the primary metric."""
    if not pairs:
        return None
    control, treatment = (primary.of(arm.runs) for arm in (pairs[0].control, pairs[0].treatment))
    return statistics.compare(control, treatment) if control and treatment else None


def _reasons(arms: list[Arm], pairs: list[Pair], primary: Metric, different: list[DifferingSetting]) -> list[str]:
    """What makes the verdict inconclusive by rule, whatever the numbers say."""
    if not pairs:
        return [f"there is one arm alone ({', '.join(arm.label for arm in arms)}); two are compared"]
    pair = pairs[0]
    members = (*pair.control.runs, *pair.treatment.runs)
    reasons = [
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
    for setting in different:
        sides = [who for who in setting.values.values() if names & set(who)]
        if setting.decisive and len(sides) > 1:
            reasons.append(f"the runs differ in more than their data: {setting}")
    return reasons


def _caveats(
    compared: list[PairResult],
    difference: Difference | None,
    measured: statistics.Verdict,
    noise: NoiseFloor,
    different: list[DifferingSetting],
) -> list[str]:
    """What a reader of the verdict should know in the same breath."""
    caveats = []
    if difference is not None and measured != "inconclusive":
        items = compared[0].metrics[PRIMARY].over_items
        if items is not None and _holds_zero(items.low, items.high):
            caveats.append(
                f"Over the {items.items:,} held-out documents the interval holds zero: others could turn the sign."
            )
        if abs(difference.effect) < difference.minimum_detectable:
            caveats.append(
                "The difference is smaller than what these seeds find reliably; such findings tend to be too large."
            )
    again = noise.difference.effect if noise.difference else None
    if difference is not None and again is not None and abs(again) >= abs(difference.effect):
        caveats.append("Two groups of seeds of one arm (A/A) differed by as much or more.")
    shown = [setting.name for setting in different if not setting.decisive]
    if shown:
        caveats.append(f"The runs also differ in {', '.join(shown)}: see the matched settings.")
    return caveats


def _holds_zero(low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and low <= 0 <= high


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


def _primary_result(pairs: list[Pair], compared: list[PairResult], primary: Metric) -> PrimaryResult:
    named = PrimaryResult(
        key=primary.key,
        title=primary.title,
        unit=primary.unit,
        source=primary.source,
        items=primary.items,
        items_of=primary.items_of,
    )
    if not pairs:
        return named
    found = compared[0].metrics.get(PRIMARY)
    control = statistics.estimate(primary.of(pairs[0].control.runs)).mean
    relative = found.effect / control if found and found.effect is not None and control else None
    labels = {"control": pairs[0].control.label, "treatment": pairs[0].treatment.label}
    values = msgspec.structs.asdict(found) if found else {}
    own = {name: value for name, value in values.items() if name in PrimaryResult.__struct_fields__}
    return msgspec.structs.replace(named, relative=relative, **labels, **own)


def to_decide(
    pairs: list[Pair], primary: Metric, difference: Difference | None, verdict: statistics.Verdict
) -> PowerAnalysis:
    """What these seeds can find, and how many seeds or steps an undecided difference would need."""
    if not pairs or difference is None or not math.isfinite(difference.minimum_detectable):
        least = f"at least {LEAST_SEEDS} seeds on each of two data sets, and the same held-out documents for all runs"
        return PowerAnalysis(text=f"To decide anything takes {least}.")
    pair = pairs[0]
    sides = [statistics.estimate(primary.of(arm.runs)).deviation for arm in (pair.control, pair.treatment)]
    deviation = math.sqrt(sum(side**2 for side in sides) / 2)
    seeds = statistics.seeds_needed(difference.effect, *sides)
    gap = primary_gap(pair)
    gaps = [math.nan if value is None else value for value in gap.mean]
    steps = statistics.steps_needed(gap.x, gaps, difference.minimum_detectable)
    text = (
        f"With {seeds_of(difference)} and the deviation seen from seed to seed ({deviation:.5f}), a true "
        f"difference of {difference.minimum_detectable:.5f} bits per byte is found in 80% of cases"
    )
    text += f"; a smaller one may be there unseen. {_advice(seeds, steps)}" if verdict == "inconclusive" else "."
    return PowerAnalysis(
        seeds=seeds,
        steps=steps,
        deviation=deviation,
        plan=[
            SeedsAndDetectable(seeds=count, detectable=statistics.detectable_difference(deviation, count))
            for count in PLANNED_SEEDS
        ],
        text=text,
    )


def _advice(seeds: int | None, steps: int | None) -> str:
    if seeds is None:
        advice = (
            "A difference as small as the one seen would take more than 10,000 seeds an arm: in practice there is none."
        )
    else:
        advice = f"If the difference seen is the true one, {seeds:,} seeds an arm find it in 80% of cases."
    if steps is not None:
        advice += (
            f" Extrapolated as a line in the logarithm of steps, the gap reaches what these seeds can find at about "
            f"step {steps:,}."
        )
    return advice


def noise_floor(arms: list[Arm], pairs: list[Pair], primary: Metric) -> NoiseFloor:
    """What two groups of one arm differ by: measured where an arm has an A/A group, else expected from its seeds."""
    for arm in arms:
        if arm.noise and arm.runs:
            difference = statistics.compare(primary.of(arm.runs), primary.of(arm.noise))
            return NoiseFloor(measured=True, arm=arm.label, **asdict(difference), **_expected(arm, primary))
    if not pairs:
        return NoiseFloor(measured=False, arm=None)
    arm = pairs[0].control
    return NoiseFloor(measured=False, arm=arm.label, **_expected(arm, primary))


class _Expected(TypedDict):
    """The deviation between an arm's seeds, and how much two groups of as many differ by on average."""

    deviation: float
    expected_size: float
    seeds: int


def _expected(arm: Arm, primary: Metric) -> _Expected:
    """The mean size of the difference of two groups of as many seeds: sqrt(2/n) sqrt(2/pi) deviations."""
    found = statistics.estimate(primary.of(arm.runs))
    size = found.deviation * math.sqrt(2 / found.seeds) * math.sqrt(2 / math.pi) if found.seeds else math.nan
    return {"deviation": found.deviation, "expected_size": size, "seeds": found.seeds}
