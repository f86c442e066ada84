"""What a report says, section by section, as blocks; made from the content of report.json alone."""

from bosrow.compare.metrics.table import PRIMARY
from bosrow.compare.report import background
from bosrow.compare.report.charts import (
    benchmark_charts,
    gap_chart,
    place_charts,
    plan_chart,
    seed_chart,
    training_charts,
)
from bosrow.report.blocks import Block, Cell, Charts, Items, Section, Table, Text, Tone
from bosrow.report.numbers import DASH, Content, bracketed, figure, seeds_behind, share, signed


def sections(content: Content) -> list[Section]:
    """All sections that the content has something for, in order."""
    found = [
        Section("The primary figure", _primary(content)),
        Section("The four questions", _questions(content)),
        Section("All figures", _figures(content)),
        Section("The other pairs of arms", _pairs(content)),
        Section("Training", [Charts(training_charts(content))]),
        Section("At equal tokens, and at equal documents", _equal(content)),
        Section("Loss by place", _places(content)),
        Section("Each model on each kind of val rows", _two_by_two(content)),
        Section("Benchmarks with and without BOS", _benchmarks(content)),
        Section("Noise floor", background.noise_floor(content)),
        Section("The arms and their data", background.arms(content)),
        Section("The runs", background.runs(content)),
        Section("Matched knobs", background.knobs(content)),
        Section("Known confounds", [Items(content["confounds"])]),
        Section("How this was computed", [Items(METHODS)]),
    ]
    return [section for section in found if any(_says_something(block) for block in section.blocks)]


def _says_something(block: Block) -> bool:
    if isinstance(block, Table):
        return bool(block.rows)
    if isinstance(block, Charts):
        return bool(block.charts)
    return bool(block.items if isinstance(block, Items) else block.text)


METHODS = [
    "The primary figure is named beforehand: bits per byte of held-out documents, each scored alone from its own BOS.",
    "Intervals over seeds are Student's t; differences are Welch's t-test, two-sided, at 95%; not paired by seed.",
    "Intervals over documents and items are percentile bootstraps of 2,000 samples, paired, of the means over seeds.",
    "All tests but the primary one form a single family, corrected by Holm's method; intervals are not corrected.",
    "The minimum detectable effect is the true difference found in 80% of cases, from the noncentral t distribution.",
    "Inconclusive by rule: one arm alone, fewer than 3 seeds, a primary figure that is missing or not finite, a run "
    "that has not ended, runs that differ in what is trained by more than their data.",
    "Bands of curves reach from the smallest to the largest seed; the band of a gap is its 95% interval.",
]


def _tone(finding: str | None) -> Tone:
    return {"better": "good", "worse": "bad"}.get(finding or "", "")  # type: ignore[return-value]


def _estimate(found: Content, digits: int) -> str:
    if found["mean"] is None:
        return DASH
    if found["low"] is None:
        return f"{figure(found['mean'], digits)}"
    return f"{figure(found['mean'], digits)} ± {figure(found['high'] - found['mean'], digits)}"


def _primary(content: Content) -> list[Block]:
    primary = content["figures"][0]
    arms = primary["arms"]
    rows = [
        [
            Cell(label),
            Cell(_estimate(found, primary["digits"])),
            Cell(figure(found["deviation"], primary["digits"])),
            Cell(str(found["seeds"])),
        ]
        for label, found in arms.items()
    ]
    items = f"{primary['items']:,} {primary['items_of']}" if primary["items"] else "no documents"
    blocks: list[Block] = [
        Charts([*seed_chart(content), *gap_chart(content), *plan_chart(content)]),
        Table(
            f"Held-out bits per byte ({items}; {primary['source']})",
            ["arm", "mean ± 95% interval", "deviation between seeds", "seeds"],
            rows,
        ),
    ]
    found = content["primary"]
    if "effect" in found:
        differences = [[Cell("over seeds (decides)"), Cell(bracketed(found, 5)), Cell(seeds_behind(found))]]
        if found["over_items"]:
            over = found["over_items"]
            text = bracketed({**over, "effect": over["value"]}, 5)
            differences.append([Cell("over documents"), Cell(text), Cell(f"{over['items']:,} documents")])
        if found["paired_by_seed"]:
            paired = found["paired_by_seed"]
            differences.append([Cell("paired by seed"), Cell(bracketed(paired, 5)), Cell(f"{paired['pairs']} pairs")])
        detectable = figure(found["minimum_detectable"], 5)
        differences.append([Cell("minimum detectable effect"), Cell(detectable), Cell(seeds_behind(found))])
        title = f"{found['treatment']} minus {found['control']}, bits per byte (negative is better)"
        blocks.append(Table(title, ["", "difference [95% interval]", "from"], differences))
    return blocks


