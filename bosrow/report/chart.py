"""Draws a `Chart` as SVG text: lines with bands, or rows of points with bars.

Promise: all text is escaped and keeps its size (the drawing is narrow enough for a phone, so pages never shrink it);
colours are class names alone, and lines differ by dashes too, so that print in grey can be read. Pure: numbers in,
text out.
"""

import math
from collections.abc import Iterable
from html import escape

from bosrow.report.blocks import Chart, Series

WIDTH, HEIGHT = 400, 270
RIGHT, BOTTOM = 14, 40
CHARACTER = 6.6  # pixels, somewhat more than the mean width of a letter of the text
LONGEST_LABEL = 24  # characters of a row's or an arm's name
COLOURS = 8
LEGEND_LINE = 17
TRANSIENT = 0.1  # of the x axis, whose values may leave the drawing at the top: a loss begins high
MARKED_POINTS = 24

STYLE = """
svg.chart { width: 100%; height: auto; display: block; }
svg.chart text { font: 11.5px system-ui, sans-serif; fill: var(--ink); }
svg.chart .soft { fill: var(--soft); }
svg.chart .strong { font-weight: 600; }
svg.chart .grid { stroke: var(--rule); stroke-width: 1; fill: none; }
svg.chart .axis { stroke: var(--soft); stroke-width: 1; fill: none; }
svg.chart .reference { stroke: var(--ink); stroke-width: 1.2; stroke-dasharray: 5 4; fill: none; }
svg.chart .line { fill: none; stroke-width: 1.9; stroke-linejoin: round; }
svg.chart .band { stroke: none; opacity: 0.17; }
svg.chart .bar { fill: none; stroke-width: 2.2; }
svg.chart .faint { opacity: 0.5; }
""" + "\n".join(
    f"svg.chart .c{number} {{ stroke: var(--c{number}); }} svg.chart .f{number} {{ fill: var(--c{number}); }}"
    for number in range(COLOURS)
)
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "1 2", "12 4", "6 2 1 2")


