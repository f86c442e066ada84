"""The four questions of the protocol, answered with the numbers of a comparison, and the confounds that remain."""

from bosrow.compare.grouping import Arm, Pair
from bosrow.compare.result import ComparisonResult, DifferenceOfMetric, PairResult, Question
from bosrow.compare.runs import PRIMARY
from bosrow.report.numbers import decimal, interval, signed


def questions(result: ComparisonResult) -> list[Question]:
    """The questions with their answers, each a sentence."""
    if not result.pairs:
        return []
    return [
        Question(question="Is there a gain at matched compute?", answers=_gain(result)),
        Question(question="Is optimization as stable?", answers=_stability(result)),
        Question(question="Does it cost throughput?", answers=_throughput(result)),
        Question(question="Is the gain explained by the data that was discarded?", answers=_selection(result.pairs)),
    ]


def _gain(result: ComparisonResult) -> list[str]:
    main = result.pairs[0]
    answers = [result.sentence]
    primary = main.metrics.get(PRIMARY)
    items = primary.over_items if primary else None
    if items is not None:
        crosses = items.low is not None and items.high is not None and items.low <= 0 <= items.high
        more = "; other documents could turn the sign" if crosses else ""
        answers.append(
            f"Over the {items.items:,} held-out documents instead of seeds (bootstrap, paired): "
            f"{interval(items, 5)}{more}."
        )
    answers += _further_findings(result, main)
    equal = result.equal_documents[0]
    difference = equal.difference
    if difference is not None:
        answers.append(
            f"At equal documents ({equal.documents:,} seen; step {equal.control_step:,.0f} of {equal.control}, "
            f"{equal.treatment_step:,.0f} of {equal.treatment}): {interval(difference, 5)} bits per byte."
        )
    return answers


def _further_findings(result: ComparisonResult, main: PairResult) -> list[str]:
    """What the other tests of the verdict's pair found; nothing if there were none."""
    found = [
        (main.metrics[metric.key].finding, metric.title)
        for metric in result.metrics
        if metric.key in main.metrics and main.metrics[metric.key].finding
    ]
    if not found:
        return []
    titles = {name: [title for finding, title in found if finding == name] for name in ("better", "worse")}
    parts = [f"{name}: {', '.join(named)}" for name, named in titles.items() if named]
    told = "; ".join(parts) if parts else "none differs"
    return [f"Of {len(found)} further figures, after Holm's correction over all tests, {told}."]


def _stability(result: ComparisonResult) -> list[str]:
    main = result.pairs[0]
    answers = []
    for key, what in (
        ("grad_spread", "99th percentile of the gradient's norm over its median"),
        ("clipped", "share of steps clipped"),
    ):
        found = main.metrics.get(key)
        if found is not None:
            arms = result.metric(key).arms
            means = [f"{decimal(arms[label].mean, 3)} in {label}" for label in (main.treatment, main.control)]
            told = f"{what[0].upper()}{what[1:]}: {' and '.join(means)}"
            answers.append(f"{told}; difference {interval(found, 3)}.")
    ill = [f"{run.name} ({'; '.join(run.ailments)})" for run in result.runs if run.ailments]
    if ill:
        answers.append("Runs to look at: " + ", ".join(ill) + ".")
    else:
        answers.append(f"All {len(result.runs)} runs ended, none diverged, no step was passed over.")
    return answers


def _throughput(result: ComparisonResult) -> list[str]:
    main = result.pairs[0]
    arms = result.metric("tokens_per_second").arms
    treatment, control = arms[main.treatment].mean, arms[main.control].mean
    found = main.metrics.get("tokens_per_second")
    if found is None or treatment is None or not control:
        return ["No speed was recorded."]
    return [
        f"{treatment:,.0f} tokens/s in {main.treatment}, {control:,.0f} in {main.control} "
        f"(ratio {treatment / control:.3f}); difference {interval(found, 0)} tokens/s.",
        "Rows have the same shape in every arm, so a difference comes from the machine and not from the data.",
    ]


WHAT_ALIGNMENT_DOES = {
    "better": "alignment helps on the same tokens, so discarded data does not explain all of it",
    "worse": "on the same tokens, alignment hurts; whatever gain there is comes from the choice of data",
    "too few seeds": "too few seeds to say what alignment does",
    "no difference found": "on the same tokens no effect of alignment was found after Holm's correction, "
    "which does not show there is none",
}


def _selection(pairs: list[PairResult]) -> list[str]:
    by_question = {pair.question.partition(":")[0]: pair for pair in pairs}
    alone, selected = by_question.get("alignment alone"), by_question.get("selection alone")
    if alone is None or selected is None:
        return ["Not answered: it takes arm C, stream rows of exactly the tokens that B kept ('bosrow ab' makes it)."]
    aligned: DifferenceOfMetric | None = alone.metrics.get(PRIMARY)
    chosen = selected.metrics.get(PRIMARY)
    if aligned is None or chosen is None:
        return ["Not answered: the primary figure of arm C is missing."]
    total = pairs[0].metrics[PRIMARY].effect
    return [
        f"B against C, the same tokens with and without alignment: {interval(aligned, 5)} bits per byte; "
        f"{WHAT_ALIGNMENT_DOES[str(aligned.finding)]}.",
        f"C against A, the choice of tokens alone: {interval(chosen, 5)} bits per byte.",
        f"Together they make B against A: {signed(chosen.effect, 5)} by selection and "
        f"{signed(aligned.effect, 5)} by alignment are {signed(total, 5)}.",
    ]


def confounds(arms: list[Arm], pairs: list[Pair], epochs: dict[str, float]) -> list[str]:
    """What a reader should know before believing a difference, for the arms that are there.

    `epochs` says how often each arm, by label, went through its data.
    """
    policies = {arm.policy for arm in arms}
    letters = {arm.letter for arm in arms}
    found = []
    if "C" in letters:
        found.append(
            "In C a BOS target follows each cropped piece, where the text goes on in truth; B never shows one, since a "
            "cropped piece ends its row. C so learns to expect BOS after a token that no document ends with."
        )
    if "stream" in policies:
        found.append(
            "Stream rows hold BOS as a target at every change of document; rows that hold one document alone never do. "
            "Losses on rows are therefore shown with and without BOS targets; bits per byte has no BOS target at all."
        )
    if policies & {"crop", "crop-long-first"}:
        found.append(
            "Crop policies discard tails: at equal tokens their arms see more documents, and only the beginnings of "
            "long ones. Held-out documents are scored whole, so such an arm can lose on what stands late in a document."
        )
    found.append(
        "Held-out documents are scored each from its own BOS, as aligned rows begin. A model trained on stream rows "
        "has seen most documents begin in the middle of a row."
    )
    found.append(
        "Equal seeds mean equal initial weights, and other rows in another order: arms are not paired by seed, and the "
        "difference paired by seed is shown for information alone."
    )
    if len(epochs) > 1 and max(epochs.values()) > 1 and max(epochs.values()) > 1.05 * min(epochs.values()):
        often = ", ".join(f"{label} {times:.2f}" for label, times in epochs.items())
        found.append(
            f"Arms went through their data unequally often (epochs: {often}), so some repeat what others do not."
        )
    if any(set(pair.control.seeds) != set(pair.treatment.seeds) for pair in pairs):
        found.append("The arms were trained with different sets of seeds.")
    return found
