"""The comparison itself: from runs to everything that a report says.

Promise: what is tested, and how, was fixed before any run was read. The primary metric of the first pair is tested
alone at 5%; every other test of the report, all metrics and pairs, forms one family under Holm's correction.
Intervals are unadjusted, over seeds by Student's t, over documents and items by a paired bootstrap of the seeds' means.
"""

import math
from dataclasses import asdict

import msgspec
import numpy as np

from bosrow import __version__
from bosrow.compare import statistics
from bosrow.compare.checks.matched_settings import differing_settings, refuse, settings_of
from bosrow.compare.checks.run_health import ailments
from bosrow.compare.curves import curves_of
from bosrow.compare.equal_budget import equal_documents, equal_tokens
from bosrow.compare.exposure import ArmData, data_of
from bosrow.compare.grouping import Arm, Pair, arms_of, pairs_of
from bosrow.compare.metrics.metric import Metric, Scores
from bosrow.compare.metrics.metrics_of_runs import metrics_of
from bosrow.compare.report.questions import confounds, questions
from bosrow.compare.result import (
    ArmResult,
    ComparisonResult,
    DifferenceOfMetric,
    Finding,
    MeanOfArm,
    MetricResult,
    OverItems,
    PairedBySeed,
    PairResult,
    RunResult,
    SeenByRun,
    as_json,
    from_json,
)
from bosrow.compare.runs import PRIMARY, Floats, TrainedRun
from bosrow.compare.verdict import judge, noise_floor

ALPHA = 0.05


def comparison_of(
    runs: list[TrainedRun], *, control: str | None = None, treatment: str | None = None, strict: bool
) -> ComparisonResult:
    """All that the report says about `runs`. Raises UserError for runs that contradict, or that `strict` refuses."""
    arms = arms_of(runs)
    pairs = pairs_of(arms, control, treatment)
    different = differing_settings(arms)
    if strict:
        refuse(different)
    metrics = metrics_of(runs)
    data = {arm.label: data_of(arm) for arm in arms if arm.runs}
    compared = _adjusted([_pair(pair, metrics) for pair in pairs], metrics)
    described = [_arm(arm, data.get(arm.label)) for arm in arms]
    judgement = judge(arms, pairs, metrics[0], compared, different)
    epochs = {arm.label: arm.seen.epochs for arm in described if arm.seen and arm.seen.epochs}
    result = ComparisonResult(
        **msgspec.structs.asdict(judgement),
        schema=1,
        bosrow_version=__version__,
        pairs=compared,
        metrics=[_metric(metric, arms) for metric in metrics],
        arms=described,
        runs=[_run(run, arm, members, metrics) for arm in arms for members in (arm.runs, arm.noise) for run in members],
        noise_floor=noise_floor(arms, pairs, metrics[0]),
        settings=settings_of(runs, different),
        curves=curves_of(arms, pairs, runs),
        equal_tokens=equal_tokens(pairs),
        equal_documents=equal_documents(pairs, data),
        confounds=confounds(arms, pairs, epochs),
    )
    result = msgspec.structs.replace(result, questions=questions(result))
    return from_json(as_json(result))  # with None for what is not finite, as whoever reads the file has it


def _pair(pair: Pair, metrics: list[Metric]) -> PairResult:
    return PairResult(
        control=pair.control.label,
        treatment=pair.treatment.label,
        question=pair.question,
        metrics={
            metric.key: _difference(pair, metric)
            for metric in metrics
            if metric.of(pair.control.runs) and metric.of(pair.treatment.runs)
        },
    )


def _difference(pair: Pair, metric: Metric) -> DifferenceOfMetric:
    over_seeds = statistics.compare(metric.of(pair.control.runs), metric.of(pair.treatment.runs))
    over_items = _over_items(pair, metric)
    return DifferenceOfMetric(
        **asdict(over_seeds),
        paired_by_seed=_paired(pair, metric) if metric.key == PRIMARY else msgspec.UNSET,
        over_items=None if over_items is None else OverItems(**asdict(over_items)),
    )


def _paired(pair: Pair, metric: Metric) -> PairedBySeed | None:
    """The same difference paired by seed, where both arms have the same ones."""
    sides = [{run.seed: metric.of([run]) for run in arm.runs} for arm in (pair.control, pair.treatment)]
    if sides[0].keys() != sides[1].keys() or len(sides[0]) < 2 or not all(v for side in sides for v in side.values()):
        return None
    control, treatment = ([side[seed][0] for seed in sorted(side)] for side in sides)
    found = statistics.paired_by_seed(control, treatment)
    return PairedBySeed(effect=found.mean, low=found.low, high=found.high, pairs=found.seeds)


def _over_items(pair: Pair, metric: Metric) -> statistics.Interval | None:
    """The difference over items or documents: each one's mean over the arm's seeds, paired, bootstrapped."""
    control, treatment = (_mean_scores(arm, metric) for arm in (pair.control, pair.treatment))
    if control is None or treatment is None or control.items != treatment.items:
        return None
    return statistics.bootstrap_ratio(treatment.numerators - control.numerators, control.denominators)


