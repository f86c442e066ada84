"""The charts of a report, as `report/drawing.py` draws them; made from what report.json holds and nothing else."""

from collections.abc import Sequence

from bosrow.compare.result import ArmCurve, ComparisonResult, GapCurve, LossByDistance, LossByPosition
from bosrow.compare.runs import PRIMARY
from bosrow.report.chart import COLOURS, Chart, ChartSeries, LineChart, PointChart


def _colours(result: ComparisonResult) -> dict[str, int]:
    """Each arm's colour, the same in every chart."""
    return {arm.label: number % COLOURS for number, arm in enumerate(result.arms)}


def _curves(result: ComparisonResult, curves: list[ArmCurve]) -> list[ChartSeries]:
    colours = _colours(result)
    return [
        ChartSeries(curve.arm, colours[curve.arm], curve.x, curve.mean, curve.low, curve.high)
        for curve in curves
        if len(curve.x) > 1
    ]


def _seeds(curves: list[ArmCurve]) -> str:
    """How many seeds stand behind the lines, in words."""
    counts = {curve.seeds for curve in curves}
    if len(counts) == 1:
        return f"{counts.pop()} seeds each"
    return ", ".join(f"{curve.seeds} seeds of {curve.arm}" for curve in curves)


def _gaps(result: ComparisonResult, gaps: list[GapCurve]) -> list[ChartSeries]:
    """A line for each pair, in the treatment's colour; the verdict's pair, the first, with its interval."""
    colours = _colours(result)
    used: set[int] = set()
    series: list[ChartSeries] = []
    for gap in gaps:
        if len(gap.x) < 2:
            continue
        colour = colours[gap.treatment]
        colour = colour if colour not in used else (len(colours) + len(series)) % COLOURS
        used.add(colour)
        name = f"{gap.treatment} minus {gap.control}"
        bounds: tuple[Sequence[float | None], ...] = ((), ()) if series else (gap.low, gap.high)
        series.append(ChartSeries(name, colour, gap.x, gap.mean, *bounds))
    return series


def seed_chart(result: ComparisonResult) -> list[Chart]:
    """Each seed's primary metric, and the mean with its interval."""
    colours = _colours(result)
    primary = result.metrics[0]
    series: list[ChartSeries] = []
    labels: list[str] = []
    for label, found in primary.arms.items():
        if found.mean is None:
            continue
        seeds = [run.metrics.get(PRIMARY) for run in result.runs if run.arm == label and run.group == "main"]
        finite = [value for value in seeds if value is not None]
        place = float(len(labels))
        series.append(ChartSeries("seed", colours[label], finite, [place] * len(finite)))
        series.append(ChartSeries("mean", colours[label], [found.mean], [place], [found.low], [found.high]))
        labels.append(label)
    if not labels:
        return []
    items = f"{primary.items:,} {primary.items_of}" if primary.items else ""
    return [
        PointChart(
            name="seeds",
            title="Each seed, the mean and its 95% interval",
            caption=f"Small marks: seeds. {items}. Lower is better.",
            x_label="held-out bits per byte",
            series=series,
            rows=labels,
        )
    ]


def gap_chart(result: ComparisonResult) -> list[Chart]:
    """The difference over steps."""
    gaps = result.curves.gap
    series = _gaps(result, gaps)
    if not series:
        return []
    return [
        LineChart(
            name="gap",
            title="The gap during training",
            caption=f"Band: 95% interval of the first pair, {_pair_seeds(gaps[0])}. Below zero is better.",
            x_label="optimizer step",
            y_label="difference, bits per byte",
            series=series,
            reference=0.0,
        )
    ]


def _pair_seeds(gap: GapCurve) -> str:
    control, treatment = gap.seeds
    return f"{treatment} + {control} seeds"


def plan_chart(result: ComparisonResult) -> list[Chart]:
    """What so many seeds can find."""
    power = result.to_decide
    if not power.plan or power.deviation is None:
        return []
    main = result.pairs[0].metrics.get(PRIMARY) if result.pairs else None
    series = ChartSeries(
        "found in 80% of cases",
        len(result.arms) % COLOURS,
        [point.seeds for point in power.plan],
        [point.detectable for point in power.plan],
    )
    return [
        LineChart(
            name="plan",
            title="What so many seeds can find",
            caption=f"At the deviation seen, {power.deviation:.5f}. Dashed: the difference seen.",
            x_label="seeds an arm",
            y_label="difference, bits per byte",
            series=[series],
            log_x=True,
            reference=abs(main.effect) if main is not None and main.effect is not None else None,
        )
    ]


