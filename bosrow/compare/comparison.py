"""The comparison itself: from runs to everything that a report says, as one JSON-like object.

Promise: what is tested, and how, was fixed before any run was read. The primary figure of the first pair is tested
alone at 5%; every other test of the report, all figures and pairs, forms one family under Holm's correction.
Intervals are unadjusted, over seeds by Student's t, over documents and items by a paired bootstrap of the seeds' means.
"""

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from bosrow import __version__
from bosrow.compare import statistics
from bosrow.compare.checks.matched_settings import Mismatch, matched, mismatches, refuse
from bosrow.compare.checks.run_health import ailments
from bosrow.compare.exposure import ArmData, data_of
from bosrow.compare.grouping import Arm, Pair, arms_of, pairs_of
from bosrow.compare.metrics.metric import Figure, Scores
from bosrow.compare.metrics.table import PRIMARY, figures_of
from bosrow.compare.report import curves
from bosrow.compare.report.questions import confounds, questions
from bosrow.compare.runs import Floats, Run
from bosrow.compare.verdict import judge, noise_floor

Content = dict[str, Any]
ALPHA = 0.05


def comparison_of(
    runs: list[Run], *, control: str | None = None, treatment: str | None = None, strict: bool
) -> Content:
    """All that the report says about `runs`. Raises UserError for runs that contradict, or that `strict` refuses."""
    arms = arms_of(runs)
    pairs = pairs_of(arms, control, treatment)
    found = mismatches(arms)
    if strict:
        refuse(found)
    figures = figures_of(runs)
    data = {arm.label: data_of(arm) for arm in arms if arm.runs}
    health = {
        str(run.path): ailments(run, members, figures[0])
        for arm in arms
        for members in (arm.runs, arm.noise)
        for run in members
    }
    comparisons = [_comparison(pair, figures) for pair in pairs]
    _adjust(comparisons, figures)
    described = [_arm(arm, data.get(arm.label)) for arm in arms]
    epochs = {arm["label"]: arm["seen"]["epochs"] for arm in described if arm["seen"] and arm["seen"]["epochs"]}
    content = {
        "schema": 1,
        "bosrow_version": __version__,
        **judge(arms, pairs, figures, comparisons, found, health),
        "comparisons": comparisons,
        "figures": [_figure(figure, arms) for figure in figures],
        "arms": described,
        "runs": [_run(run, arm, figures, health) for arm in arms for run in (*arm.runs, *arm.noise)],
        "noise_floor": noise_floor(arms, pairs, figures[0]),
        "knobs": _knobs(runs, found),
        **curves.views(arms, pairs, data, runs),
        "confounds": confounds(arms, pairs, epochs),
    }
    content["questions"] = questions(content)
    return content


def _comparison(pair: Pair, figures: list[Figure]) -> Content:
    return {
        "control": pair.control.label,
        "treatment": pair.treatment.label,
        "question": pair.question,
        "figures": {
            figure.key: _difference(pair, figure)
            for figure in figures
            if figure.of(pair.control.runs) and figure.of(pair.treatment.runs)
        },
    }


def _difference(pair: Pair, figure: Figure) -> Content:
    control, treatment = figure.of(pair.control.runs), figure.of(pair.treatment.runs)
    found = asdict(statistics.compare(control, treatment))
    items = _over_items(pair, figure)
    if figure.key == PRIMARY:
        found["paired_by_seed"] = _paired(pair, figure)
    return found | {"over_items": None if items is None else asdict(items)}


def _paired(pair: Pair, figure: Figure) -> Content | None:
    """The same difference paired by seed, where both arms have the same ones."""
    sides = [{run.seed: figure.of([run]) for run in arm.runs} for arm in (pair.control, pair.treatment)]
    if sides[0].keys() != sides[1].keys() or len(sides[0]) < 2 or not all(v for side in sides for v in side.values()):
        return None
    seeds = sorted(sides[0])
    values = [[side[seed][0] for seed in seeds] for side in sides]
    effect, low, high = statistics.paired_by_seed(*values)
    return {"effect": effect, "low": low, "high": high, "pairs": len(seeds)}


def _over_items(pair: Pair, figure: Figure) -> statistics.Interval | None:
    """The difference over items or documents: each one's mean over the arm's seeds, paired, bootstrapped."""
    means = [_mean_scores(arm, figure) for arm in (pair.control, pair.treatment)]
    control, treatment = means
    if control is None or treatment is None or control[0] != treatment[0]:
        return None
    return statistics.bootstrap_ratio(treatment[1] - control[1], control[2])


