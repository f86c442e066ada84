"""The charts of a report, as specifications that `chart` draws; made from the content of report.json alone."""

from typing import Any

from bosrow.compare.metrics.table import PRIMARY
from bosrow.report.blocks import Chart, Series

Content = dict[str, Any]


def numbers_of_arms(content: Content) -> dict[str, int]:
    """Each arm's number, by which its colour goes in every chart."""
    return {arm["label"]: number for number, arm in enumerate(content["arms"])}


def _lines(content: Content, series: list[Content]) -> list[Series]:
    colours = numbers_of_arms(content)
    return [
        Series(one["arm"], colours[one["arm"]], one["x"], one["mean"], one["low"], one["high"])
        for one in series
        if len(one["x"]) > 1
    ]


def _seeds(series: list[Content]) -> str:
    """How many seeds stand behind the lines, in words."""
    counts = {one["seeds"] for one in series}
    if len(counts) == 1:
        return f"{counts.pop()} seeds each"
    return ", ".join(f"{one['seeds']} seeds of {one['arm']}" for one in series)


def _gaps(content: Content, gaps: list[Content]) -> list[Series]:
    """A line for each pair, in the treatment's colour; the verdict's pair, the first, with its interval."""
    colours = numbers_of_arms(content)
    gaps = [gap for gap in gaps if len(gap["x"]) > 1]
    used: set[int] = set()
    series = []
    for place, gap in enumerate(gaps):
        colour = colours[gap["treatment"]]
        colour = colour if colour not in used else len(colours) + place
        used.add(colour)
        bounds = (gap["low"], gap["high"]) if place == 0 else ([], [])
        series.append(Series(f"{gap['treatment']} minus {gap['control']}", colour, gap["x"], gap["mean"], *bounds))
    return series


def seed_chart(content: Content) -> list[Chart]:
    """Each seed's primary figure, and the mean with its interval."""
    colours = numbers_of_arms(content)
    primary = content["figures"][0]
    series: list[Series] = []
    labels: list[str] = []
    for label, found in primary["arms"].items():
        if found["mean"] is None:
            continue
        seeds = [
            run["figures"].get(PRIMARY) for run in content["runs"] if run["arm"] == label and run["group"] == "main"
        ]
        finite = [value for value in seeds if value is not None]
        place = float(len(labels))
        series.append(Series("seed", colours[label], finite, [place] * len(finite)))
        series.append(Series("mean", colours[label], [found["mean"]], [place], [found["low"]], [found["high"]]))
        labels.append(label)
    if not labels:
        return []
    items = f"{primary['items']:,} {primary['items_of']}" if primary["items"] else ""
    return [
        Chart(
            name="seeds",
            title="Each seed, the mean and its 95% interval",
            caption=f"Small marks: seeds. {items}. Lower is better.",
            x_label="held-out bits per byte",
            y_label="",
            series=series,
            kind="dots",
            rows=labels,
        )
    ]


def gap_chart(content: Content) -> list[Chart]:
    """The difference over steps."""
    gaps = content["curves"]["gap"]
    series = _gaps(content, gaps)
    if not series:
        return []
    return [
        Chart(
            name="gap",
            title="The gap during training",
            caption=f"Band: 95% interval of the first pair, {_pair_seeds(gaps[0])}. Below zero is better.",
            x_label="optimizer step",
            y_label="difference, bits per byte",
            series=series,
            reference=0.0,
        )
    ]


def _pair_seeds(gap: Content) -> str:
    return f"{gap['seeds'][1]} + {gap['seeds'][0]} seeds"


def plan_chart(content: Content) -> list[Chart]:
    """What so many seeds can find."""
    plan = content["to_decide"]["plan"]
    if not plan:
        return []
    x, y = [point["seeds"] for point in plan], [point["detectable"] for point in plan]
    effect = content["primary"].get("effect")
    series = [Series("found in 80% of cases", len(content["arms"]), x, y)]
    return [
        Chart(
            name="plan",
            title="What so many seeds can find",
            caption=f"At the deviation seen, {content['to_decide']['deviation']:.5f}. Dashed: the difference seen.",
            x_label="seeds an arm",
            y_label="difference, bits per byte",
            series=series,
            log_x=True,
            reference=abs(effect) if effect is not None else None,
        )
    ]


