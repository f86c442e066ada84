"""What stands behind the results of a report: the noise floor, the arms' data, the runs and the matched knobs."""

from typing import Any

from bosrow.compare.metrics.table import PRIMARY
from bosrow.report.blocks import Block, Cell, Table, Text
from bosrow.report.numbers import DASH, Content, figure, interval, share

LEDGER = {
    "documents_read": "documents read",
    "documents_whole": "whole, in one piece",
    "documents_split": "whole, in several pieces",
    "documents_cropped": "in part",
    "tokens_read": "tokens read",
    "tokens_placed": "tokens in rows",
    "tokens_cropped": "tokens cropped",
    "tokens_tail": "tokens in the unfilled last row",
    "rows": "rows",
    "cuts": "cuts",
}
SEEN = {
    "documents": "documents seen, in whole or in part",
    "tokens": "corpus tokens predicted, each counted once",
    "rows": "rows seen, each counted once",
    "predicted": "tokens predicted in all",
}


def noise_floor(content: Content) -> list[Block]:
    """What two groups of one arm differ by."""
    noise = content["noise_floor"]
    if noise["arm"] is None:
        return []
    text = ""
    if noise["measured"]:
        crosses = noise["low"] is None or noise["low"] <= 0 <= noise["high"]
        text = (
            f"A/A: {noise['control_seeds']} and {noise['treatment_seeds']} other seeds of the same arm, "
            f"{noise['arm']}, differ by {interval(noise, 5)} bits per byte. "
        )
        text += (
            "Zero lies inside, as it should for one arm against itself."
            if crosses
            else "Zero lies outside, as by chance in one of 20 such comparisons: read small differences with care."
        )
    else:
        text = "No A/A runs (the same arm, other seeds) are among these; what follows is expected, not measured."
    blocks: list[Block] = [Text(text)]
    if noise.get("expected_size") is not None:
        blocks.append(
            Text(
                f"From the deviation between the {noise['seeds']} seeds of {noise['arm']} ({noise['deviation']:.5f}), "
                f"two groups of as many seeds of one arm differ by {noise['expected_size']:.5f} bits per byte on "
                "average."
            )
        )
    return blocks


def arms(content: Content) -> list[Block]:
    """Policy, ledger, and what a run has seen, a column for each arm."""
    arms = [arm for arm in content["arms"] if arm["seeds"]]
    rows = [
        [Cell("policy"), *(Cell(arm["policy"]) for arm in arms)],
        [Cell("data fingerprint"), *(Cell(arm["fingerprint"][:16]) for arm in arms)],
        [Cell("seeds"), *(Cell(", ".join(map(str, arm["seeds"]))) for arm in arms)],
    ]
    for key, title in LEDGER.items():
        if any(arm["ledger"] and key in arm["ledger"] for arm in arms):
            rows.append([Cell(title), *(Cell(_count((arm["ledger"] or {}).get(key))) for arm in arms)])
    rows.append([Cell("crop fraction"), *(Cell(share(arm["crop_fraction"])) for arm in arms)])
    if any(arm["seen"] for arm in arms):
        for key, title in SEEN.items():
            rows.append([Cell(f"a run: {title}"), *(Cell(_count((arm["seen"] or {}).get(key))) for arm in arms)])
        epochs = [figure((arm["seen"] or {}).get("epochs"), 2) for arm in arms]
        rows.append([Cell("a run: epochs"), *map(Cell, epochs)])
    note = "Train split. What a run has seen is counted from the provenance and the order of rows, the mean over seeds."
    problems = [Text(f"{arm['label']}: {arm['problem']}.", "dim") for arm in content["arms"] if arm["problem"]]
    return [Table("", ["", *(arm["label"] for arm in arms)], rows, note), *problems]


def _count(value: float | None) -> str:
    return DASH if value is None else f"{value:,.0f}"


def runs(content: Content) -> list[Block]:
    """A line for each run, with what is wrong with it."""
    rows = []
    for run in content["runs"]:
        ill = "; ".join(run["ailments"])
        group = "" if run["group"] == "main" else " (A/A)"
        rows.append(
            [
                Cell(run["name"]),
                Cell(f"{run['arm']}{group}"),
                Cell(str(run["seed"])),
                Cell(f"{run['step']:,}"),
                Cell(figure(run["figures"].get(PRIMARY), 5)),
                Cell(figure(run["figures"].get("train_loss"), 4)),
                Cell(ill or "ended well", "bad" if ill else "dim"),
            ]
        )
    return [Table("", ["run", "arm", "seed", "steps", "bits per byte", "training loss", "state"], rows, text_columns=2)]


def knobs(content: Content) -> list[Block]:
    """What differs, and what is the same in all runs."""
    blocks: list[Block] = []
    for one in content["knobs"]["different"]:
        values = "; ".join(f"{value} in {', '.join(who)}" for value, who in one["values"].items())
        kind = "makes any verdict inconclusive" if one["decisive"] else "not in what is trained"
        blocks.append(Text(f"Differs: {one['knob']} ({kind}): {values}.", "bad"))
    same = content["knobs"]["same"]
    rows = [[Cell(name), Cell(_value(value))] for name, value in same.items()]
    return [*blocks, Table("The same in all runs", ["knob", "value"], rows, text_columns=2)]


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return DASH if value is None else str(value)