def _mean_scores(arm: Arm, figure: Figure) -> Scores | None:
    """Each item's score, the mean over seeds; None unless all seeds have finite scores of the same items."""
    if figure.scores is None:
        return None
    numerators: list[Floats] = []
    first: Scores | None = None
    for run in arm.runs:
        scores = figure.scores(run)
        if scores is None or not np.isfinite(scores[1]).all() or not np.isfinite(scores[2]).all():
            return None
        if first is not None and (scores[0] != first[0] or (scores[2] != first[2]).any()):
            return None
        first = first or scores
        numerators.append(scores[1])
    return None if first is None else (first[0], np.mean(numerators, axis=0), first[2])


def _adjust(comparisons: list[Content], figures: list[Figure]) -> None:
    """Add `p_holm` and `finding` to every test but the primary one, all of them one family."""
    tested = {figure.key: figure for figure in figures if figure.tested}
    family = [
        (key, found)
        for place, comparison in enumerate(comparisons)
        for key, found in comparison["figures"].items()
        if key in tested and not (place == 0 and key == PRIMARY)
    ]
    adjusted = statistics.holm([found["p_value"] for _, found in family]).tolist() if family else []
    for (key, found), p in zip(family, adjusted, strict=True):
        enough = min(found["control_seeds"], found["treatment_seeds"]) >= statistics.LEAST_SEEDS
        found["p_holm"] = float(p)
        lower = tested[key].better == "lower"
        if not enough:
            found["finding"] = "too few seeds"
        elif math.isfinite(p) and p < ALPHA:
            found["finding"] = "better" if (found["effect"] < 0) == lower else "worse"
        else:
            found["finding"] = "no difference found"


def _figure(figure: Figure, arms: list[Arm]) -> Content:
    plain = {
        name: getattr(figure, name)
        for name in (
            "key",
            "title",
            "unit",
            "better",
            "tested",
            "source",
            "items",
            "items_of",
            "digits",
            "chance",
            "warning",
        )
    }
    return plain | {"arms": {arm.label: asdict(statistics.estimate(figure.of(arm.runs))) for arm in arms if arm.runs}}


def _arm(arm: Arm, data: ArmData | None) -> Content:
    return {
        "label": arm.label,
        "letter": arm.letter,
        "name": arm.name,
        "policy": arm.policy,
        "fingerprint": arm.fingerprint,
        "seeds": arm.seeds,
        "noise_seeds": [run.seed for run in arm.noise],
        "data_dir": data.data_dir if data else None,
        "ledger": data.ledger if data else None,
        "crop_fraction": _crop_fraction(data.ledger if data else None),
        "problem": data.problem if data else "only runs of the noise floor",
        "seen": _seen(arm, data) if data else None,
    }


def _crop_fraction(ledger: Content | None) -> float | None:
    """Cropped tokens as a share of cropped and placed ones."""
    if not ledger:
        return None
    cropped, placed = ledger.get("tokens_cropped", 0), ledger.get("tokens_placed", 0)
    return cropped / (cropped + placed) if cropped + placed else None


def _seen(arm: Arm, data: ArmData) -> Content | None:
    """What the arm's runs saw by their ends, the mean over seeds."""
    ends = [[int(part[-1]) for part in (s.documents, s.tokens, s.rows)] for s in data.seen.values()]
    if not ends or not data.ledger:
        return None
    documents, tokens, rows = np.mean(ends, axis=0)
    all_rows = data.ledger.get("rows") or 0
    predicted = arm.runs[0].last_step * arm.runs[0].tokens_per_step
    row_tokens = int(arm.runs[0].options.get("seq_len") or 1)
    return {
        "documents": documents,
        "tokens": tokens,
        "rows": rows,
        "predicted": predicted,
        "epochs": predicted / (all_rows * row_tokens) if all_rows else None,
        "seeds": len(ends),
    }


def _run(run: Run, arm: Arm, figures: list[Figure], health: dict[str, list[str]]) -> Content:
    values = {figure.key: figure.values.get(str(run.path)) for figure in figures}
    return {
        "path": str(run.path),
        "name": run.name,
        "arm": arm.label,
        "group": run.group,
        "seed": run.seed,
        "step": run.last_step,
        "tokens": run.last_step * run.tokens_per_step,
        "ailments": health[str(run.path)],
        "figures": values,
    }


def _knobs(runs: list[Run], found: list[Mismatch]) -> Content:
    differing = {mismatch.knob for mismatch in found}
    return {
        "same": {name: value for name, value in matched(runs).items() if name not in differing},
        "different": [asdict(mismatch) for mismatch in found],
    }