def training_charts(content: Content) -> list[Chart]:
    """Losses, gradient norms and bits per byte over steps."""
    curves = content["curves"]
    wanted = [
        ("train_loss", "Training loss", "nats a token", "Each arm on its own rows."),
        ("primary", "Held-out bits per byte", "bits per byte", "The same documents for all arms."),
        ("grad_norm", "Gradient norm before clipping", "L2 norm", "Means over stretches of steps."),
    ]
    return [
        Chart(
            name=name,
            title=title,
            caption=f"{note} Bands: smallest to largest seed, {_seeds(curves[name])}.",
            x_label="optimizer step",
            y_label=unit,
            series=lines,
        )
        for name, title, unit, note in wanted
        if (lines := _lines(content, curves[name]))
    ]


def place_charts(content: Content) -> list[Chart]:
    """The loss by position in the row, for each val set, and by distance from the document's start, with gaps."""
    charts = []
    for number, one in enumerate(content["curves"]["position"]):
        what = f"on {one['policy']} rows ({one['rows_of']})"
        charts += _place(
            content,
            one,
            f"position_{number}",
            f"By position, {what}",
            "position in the row",
            _counted(one["rows"], "rows"),
        )
    distance = content["curves"]["distance"]
    if distance["series"]:
        items = _counted(distance["documents"], "held-out documents")
        charts += _place(
            content, distance, "distance", "By distance from the document's start", "tokens from the start", items
        )
    return charts


def _counted(count: int | None, what: str) -> str:
    return f"{count:,} {what}" if count is not None else f"an unknown number of {what}"


def _place(content: Content, found: Content, name: str, title: str, x_label: str, items: str) -> list[Chart]:
    charts = []
    if lines := _lines(content, found["series"]):
        caption = f"{items}; bands: smallest to largest seed, {_seeds(found['series'])}."
        charts.append(Chart(name, title, caption, x_label, "nats a token", lines, log_x=True))
    if gaps := _gaps(content, found["gaps"]):
        caption = (
            f"{items}; band: 95% interval of the first pair, {_pair_seeds(found['gaps'][0])}, at each point alone."
        )
        charts.append(
            Chart(
                f"{name}_gap",
                f"{title}: gap",
                caption,
                x_label,
                "difference, nats a token",
                gaps,
                log_x=True,
                reference=0.0,
            )
        )
    return charts


def benchmark_charts(content: Content) -> list[Chart]:
    """Accuracies with and without BOS, a chart for each setting."""
    colours = numbers_of_arms(content)
    charts = []
    for setting in ("with BOS", "without BOS"):
        found = [
            one for one in content["figures"] if one["unit"] == "share right" and one["title"].endswith(f", {setting}")
        ]
        labels = [one["title"].removesuffix(f", {setting}") for one in found]
        series = []
        for label, colour in colours.items():
            known = [(place, one["arms"][label]) for place, one in enumerate(found) if one["arms"].get(label)]
            known = [(place, estimate) for place, estimate in known if estimate["mean"] is not None]
            offset = (colour - (len(colours) - 1) / 2) * 0.6 / max(len(colours), 1)
            series.append(
                Series(
                    label,
                    colour,
                    [estimate["mean"] for _, estimate in known],
                    [place + offset for place, _ in known],
                    [estimate["low"] for _, estimate in known],
                    [estimate["high"] for _, estimate in known],
                )
            )
        if found:
            charts.append(
                Chart(
                    name=f"benchmarks_{setting.replace(' ', '_').lower()}",
                    title=f"Accuracy {setting}",
                    caption="Mean and 95% interval over seeds; items in the table below.",
                    x_label="share right",
                    y_label="",
                    series=[one for one in series if one.x],
                    kind="dots",
                    rows=labels,
                    least=0.0,
                    most=1.0,
                )
            )
    return charts
