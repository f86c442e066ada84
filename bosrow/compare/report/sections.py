"""What a report says, section by section, as blocks; made from what report.json holds and nothing else."""

from bosrow.compare.report import background
from bosrow.compare.report.charts import (
    benchmark_charts,
    gap_chart,
    place_charts,
    plan_chart,
    seed_chart,
    training_charts,
)
from bosrow.compare.result import ComparisonResult, DifferenceOfMetric, MeanOfArm, MetricResult, OverItems
from bosrow.compare.runs import PRIMARY
from bosrow.report.blocks import Block, Cell, ChartsBlock, ListBlock, Section, TableBlock, TextBlock, Tone, is_empty
from bosrow.report.numbers import DASH, bracketed, decimal, share, signed


def sections(result: ComparisonResult) -> list[Section]:
    """All sections that the content has something for, in order."""
    found = [
        Section("The primary figure", _primary(result)),
        Section("The four questions", _questions(result)),
        Section("All figures", _figures(result)),
        Section("The other pairs of arms", _pairs(result)),
        Section("Training", [ChartsBlock(training_charts(result))]),
        Section("At equal tokens, and at equal documents", _equal(result)),
        Section("Loss by place", _places(result)),
        Section("Each model on each kind of val rows", _two_by_two(result)),
        Section("Benchmarks with and without BOS", _benchmarks(result)),
        Section("Noise floor", background.noise_floor(result)),
        Section("The arms and their data", background.arms(result)),
        Section("The runs", background.runs(result)),
        Section("Matched settings", background.settings(result)),
        Section("Known confounds", [ListBlock(result.confounds)]),
        Section("How this was computed", [ListBlock(METHODS)]),
    ]
    return [section for section in found if not all(map(is_empty, section.blocks))]


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


def _tone(finding: object) -> Tone:
    return "good" if finding == "better" else "bad" if finding == "worse" else ""


def _mean(found: MeanOfArm, digits: int) -> str:
    if found.mean is None or found.high is None:
        return decimal(found.mean, digits)
    return f"{decimal(found.mean, digits)} ± {decimal(found.high - found.mean, digits)}"


def _primary(result: ComparisonResult) -> list[Block]:
    primary = result.metrics[0]
    rows = [
        [
            Cell(label),
            Cell(_mean(found, primary.digits)),
            Cell(decimal(found.deviation, primary.digits)),
            Cell(str(found.seeds)),
        ]
        for label, found in primary.arms.items()
    ]
    items = f"{primary.items:,} {primary.items_of}" if primary.items else "no documents"
    blocks: list[Block] = [
        ChartsBlock([*seed_chart(result), *gap_chart(result), *plan_chart(result)]),
        TableBlock(
            f"Held-out bits per byte ({items}; {primary.source})",
            ["arm", "mean ± 95% interval", "deviation between seeds", "seeds"],
            rows,
        ),
    ]
    main = result.pairs[0] if result.pairs else None
    found = main.metrics.get(PRIMARY) if main else None
    if main is not None and found is not None:
        title = f"{main.names}, bits per byte (negative is better)"
        blocks.append(TableBlock(title, ["", "difference [95% interval]", "from"], _primary_differences(found)))
    return blocks


def _primary_differences(found: DifferenceOfMetric) -> list[list[Cell]]:
    rows = [[Cell("over seeds (decides)"), Cell(bracketed(found, 5)), Cell(found.seeds)]]
    if found.over_items:
        items = f"{found.over_items.items:,} documents"
        rows.append([Cell("over documents"), Cell(bracketed(found.over_items, 5)), Cell(items)])
    if found.paired_by_seed:
        pairs = f"{found.paired_by_seed.pairs} pairs"
        rows.append([Cell("paired by seed"), Cell(bracketed(found.paired_by_seed, 5)), Cell(pairs)])
    detectable = decimal(found.minimum_detectable, 5)
    return [*rows, [Cell("minimum detectable effect"), Cell(detectable), Cell(found.seeds)]]


def _questions(result: ComparisonResult) -> list[Block]:
    blocks: list[Block] = []
    for number, one in enumerate(result.questions, start=1):
        blocks += [TextBlock(f"{number}. {one.question}", "strong"), ListBlock(one.answers)]
    return blocks


