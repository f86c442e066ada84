"""What stands behind the results of a report: the noise floor, the arms' data, the runs and the matched settings."""

from typing import Any

from bosrow.compare.result import ArmResult, ComparisonResult
from bosrow.compare.runs import PRIMARY
from bosrow.report.blocks import Block, Cell, TableBlock, TextBlock
from bosrow.report.numbers import DASH, count, decimal, interval, share

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


def noise_floor(result: ComparisonResult) -> list[Block]:
    """What two groups of one arm differ by."""
    noise = result.noise_floor
    if noise.arm is None:
        return []
    text = "No A/A runs (the same arm, other seeds) are among these; what follows is expected, not measured."
    difference = noise.difference
    if difference is not None:
        crosses = difference.low is None or difference.high is None or difference.low <= 0 <= difference.high
        text = (
            f"A/A: {difference.control_seeds} and {difference.treatment_seeds} other seeds of the same arm, "
            f"{noise.arm}, differ by {interval(difference, 5)} bits per byte. "
        )
        text += (
            "Zero lies inside, as it should for one arm against itself."
            if crosses
            else "Zero lies outside, as by chance in one of 20 such comparisons: read small differences with care."
        )
    blocks: list[Block] = [TextBlock(text)]
    if isinstance(noise.expected_size, float) and isinstance(noise.deviation, float):
        blocks.append(
            TextBlock(
                f"From the deviation between the {noise.seeds} seeds of {noise.arm} ({noise.deviation:.5f}), "
                f"two groups of as many seeds of one arm differ by {noise.expected_size:.5f} bits per byte on "
                "average."
            )
        )
    return blocks


def arms(result: ComparisonResult) -> list[Block]:
    """Policy, ledger, and what a run has seen, a column for each arm."""
    arms = result.compared_arms

    def row(title: str, texts: list[str]) -> list[Cell]:
        return [Cell(title), *map(Cell, texts)]

    rows = [
        row("policy", [arm.policy for arm in arms]),
        row("data fingerprint", [arm.fingerprint[:16] for arm in arms]),
        row("seeds", [", ".join(map(str, arm.seeds)) for arm in arms]),
    ]
    for key, title in LEDGER.items():
        if any(arm.ledger and key in arm.ledger for arm in arms):
            rows.append(row(title, [count((arm.ledger or {}).get(key)) for arm in arms]))
    rows.append(row("crop fraction", [share(arm.crop_fraction) for arm in arms]))
    if any(arm.seen for arm in arms):
        for key, title in SEEN.items():
            rows.append(row(f"a run: {title}", [count(_seen(arm, key)) for arm in arms]))
        rows.append(row("a run: epochs", [decimal(_seen(arm, "epochs"), 2) for arm in arms]))
    note = "Train split. What a run has seen is counted from the provenance and the order of rows, the mean over seeds."
    problems = [TextBlock(f"{arm.label}: {arm.problem}.", "dim") for arm in result.arms if arm.problem]
    return [TableBlock("", ["", *(arm.label for arm in arms)], rows, note), *problems]


def _seen(arm: ArmResult, name: str) -> float | None:
    return getattr(arm.seen, name) if arm.seen else None


def runs(result: ComparisonResult) -> list[Block]:
    """A line for each run, with what is wrong with it."""
    rows = []
    for run in result.runs:
        ill = "; ".join(run.ailments)
        group = "" if run.group == "main" else " (A/A)"
        rows.append(
            [
                Cell(run.name),
                Cell(f"{run.arm}{group}"),
                Cell(str(run.seed)),
                Cell(f"{run.step:,}"),
                Cell(decimal(run.metrics.get(PRIMARY), 5)),
                Cell(decimal(run.metrics.get("train_loss"), 4)),
                Cell(ill or "ended well", "bad" if ill else "dim"),
            ]
        )
    columns = ["run", "arm", "seed", "steps", "bits per byte", "training loss", "state"]
    return [TableBlock("", columns, rows, text_columns=2)]


def settings(result: ComparisonResult) -> list[Block]:
    """What differs, and what is the same in all runs."""
    blocks: list[Block] = []
    for one in result.settings.different:
        kind = "makes any verdict inconclusive" if one.decisive else "not in what is trained"
        blocks.append(TextBlock(f"Differs: {one.name} ({kind}): {one.told}.", "bad"))
    rows = [[Cell(name), Cell(_value(value))] for name, value in result.settings.same.items()]
    return [*blocks, TableBlock("The same in all runs", ["setting", "value"], rows, text_columns=2)]


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return DASH if value is None else str(value)