def _questions(content: Content) -> list[Block]:
    blocks: list[Block] = []
    for number, question in enumerate(content["questions"], start=1):
        blocks += [Text(f"{number}. {question['question']}", "strong"), Items(question["answers"])]
    return blocks


PROTOCOL = ("train_loss", "val_loss", "hellaswag", "ewok", "tokens_per_second", "grad_spread")


def _in_order_of_protocol(figures: list[Content]) -> list[Content]:
    """The reference protocol's figures first, in its order; then the others."""

    def place(found: Content) -> int:
        key = found["key"]
        if key == PRIMARY:
            return -1
        return next((number for number, name in enumerate(PROTOCOL) if key.startswith(name)), len(PROTOCOL))

    return sorted(figures, key=place)


def _stands_for(found: Content) -> str:
    seeds = sorted({arm["seeds"] for arm in found["arms"].values()})
    text = f"{'–'.join(str(count) for count in {seeds[0]: 0, seeds[-1]: 0})} seeds"
    return f"{text}, {found['items']:,} {found['items_of']}" if found["items"] else text


def _figures(content: Content) -> list[Block]:
    labels = [arm["label"] for arm in content["arms"] if arm["seeds"]]
    figures = _in_order_of_protocol(content["figures"])
    rows = [
        [
            Cell(found["title"]),
            *(Cell(_estimate(found["arms"][label], found["digits"])) for label in labels),
            Cell(_stands_for(found), "dim"),
        ]
        for found in figures
    ]
    crop = [Cell(share(arm["crop_fraction"])) for arm in content["arms"] if arm["seeds"]]
    rows.append([Cell("crop fraction of the data"), *crop, Cell("ledger", "dim")])
    note = "Mean ± half of the 95% interval over seeds."
    blocks: list[Block] = [
        Text(f"{found['title']}: {found['warning']}.", "bad") for found in figures if found["warning"]
    ]
    blocks.append(Table("", ["figure", *labels, "from"], rows, note))
    if content["comparisons"]:
        main = content["comparisons"][0]
        known = [(found, main["figures"][found["key"]]) for found in figures if found["key"] in main["figures"]]
        differences = [
            [
                Cell(found["title"]),
                Cell(bracketed(result, found["digits"]), _tone(_finding(content, found, result))),
                _test_cell(found, result),
                Cell(figure(result["minimum_detectable"], found["digits"])),
                Cell(_over_items(result, found["digits"])),
            ]
            for found, result in known
        ]
        columns = ["figure", "over seeds [95% interval]", "test", "minimum detectable", "over items [95% interval]"]
        title = f"{main['treatment']} minus {main['control']}"
        note = "Figures without a test describe and decide nothing. Over items: a paired bootstrap."
        blocks.append(Table(title, columns, differences, note))
    return blocks


def _finding(content: Content, found: Content, result: Content) -> str | None:
    """What a difference of the verdict's pair was found to be."""
    return content["verdict"] if found["key"] == PRIMARY else result.get("finding")


def _test_cell(found: Content, result: Content | None, *, main: bool = True) -> Cell:
    """What the test of a figure says; `main`: in the verdict's pair, where the primary figure is tested alone."""
    if main and found["key"] == PRIMARY:
        return Cell(f"primary, p {_p(result['p_value'] if result else None)}")
    if result is None or not found["tested"] or result["p_holm"] is None:
        return Cell("none", "dim")
    return Cell(f"{result['finding']}, p {_p(result['p_holm'])} (Holm)", _tone(result["finding"]))