PROTOCOL = ("train_loss", "val_loss", "hellaswag", "ewok", "tokens_per_second", "grad_spread")


def _in_order_of_protocol(metrics: list[MetricResult]) -> list[MetricResult]:
    """The protocol's metrics first, in its order; then the others."""

    def place(metric: MetricResult) -> int:
        if metric.key == PRIMARY:
            return -1
        return next((number for number, name in enumerate(PROTOCOL) if metric.key.startswith(name)), len(PROTOCOL))

    return sorted(metrics, key=place)


def _stands_for(metric: MetricResult) -> str:
    """How many seeds and items stand behind a metric."""
    seeds = sorted({arm.seeds for arm in metric.arms.values()})
    text = f"{'–'.join(str(count) for count in dict.fromkeys((seeds[0], seeds[-1])))} seeds"
    return f"{text}, {metric.items:,} {metric.items_of}" if metric.items else text


def _means(metric: MetricResult, labels: list[str], digits: int) -> list[Cell]:
    return [Cell(_mean(metric.arms[label], digits)) for label in labels]


def _figures(result: ComparisonResult) -> list[Block]:
    labels = [arm.label for arm in result.compared_arms]
    metrics = _in_order_of_protocol(result.metrics)
    rows = [
        [Cell(metric.title), *_means(metric, labels, metric.digits), Cell(_stands_for(metric), "dim")]
        for metric in metrics
    ]
    crop = [Cell(share(arm.crop_fraction)) for arm in result.compared_arms]
    rows.append([Cell("crop fraction of the data"), *crop, Cell("ledger", "dim")])
    note = "Mean ± half of the 95% interval over seeds."
    blocks: list[Block] = [
        TextBlock(f"{metric.title}: {metric.warning}.", "bad") for metric in metrics if metric.warning
    ]
    blocks.append(TableBlock("", ["figure", *labels, "from"], rows, note))
    if result.pairs:
        blocks.append(_differences(result, metrics))
    return blocks


def _differences(result: ComparisonResult, metrics: list[MetricResult]) -> TableBlock:
    """The verdict's pair in all metrics."""
    main = result.pairs[0]
    rows = []
    for metric in metrics:
        found = main.metrics.get(metric.key)
        if found is not None:
            primary = metric.key == PRIMARY
            rows.append(
                [
                    Cell(metric.title),
                    Cell(bracketed(found, metric.digits), _tone(result.verdict if primary else found.finding)),
                    Cell(f"primary, p {_p(found.p_value)}") if primary else _test(metric, found),
                    Cell(decimal(found.minimum_detectable, metric.digits)),
                    Cell(_over_items(found.over_items, metric.digits)),
                ]
            )
    columns = ["figure", "over seeds [95% interval]", "test", "minimum detectable", "over items [95% interval]"]
    note = "Figures without a test describe and decide nothing. Over items: a paired bootstrap."
    return TableBlock(main.names, columns, rows, note)


def _test(metric: MetricResult, found: DifferenceOfMetric) -> Cell:
    """What a test of the family said."""
    if not metric.tested or not isinstance(found.p_holm, float):
        return Cell("none", "dim")
    return Cell(f"{found.finding}, p {_p(found.p_holm)} (Holm)", _tone(found.finding))


def _p(value: float | None) -> str:
    if value is None:
        return DASH
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def _pairs(result: ComparisonResult) -> list[Block]:
    tested = [metric for metric in _in_order_of_protocol(result.metrics) if metric.tested]
    rows = []
    for pair in result.pairs[1:]:
        for metric in tested:
            found = pair.metrics.get(metric.key)
            if found is None or (metric.key != PRIMARY and found.finding not in ("better", "worse")):
                continue
            rows.append(
                [
                    Cell(f"{pair.names} ({pair.question})" if pair.question else pair.names),
                    Cell(metric.title),
                    Cell(bracketed(found, metric.digits), _tone(found.finding)),
                    _test(metric, found),
                    Cell(decimal(found.minimum_detectable, metric.digits)),
                ]
            )
    note = "The primary figure of every other pair, and the tested figures in which the pair differs."
    columns = ["pair", "figure", "difference [95% interval]", "test", "minimum detectable"]
    return [TableBlock("", columns, rows, note, text_columns=2)]