def draw(chart: Chart) -> str:
    """The chart without its title and caption."""
    if chart.kind == "dots":
        return _dots(chart)
    return _lines(chart)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers inside [low, high], at most `most` + 1 of them.

    >>> ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = (high - low) / most
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(step * number, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, of two if those are few, inside [low, high]; at most 7."""
    tens = [10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    if len(tens) >= 3:
        return tens
    twos = [2.0**power for power in range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)]
    return twos[:: max(1, math.ceil(len(twos) / 6))] or [low]


def tick_texts(values: list[float]) -> list[str]:
    """The values with as many digits as tell them apart; thousands as k, millions as M.

    >>> tick_texts([0.0, 0.25, 0.5]), tick_texts([0.0, 5000.0, 10000.0])
    (['0', '0.25', '0.5'], ['0', '5k', '10k'])
    """
    largest = max((abs(value) for value in values), default=0)
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if largest >= 5 * unit:
            return [f"{value / unit:g}{name}" if value else "0" for value in values]
    return [f"{value:g}" for value in values]


class _Scale:
    """From values to pixels, linear or logarithmic."""

    def __init__(self, low: float, high: float, start: float, end: float, log: bool = False) -> None:
        self.log = log
        self.low, self.high = (math.log(low), math.log(high)) if log else (low, high)
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        value = math.log(value) if self.log else value
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def _finite(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def _padded(low: float, high: float, share: float = 0.06) -> tuple[float, float]:
    """A little more than [low, high], and never nothing."""
    room = (high - low) * share or abs(high) * 0.05 or 1.0
    return low - room, high + room


def _vertical_range(chart: Chart) -> tuple[float, float]:
    xs = [x for series in chart.series for x in series.x]
    left, right = min(xs), max(xs)
    settled = math.exp(math.log(left) + TRANSIENT * math.log(right / left)) if chart.log_x else 0.0
    settled = settled if chart.log_x else left + TRANSIENT * (right - left)
    shown, everything = [], []
    for series in chart.series:
        for values in (series.y, series.low, series.high):
            everything += _finite(values)
            shown += _finite(y for x, y in zip(series.x, values, strict=False) if x >= settled)
    few = max(len(series.x) for series in chart.series) <= MARKED_POINTS
    if few or chart.log_x or chart.reference is not None:
        shown = everything
    if chart.reference is not None:
        shown = [*shown, chart.reference]
    return _padded(min(shown), max(shown)) if shown else (0.0, 1.0)


def _lines(chart: Chart) -> str:
    legend, top = _legend(chart.series)
    low, high = _vertical_range(chart)
    marks = ticks(low, high)
    texts = tick_texts(marks)
    left = 12 + CHARACTER * max(map(len, texts))
    top += 27  # the vertical axis's name
    xs = [x for series in chart.series for x in series.x]
    x = _Scale(min(xs), max(xs), left, WIDTH - RIGHT, chart.log_x)
    y = _Scale(low, high, HEIGHT - BOTTOM, top)
    parts = [*legend, f'<text class="soft" x="4" y="{top - 13}">{escape(chart.y_label)}</text>']
    for value, text in zip(marks, texts, strict=True):
        parts.append(f'<path class="grid" d="M{left:.1f} {y(value):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="soft" x="{left - 5:.1f}" y="{y(value) + 4:.1f}" text-anchor="end">{text}</text>')
    parts += _horizontal_axis(chart, x, min(xs), max(xs), left)
    inside = f"{chart.name}_inside"
    parts.append(
        f'<clipPath id="{inside}"><rect x="{left:.1f}" y="{top}" width="{WIDTH - RIGHT - left:.1f}" '
        f'height="{HEIGHT - BOTTOM - top}"/></clipPath><g clip-path="url(#{inside})">'
    )
    if chart.reference is not None:
        parts.append(f'<path class="reference" d="M{left:.1f} {y(chart.reference):.1f}H{WIDTH - RIGHT}"/>')
    parts += [_band(series, x, y) for series in chart.series]
    parts += [_line(series, x, y) for series in chart.series]
    return _svg(chart, [*parts, "</g>"], HEIGHT)


def _horizontal_axis(chart: Chart, x: _Scale, low: float, high: float, left: float, height: int = HEIGHT) -> list[str]:
    marks = log_ticks(low, high) if chart.log_x else ticks(low, high, 4)
    bottom = height - BOTTOM
    parts = [f'<path class="axis" d="M{left:.1f} {bottom}H{WIDTH - RIGHT}"/>']
    for value, text in zip(marks, tick_texts(marks), strict=True):
        half = len(text) * CHARACTER / 2
        at = min(max(x(value), left + half - 8), WIDTH - half - 2)
        parts.append(f'<path class="axis" d="M{x(value):.1f} {bottom}v4"/>')
        parts.append(f'<text class="soft" x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">{text}</text>')
    parts.append(
        f'<text class="soft" x="{WIDTH - RIGHT}" y="{height - 7}" text-anchor="end">{escape(chart.x_label)}</text>'
    )
    return parts


def _segments(series: Series, values: list[list[float | None]]) -> list[list[tuple[float, ...]]]:
    """Stretches of points of which x and all `values` are there."""
    found: list[list[tuple[float, ...]]] = [[]]
    for x, *rest in zip(series.x, *values, strict=True):
        if len(_finite(rest)) == len(rest):
            found[-1].append((x, *_finite(rest)))
        elif found[-1]:
            found.append([])
    return [segment for segment in found if segment]


def _band(series: Series, x: _Scale, y: _Scale) -> str:
    if not series.low or not series.high:
        return ""
    paths = []
    for segment in _segments(series, [series.low, series.high]):
        there = [f"{x(at):.1f} {y(high):.1f}" for at, _, high in segment]
        back = [f"{x(at):.1f} {y(low):.1f}" for at, low, _ in reversed(segment)]
        paths.append("M" + "L".join(there + back) + "Z")
    return f'<path class="band f{series.arm % COLOURS}" d="{"".join(paths)}"/>' if paths else ""


def _line(series: Series, x: _Scale, y: _Scale) -> str:
    segments = _segments(series, [series.y])
    path = "".join("M" + "L".join(f"{x(at):.1f} {y(value):.1f}" for at, value in segment) for segment in segments)
    if not path:
        return ""
    text = f'<path class="line c{series.arm % COLOURS}"{_dash(series.arm)} d="{path}"/>'
    if sum(map(len, segments)) <= MARKED_POINTS:
        text += "".join(_mark(series.arm, x(at), y(value), 2.6) for segment in segments for at, value in segment)
    return f"<g><title>{escape(series.name)}</title>{text}</g>"


def _dash(arm: int) -> str:
    dash = DASHES[arm % COLOURS]
    return f' stroke-dasharray="{dash}"' if dash else ""


def _mark(arm: int, x: float, y: float, size: float, faint: bool = False) -> str:
    """A mark whose form tells the arm, as its colour does: disc, square, triangle, diamond, and again."""
    kind = f'class="f{arm % COLOURS}{" faint" if faint else ""}"'
    match arm % 4:
        case 0:
            return f'<circle {kind} cx="{x:.1f}" cy="{y:.1f}" r="{size:.1f}"/>'
        case 1:
            return (
                f'<rect {kind} x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size:.1f}" height="{2 * size:.1f}"/>'
            )
        case 2:
            high, low = y - 1.2 * size, y + size
            return f'<path {kind} d="M{x:.1f} {high:.1f}L{x + 1.2 * size:.1f} {low:.1f}H{x - 1.2 * size:.1f}Z"/>'
        case _:
            reach = 1.4 * size
            corners = f"{reach:.1f} {reach:.1f} {-reach:.1f} {reach:.1f} {-reach:.1f} {-reach:.1f}"
            return f'<path {kind} d="M{x:.1f} {y - reach:.1f}l{corners}Z"/>'


def _legend(series: list[Series]) -> tuple[list[str], int]:
    """Marks and names in as many lines as they need, and the height they take. None for a single series of its own."""
    parts, at, line = [], 4.0, 0
    for one in series:
        name = _shortened(one.name, 2 * LONGEST_LABEL)
        width = 34 + len(name) * CHARACTER
        if at > 4 and at + width > WIDTH - 4:
            at, line = 4.0, line + 1
        y = 12 + line * LEGEND_LINE
        parts.append(f'<path class="line c{one.arm % COLOURS}"{_dash(one.arm)} d="M{at:.1f} {y - 4}h18"/>')
        parts.append(_mark(one.arm, at + 9, y - 4, 3))
        parts.append(f'<text x="{at + 23:.1f}" y="{y}">{escape(name)}</text>')
        at += width + 8
    return parts, (line + 1) * LEGEND_LINE if series else 0


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _dots(chart: Chart) -> str:
    """Points with bars, each row with its label on the left; a series' y is the row, counted from 0."""
    names = {series.name for series in chart.series}
    legend, top = _legend(chart.series) if not names <= {"seed", "mean"} else ([], 0)
    labels = [_shortened(row, LONGEST_LABEL) for row in chart.rows]
    left = 10 + CHARACTER * max(map(len, labels))
    each = 34 if len(labels) > 4 else 46
    height = top + 8 + each * len(labels) + BOTTOM
    values = [
        value for series in chart.series for part in (series.x, series.low, series.high) for value in _finite(part)
    ]
    low, high = _padded(min(values), max(values)) if values else (0.0, 1.0)
    low, high = max(low, chart.least), min(high, chart.most)
    x = _Scale(low, high, left, WIDTH - RIGHT)
    middle = [top + 8 + each * (place + 0.5) for place in range(len(labels))]
    parts = list(legend)
    for label, y in zip(labels, middle, strict=True):
        parts.append(f'<path class="grid" d="M{left:.1f} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{left - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{escape(label)}</text>')
    parts += _horizontal_axis(chart, x, low, high, left, height)
    for series in chart.series:
        seed = series.name == "seed"
        bounds = [series.low or [None] * len(series.x), series.high or [None] * len(series.x)]
        for value, row, start, end in zip(series.x, series.y, *bounds, strict=True):
            y = top + 8 + each * ((row or 0.0) + 0.5) + (11 if seed else 0)
            if start is not None and end is not None:
                reach = f"M{x(max(start, low)):.1f} {y:.1f}H{x(min(end, high)):.1f}"
                parts.append(f'<path class="bar c{series.arm % COLOURS}" d="{reach}"/>')
            parts.append(_mark(series.arm, x(value), y, 2.6 if seed else 4, faint=seed))
    return _svg(chart, parts, height)


def _svg(chart: Chart, parts: list[str], height: int) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(chart.title)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )
