"""The four questions of the protocol, answered with the numbers of a comparison, and the confounds that remain."""

from typing import Any

from bosrow.compare.grouping import Arm, Pair
from bosrow.compare.metrics.table import PRIMARY
from bosrow.report.numbers import interval, signed

Content = dict[str, Any]


def questions(content: Content) -> list[Content]:
    """Question and answers, the latter a list of sentences."""
    pairs = content["comparisons"]
    if not pairs:
        return []
    return [
        {"question": "Is there a gain at matched compute?", "answers": _gain(content)},
        {"question": "Is optimization as stable?", "answers": _stability(content)},
        {"question": "Does it cost throughput?", "answers": _throughput(content)},
        {"question": "Is the gain explained by the data that was discarded?", "answers": _selection(content)},
    ]


def _gain(content: Content) -> list[str]:
    main = content["comparisons"][0]
    answers = [content["sentence"]]
    primary = main["figures"].get(PRIMARY)
    items = primary["over_items"] if primary else None
    if items is not None:
        crosses = items["low"] <= 0 <= items["high"]
        more = "; other documents could turn the sign" if crosses else ""
        answers.append(
            f"Over the {items['items']:,} held-out documents instead of seeds (bootstrap, paired): "
            f"{interval({'effect': items['value'], **items}, 5)}{more}."
        )
    found: dict[str, list[str]] = {"better": [], "worse": [], "no difference found": [], "too few seeds": []}
    for figure in content["figures"]:
        result = main["figures"].get(figure["key"])
        if result is not None and "finding" in result:
            found[result["finding"]].append(figure["title"])
    counts = sum(len(titles) for titles in found.values())
    if counts:
        parts = [f"{name}: {', '.join(found[name])}" for name in ("better", "worse") if found[name]]
        answers.append(
            f"Of {counts} further figures, after Holm's correction over all tests, "
            + ("; ".join(parts) if parts else "none differs")
            + "."
        )
    equal = content["equal_documents"][0]
    if not equal["problem"]:
        answers.append(
            f"At equal documents ({equal['documents']:,} seen; step {equal['control_step']:,.0f} of "
            f"{equal['control']}, {equal['treatment_step']:,.0f} of {equal['treatment']}): "
            f"{interval(equal, 5)} bits per byte."
        )
    return answers


def _stability(content: Content) -> list[str]:
    main = content["comparisons"][0]
    answers = []
    for key, what in (
        ("grad_spread", "99th percentile of the gradient's norm over its median"),
        ("clipped", "share of steps clipped"),
    ):
        figure = next(figure for figure in content["figures"] if figure["key"] == key)
        means = [f"{figure['arms'][main[side]]['mean']:.3f} in {main[side]}" for side in ("treatment", "control")]
        result = main["figures"].get(key)
        if result is not None:
            answers.append(f"{what[0].upper()}{what[1:]}: {' and '.join(means)}; difference {interval(result, 3)}.")
    ill = [f"{run['name']} ({'; '.join(run['ailments'])})" for run in content["runs"] if run["ailments"]]
    if ill:
        answers.append("Runs to look at: " + ", ".join(ill) + ".")
    else:
        answers.append(f"All {len(content['runs'])} runs ended, none diverged, no step was passed over.")
    return answers


def _throughput(content: Content) -> list[str]:
    main = content["comparisons"][0]
    figure = next(figure for figure in content["figures"] if figure["key"] == "tokens_per_second")
    means = {side: figure["arms"][main[side]]["mean"] for side in ("treatment", "control")}
    result = main["figures"].get("tokens_per_second")
    if result is None or not means["control"]:
        return ["No speed was recorded."]
    ratio = means["treatment"] / means["control"]
    return [
        f"{means['treatment']:,.0f} tokens/s in {main['treatment']}, {means['control']:,.0f} in {main['control']} "
        f"(ratio {ratio:.3f}); difference {interval(result, 0)} tokens/s.",
        "Rows have the same shape in every arm, so a difference comes from the machine and not from the data.",
    ]


def _selection(content: Content) -> list[str]:
    by_question = {pair["question"].partition(":")[0]: pair for pair in content["comparisons"]}
    alone, selected = by_question.get("alignment alone"), by_question.get("selection alone")
    if alone is None or selected is None:
        return ["Not answered: it takes arm C, stream rows of exactly the tokens that B kept ('bosrow ab' makes it)."]
    aligned, chosen = alone["figures"].get(PRIMARY), selected["figures"].get(PRIMARY)
    if aligned is None or chosen is None:
        return ["Not answered: the primary figure of arm C is missing."]
    total = content["comparisons"][0]["figures"][PRIMARY]["effect"]
    verdicts = {
        "better": "alignment helps on the same tokens, so discarded data does not explain all of it",
        "worse": "on the same tokens, alignment hurts; whatever gain there is comes from the choice of data",
        "too few seeds": "too few seeds to say what alignment does",
        "no difference found": "on the same tokens no effect of alignment was found after Holm's correction, "
        "which does not show there is none",
    }
    return [
        f"B against C, the same tokens with and without alignment: {interval(aligned, 5)} bits per byte; "
        f"{verdicts[aligned['finding']]}.",
        f"C against A, the choice of tokens alone: {interval(chosen, 5)} bits per byte.",
        f"Together they make B against A: {signed(chosen['effect'], 5)} by selection and "
        f"{signed(aligned['effect'], 5)} by alignment are {signed(total, 5)}.",
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