def _mean_scores(arm: Arm, metric: Metric) -> Scores | None:
    """Each item's score, the mean over seeds; None unless all seeds have finite scores of the same items."""
    if metric.scores is None:
        return None
    numerators: list[Floats] = []
    first: Scores | None = None
    for run in arm.runs:
        scores = metric.scores(run)
        if scores is None or not np.isfinite(scores.numerators).all() or not np.isfinite(scores.denominators).all():
            return None
        if first is not None and (scores.items != first.items or (scores.denominators != first.denominators).any()):
            return None
        first = first or scores
        numerators.append(scores.numerators)
    return None if first is None else first._replace(numerators=np.mean(numerators, axis=0))


def _adjusted(pairs: list[PairResult], metrics: list[Metric]) -> list[PairResult]:
    """`pairs` with `p_holm` and `finding` for every test but the primary one, all of them one family."""
    tested = {metric.key: metric for metric in metrics if metric.tested}
    family = [
        (place, key)
        for place, pair in enumerate(pairs)
        for key in pair.metrics
        if key in tested and not (place == 0 and key == PRIMARY)
    ]
    p_values = [pairs[place].metrics[key].p_value for place, key in family]
    adjusted = statistics.holm(np.array(p_values, np.float64)).tolist() if family else []
    by_pair = [dict(pair.metrics) for pair in pairs]
    for (place, key), p in zip(family, adjusted, strict=True):
        found = by_pair[place][key]
        finding = _finding(found, p, lower_is_better=tested[key].better == "lower")
        by_pair[place][key] = msgspec.structs.replace(found, p_holm=p, finding=finding)
    return [msgspec.structs.replace(pair, metrics=own) for pair, own in zip(pairs, by_pair, strict=True)]


def _finding(found: DifferenceOfMetric, p: float, *, lower_is_better: bool) -> Finding:
    if min(found.control_seeds, found.treatment_seeds) < statistics.LEAST_SEEDS:
        return "too few seeds"
    if found.effect is None or not (math.isfinite(p) and p < ALPHA):
        return "no difference found"
    return "better" if (found.effect < 0) == lower_is_better else "worse"


def _metric(metric: Metric, arms: list[Arm]) -> MetricResult:
    return MetricResult(
        key=metric.key,
        title=metric.title,
        unit=metric.unit,
        better=metric.better,
        tested=metric.tested,
        source=metric.source,
        items=metric.items,
        items_of=metric.items_of,
        digits=metric.digits,
        chance=metric.chance,
        warning=metric.warning,
        arms={arm.label: MeanOfArm(**asdict(statistics.estimate(metric.of(arm.runs)))) for arm in arms if arm.runs},
    )


def _arm(arm: Arm, data: ArmData | None) -> ArmResult:
    return ArmResult(
        label=arm.label,
        letter=arm.letter,
        name=arm.name,
        policy=arm.policy,
        fingerprint=arm.fingerprint,
        seeds=arm.seeds,
        noise_seeds=[run.seed for run in arm.noise],
        data_dir=data.data_dir if data else None,
        ledger=data.ledger if data else None,
        crop_fraction=_crop_fraction(data) if data else None,
        problem=data.problem if data else "only runs of the noise floor",
        seen=_seen(arm, data) if data else None,
    )


def _crop_fraction(data: ArmData) -> float | None:
    """Cropped tokens as a share of cropped and placed ones."""
    ledger = data.ledger or {}
    cropped, placed = ledger.get("tokens_cropped", 0), ledger.get("tokens_placed", 0)
    return cropped / (cropped + placed) if cropped + placed else None


def _seen(arm: Arm, data: ArmData) -> SeenByRun | None:
    """What the arm's runs saw by their ends, the mean over seeds."""
    ends = [[int(part[-1]) for part in (seen.documents, seen.tokens, seen.rows)] for seen in data.seen.values()]
    if not ends or not data.ledger:
        return None
    documents, tokens, rows = np.mean(ends, axis=0).tolist()
    all_rows = data.ledger.get("rows") or 0
    predicted = arm.runs[0].last_step * arm.runs[0].tokens_per_step
    seq_len = int(arm.runs[0].options.get("seq_len") or 1)
    return SeenByRun(
        documents=documents,
        tokens=tokens,
        rows=rows,
        predicted=predicted,
        epochs=predicted / (all_rows * seq_len) if all_rows else None,
        seeds=len(ends),
    )


def _run(run: TrainedRun, arm: Arm, members: tuple[TrainedRun, ...], metrics: list[Metric]) -> RunResult:
    return RunResult(
        path=str(run.path),
        name=run.name,
        arm=arm.label,
        group=run.arm.group,
        seed=run.seed,
        step=run.last_step,
        tokens=run.last_step * run.tokens_per_step,
        ailments=ailments(run, members, metrics[0]),
        metrics={metric.key: metric.values.get(str(run.path)) for metric in metrics},
    )