def training_charts(result: ComparisonResult) -> list[Chart]:
    """Losses, gradient norms and bits per byte over steps."""
    curves = result.curves
    wanted = [
        ("train_loss", curves.train_loss, "Training loss", "nats a token", "Each arm on its own rows."),
        ("primary", curves.primary, "Held-out bits per byte", "bits per byte", "The same documents for all arms."),
        ("grad_norm", curves.grad_norm, "Gradient norm before clipping", "L2 norm", "Means over stretches of steps."),
    ]
    return [
        LineChart(
            name=name,
            title=title,
            caption=f"{note} Bands: smallest to largest seed, {_seeds(own)}.",
            x_label="optimizer step",
            y_label=unit,
            series=series,
        )
        for name, own, title, unit, note in wanted
        if (series := _curves(result, own))
    ]


def place_charts(result: ComparisonResult) -> list[Chart]:
    """The loss by position in the row, for each val set, and by distance from the document's start, with gaps."""
    charts: list[Chart] = []
    for number, one in enumerate(result.curves.position):
        title = f"By position, on {one.policy} rows ({one.rows_of})"
        items = _counted(one.rows, "rows")
        charts += _loss_charts(result, one, f"position_{number}", title, "position in the row", items)
    distance = result.curves.distance
    if distance.series:
        title = "By distance from the document's start"
        items = _counted(distance.documents, "held-out documents")
        charts += _loss_charts(result, distance, "distance", title, "tokens from the start", items)
    return charts


def _counted(count: int | None, what: str) -> str:
    return f"{count:,} {what}" if count is not None else f"an unknown number of {what}"


def _loss_charts(
    result: ComparisonResult, found: LossByPosition | LossByDistance, name: str, title: str, x_label: str, items: str
) -> list[Chart]:
    charts: list[Chart] = []
    if series := _curves(result, found.series):
        charts.append(
            LineChart(
                name=name,
                title=title,
                caption=f"{items}; bands: smallest to largest seed, {_seeds(found.series)}.",
                x_label=x_label,
                y_label="nats a token",
                series=series,
                log_x=True,
            )
        )
    if gaps := _gaps(result, found.gaps):
        seeds = _pair_seeds(found.gaps[0])
        charts.append(
            LineChart(
                name=f"{name}_gap",
                title=f"{title}: gap",
                caption=f"{items}; band: 95% interval of the first pair, {seeds}, at each point alone.",
                x_label=x_label,
                y_label="difference, nats a token",
                series=gaps,
                log_x=True,
                reference=0.0,
            )
        )
    return charts


def benchmark_charts(result: ComparisonResult) -> list[Chart]:
    """Accuracies with and without BOS, a chart for each setting."""
    charts: list[Chart] = []
    for setting in ("with BOS", "without BOS"):
        metrics = [
            metric
            for metric in result.metrics
            if metric.unit == "share right" and metric.title.endswith(f", {setting}")
        ]
        series = []
        for number, (label, colour) in enumerate(_colours(result).items()):
            known = [(place, arm) for place, metric in enumerate(metrics) if (arm := metric.arms.get(label))]
            offset = (number - (len(result.arms) - 1) / 2) * 0.6 / max(len(result.arms), 1)
            points = [(arm.mean, place + offset, arm.low, arm.high) for place, arm in known if arm.mean is not None]
            if points:
                x, y, low, high = zip(*points, strict=True)
                series.append(ChartSeries(label, colour, x, y, low, high))
        if metrics:
            charts.append(
                PointChart(
                    name=f"benchmarks_{setting.replace(' ', '_').lower()}",
                    title=f"Accuracy {setting}",
                    caption="Mean and 95% interval over seeds; items in the table below.",
                    x_label="share right",
                    series=series,
                    rows=[metric.title.removesuffix(f", {setting}") for metric in metrics],
                    least=0.0,
                    most=1.0,
                )
            )
    return charts