def _p(value: float | None) -> str:
    if value is None:
        return DASH
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def _pairs(content: Content) -> list[Block]:
    tested = [found for found in _in_order_of_protocol(content["figures"]) if found["tested"]]
    rows = []
    for pair in content["comparisons"][1:]:
        for found in tested:
            result = pair["figures"].get(found["key"])
            if result is None or (found["key"] != PRIMARY and result["finding"] not in ("better", "worse")):
                continue
            names = f"{pair['treatment']} minus {pair['control']}"
            rows.append(
                [
                    Cell(names if not pair["question"] else f"{names} ({pair['question']})"),
                    Cell(found["title"]),
                    Cell(bracketed(result, found["digits"]), _tone(result["finding"])),
                    _test_cell(found, result, main=False),
                    Cell(figure(result["minimum_detectable"], found["digits"])),
                ]
            )
    note = "The primary figure of every other pair, and the tested figures in which the pair differs."
    columns = ["pair", "figure", "difference [95% interval]", "test", "minimum detectable"]
    return [Table("", columns, rows, note, text_columns=2)]


def _equal(content: Content) -> list[Block]:
    blocks: list[Block] = []
    if content["equal_tokens"]:
        rows = [
            [
                Cell(f"{row['step']:,.0f}"),
                Cell(f"{row['tokens']:,.0f}"),
                Cell(figure(row["control"], 5)),
                Cell(figure(row["treatment"], 5)),
                Cell(bracketed(row, 5)),
            ]
            for row in content["equal_tokens"]
        ]
        main = content["comparisons"][0]
        columns = ["step", "tokens predicted", main["control"], main["treatment"], "difference [95% interval]"]
        blocks.append(Table("At equal tokens: bits per byte during training", columns, rows))
    known = [view for view in content["equal_documents"] if not view["problem"]]
    rows = [
        [
            Cell(f"{view['treatment']} minus {view['control']}"),
            Cell(f"{view['documents']:,}"),
            Cell(f"{view['treatment_step']:,.0f} and {view['control_step']:,.0f}"),
            Cell(bracketed(view, 5)),
            Cell(seeds_behind(view)),
        ]
        for view in known
    ]
    note = "An arm that saw as many documents earlier is compared before its learning rate has come down."
    columns = ["pair", "documents seen", "at steps", "difference in bits per byte [95% interval]", "from"]
    blocks.append(Table("At equal documents", columns, rows, note))
    unknown = {view["problem"] for view in content["equal_documents"]} - {""}
    return blocks + [Text(f"No view at equal documents: {problem}.", "dim") for problem in sorted(unknown)]


def _places(content: Content) -> list[Block]:
    return [Charts(place_charts(content))]


def _two_by_two(content: Content) -> list[Block]:
    sets = [found for found in content["figures"] if found["key"].startswith("rows.")]
    labels = [arm["label"] for arm in content["arms"] if arm["seeds"]]
    rows = []
    for one in sets:
        losses = (Cell(_estimate(one["arms"][label], 4)) for label in labels)
        rows.append([Cell(one["title"]), *losses, Cell(_stands_for(one), "dim")])
    note = "Nats a token, mean ± half of the 95% interval over seeds. Read along a line: the same rows, another model."
    return [Table("", ["val rows", *(f"trained on {label}" for label in labels), "from"], rows, note)]


def _benchmarks(content: Content) -> list[Block]:
    found = [one for one in content["figures"] if one["unit"] == "share right"]
    by_measure: dict[str, dict[str, Content]] = {}
    for one in found:
        title, _, bos = one["title"].rpartition(", ")
        by_measure.setdefault(title, {})[bos] = one
    labels = [arm["label"] for arm in content["arms"] if arm["seeds"]]
    rows = []
    for title, settings in by_measure.items():
        for bos, one in sorted(settings.items(), reverse=True):
            estimates = [Cell(_estimate(one["arms"][label], 4)) for label in labels]
            chance = figure(one["chance"], 3)
            rows.append([Cell(f"{title}, {bos}"), *estimates, Cell(chance), Cell(_stands_for(one), "dim")])
    columns = ["benchmark", *labels, "chance", "from"]
    return [Charts(benchmark_charts(content)), Table("", columns, rows, "Mean ± half of the 95% interval over seeds.")]


def _over_items(result: Content, digits: int) -> str:
    """The difference over items; a dash where their scores are not known."""
    over = result["over_items"]
    return bracketed({**over, "effect": over["value"]}, digits) if over else DASH


def headline(content: Content) -> str:
    """The effect in one line, for the verdict's box: relative, absolute, interval."""
    primary = content["primary"]
    if primary.get("effect") is None:
        return "no difference was measured"
    relative = primary.get("relative")
    relative = f" ({signed(100 * relative, 2)}%)" if relative is not None else ""
    return f"{signed(primary['effect'], 5)} bits per byte{relative}"