def _equal(result: ComparisonResult) -> list[Block]:
    return [*_equal_tokens(result), *_equal_documents(result)]


def _equal_tokens(result: ComparisonResult) -> list[Block]:
    if not result.equal_tokens:
        return []
    rows = [
        [
            Cell(f"{row.step:,.0f}"),
            Cell(f"{row.tokens:,.0f}"),
            Cell(decimal(row.control, 5)),
            Cell(decimal(row.treatment, 5)),
            Cell(bracketed(row, 5)),
        ]
        for row in result.equal_tokens
    ]
    main = result.pairs[0]
    columns = ["step", "tokens predicted", main.control, main.treatment, "difference [95% interval]"]
    return [TableBlock("At equal tokens: bits per byte during training", columns, rows)]


def _equal_documents(result: ComparisonResult) -> list[Block]:
    rows = [
        [
            Cell(f"{view.treatment} minus {view.control}"),
            Cell(f"{view.documents:,}"),
            Cell(f"{view.treatment_step:,.0f} and {view.control_step:,.0f}"),
            Cell(bracketed(difference, 5)),
            Cell(difference.seeds),
        ]
        for view in result.equal_documents
        if (difference := view.difference) is not None
    ]
    note = "An arm that saw as many documents earlier is compared before its learning rate has come down."
    columns = ["pair", "documents seen", "at steps", "difference in bits per byte [95% interval]", "from"]
    problems = sorted({view.problem for view in result.equal_documents} - {""})
    unknown = [TextBlock(f"No view at equal documents: {problem}.", "dim") for problem in problems]
    return [TableBlock("At equal documents", columns, rows, note), *unknown]


def _places(result: ComparisonResult) -> list[Block]:
    return [ChartsBlock(place_charts(result))]


def _two_by_two(result: ComparisonResult) -> list[Block]:
    labels = [arm.label for arm in result.compared_arms]
    rows = [
        [Cell(metric.title), *_means(metric, labels, 4), Cell(_stands_for(metric), "dim")]
        for metric in result.metrics
        if metric.key.startswith("rows.")
    ]
    note = "Nats a token, mean ± half of the 95% interval over seeds. Read along a line: the same rows, another model."
    return [TableBlock("", ["val rows", *(f"trained on {label}" for label in labels), "from"], rows, note)]


def _benchmarks(result: ComparisonResult) -> list[Block]:
    by_measure: dict[str, dict[str, MetricResult]] = {}
    for metric in result.metrics:
        if metric.unit == "share right":
            measure, _, setting = metric.title.rpartition(", ")
            by_measure.setdefault(measure, {})[setting] = metric
    labels = [arm.label for arm in result.compared_arms]
    rows = [
        [
            Cell(f"{measure}, {setting}"),
            *_means(metric, labels, 4),
            Cell(decimal(metric.chance, 3)),
            Cell(_stands_for(metric), "dim"),
        ]
        for measure, settings in by_measure.items()
        for setting, metric in sorted(settings.items(), reverse=True)
    ]
    columns = ["benchmark", *labels, "chance", "from"]
    note = "Mean ± half of the 95% interval over seeds."
    return [ChartsBlock(benchmark_charts(result)), TableBlock("", columns, rows, note)]


def _over_items(found: OverItems | None, digits: int) -> str:
    """The difference over items; a dash where their scores are not known."""
    return bracketed(found, digits) if found else DASH


def headline(result: ComparisonResult) -> str:
    """The effect in one line, for the verdict's box: absolute, and relative to the control."""
    main = result.pairs[0].metrics.get(PRIMARY) if result.pairs else None
    if main is None or main.effect is None:
        return "no difference was measured"
    relative = result.primary.relative
    share_of_control = f" ({signed(100 * relative, 2)}%)" if isinstance(relative, float) else ""
    return f"{signed(main.effect, 5)} bits per byte{share_of_control}"
