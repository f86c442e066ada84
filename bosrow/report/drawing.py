"""Draws charts as SVG, all kinds with the same axes, legend and colours.

Promise: text is escaped and keeps its size; colours are class names alone, so that a page with a strict content
security policy can style them (no style attribute, no script); lines differ by dashes and marks too, so that print in
grey can be read. Pure: numbers in, elements out.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple
from xml.etree.ElementTree import Element

from bosrow.report.axes import (
    BOTTOM,
    CHARACTER,
    HEIGHT,
    RIGHT,
    WIDTH,
    Mark,
    Scale,
    finite,
    grid_line,
    horizontal_axis,
    left_margin,
    log_ticks,
    padded,
    tick_texts,
    ticks,
    vertical_axis,
)
from bosrow.report.chart import COLOURS, BarChart, BinCounts, Chart, ChartSeries, LineChart, PointChart
from bosrow.report.numbers import short
from bosrow.report.svg import Box, image, line, rectangle, shape

LONGEST_LABEL = 24  # characters of the label of a row
LEGEND_LINE = 17  # pixels
Y_NAME = 27  # pixels above the plotted area, for the name of the vertical axis
TRANSIENT = 0.1  # of the x axis, whose values may leave the drawing at the top: a loss begins high
MARKED_POINTS = 24  # a line of more points has no marks
BROKEN_BAR = 2.5  # a bar more than this many times as high as all others is drawn broken
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "1 2", "12 4", "6 2 1 2")


def draw(chart: Chart) -> Element:
    """The chart without its title and caption."""
    match chart:
        case LineChart():
            return _lines(chart)
        case PointChart():
            return _points(chart)
        case BarChart():
            return _bars(chart)


class _Legend(NamedTuple):
    """Its shapes, and the height they take."""

    parts: list[Element]
    height: float


def _legend(entries: Sequence[tuple[str, Callable[[float, float], list[Element]]]]) -> _Legend:
    """Names, each behind a sample of 18 pixels that is drawn at (x, y), in as many lines as they need."""
    parts: list[Element] = []
    at, row = 4.0, 0
    for name, sample in entries:
        name = _shortened(name, 2 * LONGEST_LABEL)
        width = 34 + len(name) * CHARACTER
        if at > 4 and at + width > WIDTH - 4:
            at, row = 4.0, row + 1
        y = 12 + row * LEGEND_LINE
        parts += [*sample(at, y - 4), shape("text", x=at + 23, y=y, text=name)]
        at += width + 8
    return _Legend(parts, (row + 1) * LEGEND_LINE if entries else 0)


def _line_sample(colour: int) -> Callable[[float, float], list[Element]]:
    return lambda x, y: [_path(colour, line((x, y), (x + 18, y))), _mark(colour, x + 9, y, 3)]


def _bar_sample(colour: int) -> Callable[[float, float], list[Element]]:
    return lambda x, y: [rectangle(f"f{colour}", Box(x + 4, y - 6, 12, 12), corner=2)]


def _step_sample(colour: int) -> Callable[[float, float], list[Element]]:
    return lambda x, y: [_path(colour, line((x, y), (x + 18, y)), dashed=False)]


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _path(colour: int, d: str, *, dashed: bool = True) -> Element:
    dash = DASHES[colour % COLOURS] if dashed else ""
    return shape("path", class_=f"line c{colour}", stroke_dasharray=dash or None, d=d)


def _mark(colour: int, x: float, y: float, size: float, faint: bool = False) -> Element:
    """A mark whose form tells the series apart, as its colour does: disc, square, triangle, diamond, and again."""
    kind = f"f{colour}{' faint' if faint else ''}"
    match colour % 4:
        case 0:
            return shape("circle", class_=kind, cx=x, cy=y, r=size)
        case 1:
            return rectangle(kind, Box(x - size, y - size, 2 * size, 2 * size))
        case 2:
            corners = [(x, y - 1.2 * size), (x + 1.2 * size, y + size), (x - 1.2 * size, y + size)]
        case _:
            reach = 1.4 * size
            corners = [(x, y - reach), (x + reach, y), (x, y + reach), (x - reach, y)]
    return shape("path", class_=kind, d=line(*corners) + "Z")


def _lines(chart: LineChart) -> Element:
    legend = _legend([(one.name, _line_sample(one.colour)) for one in chart.series])
    top = legend.height + Y_NAME
    low, high = chart.y_range or _vertical_range(chart)
    marks = ticks(low, high)
    texts = [f"{value:.0%}" for value in marks] if chart.percent else tick_texts(marks)
    left = left_margin(texts)
    xs = [x for series in chart.series for x in series.x]
    ends = (min(xs, default=0.0), max(xs, default=1.0))
    ends = ends if ends[0] < ends[1] else padded(*ends)
    x = Scale(*ends, left, WIDTH - RIGHT, chart.log_x)
    y = Scale(low, high, HEIGHT - BOTTOM, top)
    x_marks = log_ticks(*ends) if chart.log_x else ticks(*ends, 4)
    parts = [*legend.parts, *vertical_axis(marks, texts, y, left, chart.y_label)]
    x_ticks = [Mark(x(value), text) for value, text in zip(x_marks, tick_texts(x_marks), strict=True)]
    parts += horizontal_axis(x_ticks, left, chart.x_label)
    inside = f"{chart.name}_inside"
    area = rectangle("inside", Box(left, top, WIDTH - RIGHT - left, HEIGHT - BOTTOM - top))
    parts.append(shape("clipPath", [area], id=inside))
    drawn = [] if chart.reference is None else [grid_line(left, y(chart.reference), "reference")]
    for draw_series in (_band, _line):
        drawn += [part for series in chart.series for part in draw_series(series, x, y)]
    parts.append(shape("g", drawn, clip_path=f"url(#{inside})"))
    return _chart(chart.title, parts)


def _vertical_range(chart: LineChart) -> tuple[float, float]:
    xs = [x for series in chart.series for x in series.x]
    left, right = min(xs), max(xs)
    settled = left + TRANSIENT * (right - left)
    shown: list[float] = []
    everything: list[float] = []
    for series in chart.series:
        for values in (series.y, series.low, series.high):
            everything += finite(values)
            shown += finite(y for x, y in zip(series.x, values, strict=False) if x >= settled)
    few = max(len(series.x) for series in chart.series) <= MARKED_POINTS
    if few or chart.log_x or chart.reference is not None:
        shown = everything
    if chart.reference is not None:
        shown = [*shown, chart.reference]
    return padded(min(shown), max(shown)) if shown else (0.0, 1.0)


def _segments(series: ChartSeries, *values: Sequence[float | None]) -> list[list[tuple[float, ...]]]:
    """Stretches of points of which x and all `values` are there."""
    found: list[list[tuple[float, ...]]] = [[]]
    for x, *rest in zip(series.x, *values, strict=True):
        known = finite(rest)
        if len(known) == len(rest):
            found[-1].append((x, *known))
        elif found[-1]:
            found.append([])
    return [segment for segment in found if segment]


def _band(series: ChartSeries, x: Scale, y: Scale) -> Iterator[Element]:
    if not series.low or not series.high:
        return
    paths = []
    for segment in _segments(series, series.low, series.high):
        there = [(x(at), y(high)) for at, _, high in segment]
        back = [(x(at), y(low)) for at, low, _ in reversed(segment)]
        paths.append(line(*there, *back) + "Z")
    if paths:
        yield shape("path", class_=f"band f{series.colour}", d="".join(paths))


def _line(series: ChartSeries, x: Scale, y: Scale) -> Iterator[Element]:
    segments = [[(x(at), y(value)) for at, value in segment] for segment in _segments(series, series.y)]
    if segments:
        marked = sum(map(len, segments)) <= MARKED_POINTS
        marks = [_mark(series.colour, *point, 2.6) for segment in segments for point in segment] if marked else []
        path = _path(series.colour, "".join(line(*segment) for segment in segments))
        yield shape("g", [path, *marks], title=series.name)


def _points(chart: PointChart) -> Element:
    explained = {series.name for series in chart.series} <= {"seed", "mean"}
    legend = _legend([] if explained else [(one.name, _line_sample(one.colour)) for one in chart.series])
    labels = [_shortened(row, LONGEST_LABEL) for row in chart.rows]
    left = left_margin(labels)
    each = 34 if len(labels) > 4 else 46
    top = legend.height + 8
    height = top + each * len(labels) + BOTTOM
    values = [value for one in chart.series for part in (one.x, one.low, one.high) for value in finite(part)]
    low, high = padded(min(values), max(values)) if values else (0.0, 1.0)
    low, high = max(low, chart.least), min(high, chart.most)
    x = Scale(low, high, left, WIDTH - RIGHT)
    parts = list(legend.parts)
    for place, label in enumerate(labels):
        y = top + each * (place + 0.5)
        parts += [grid_line(left, y), shape("text", x=left - 6, y=y + 4, text_anchor="end", text=label)]
    marks = ticks(low, high, 4)
    x_ticks = [Mark(x(value), text) for value, text in zip(marks, tick_texts(marks), strict=True)]
    parts += horizontal_axis(x_ticks, left, chart.x_label, height)
    for series in chart.series:
        seed = series.name == "seed"
        nothing = [None] * len(series.x)
        for value, row, start, end in zip(
            series.x, series.y, series.low or nothing, series.high or nothing, strict=True
        ):
            y = top + each * ((row or 0.0) + 0.5) + (11 if seed else 0)
            if start is not None and end is not None:
                reach = line((x(max(start, low)), y), (x(min(end, high)), y))
                parts.append(shape("path", class_=f"bar c{series.colour}", d=reach))
            parts.append(_mark(series.colour, x(value), y, 2.6 if seed else 4, faint=seed))
    return _chart(chart.title, parts, height)


def _bars(chart: BarChart) -> Element:
    entries = [(one.name, _bar_sample(one.colour)) for one in chart.stacked]
    entries += [(chart.steps.name, _step_sample(chart.steps.colour))] if chart.steps else []
    legend = _legend(entries if len(entries) > 1 else [])
    top = legend.height + Y_NAME
    totals = [sum(counts) for counts in zip(*(one.counts for one in chart.stacked), strict=True)]
    highest, broken = _highest(totals, chart.steps.counts if chart.steps else ())
    marks = ticks(0.0, highest or 1.0)
    texts = tick_texts(marks)
    left = left_margin(texts)
    y = Scale(0.0, highest or 1.0, HEIGHT - BOTTOM, top)
    x = Scale(0.0, 1.0, left, WIDTH - RIGHT)
    edges = [x(place / max(1, len(totals))) for place in range(len(totals) + 1)]
    parts = [*legend.parts, *vertical_axis(marks, texts, y, left, chart.y_label)]
    parts += [_stack(chart, place, edges, y, highest) for place in range(len(totals))]
    parts += horizontal_axis([Mark(x(tick.place), tick.label) for tick in chart.ticks], left, chart.x_label)
    if broken:
        parts += _break(totals.index(max(totals)), totals, edges, top)
    if chart.steps:
        parts.append(_steps(chart.steps, edges, y, highest))
    if chart.mark:
        at, right = x(chart.mark.place), chart.mark.place > 0.5
        anchor, text_x = ("end", at - 4) if right else ("start", at + 4)
        parts.append(shape("path", class_="mark", d=line((at, top), (at, HEIGHT - BOTTOM))))
        parts.append(shape("text", x=text_x, y=top + 9, text_anchor=anchor, text=chart.mark.label))
    return _chart(chart.title, parts)


def _highest(totals: list[float], steps: Sequence[float]) -> tuple[float, bool]:
    """The top of the vertical axis, and whether the highest bar goes beyond it."""
    highest = max([*totals, *steps], default=0)
    others = max([value for value in totals if value != highest] + list(steps), default=0)
    broken = others > 0 and highest > BROKEN_BAR * others
    return (others * 1.3 if broken else highest * 1.08), broken


def _stack(chart: BarChart, place: int, edges: list[float], y: Scale, highest: float) -> Element:
    """The bars of one bin."""
    told = ", ".join(f"{one.name} {one.counts[place]:,.0f}" for one in chart.stacked)
    parts, base = [], 0.0
    left, right = edges[place], edges[place + 1]
    for one in chart.stacked:
        end = min(base + one.counts[place], highest)
        if end > base:
            box = Box(left + 0.5, y(end), max(right - left - 1, 0.5), y(base) - y(end))
            parts.append(rectangle(f"f{one.colour}", box))
        base += one.counts[place]
    return shape("g", parts, title=f"{chart.bins[place]}: {told}")


def _break(place: int, totals: list[float], edges: list[float], top: float) -> list[Element]:
    """A gap through the bar that is too high, and its value beside it."""
    left, right = edges[place], edges[place + 1]
    anchor, at = ("start", right + 4) if place < len(totals) / 2 else ("end", left - 4)
    return [
        shape("path", class_="gap", d=line((left - 1, top + 12), (right + 1, top + 7))),
        shape("text", x=at, y=top + 21, text_anchor=anchor, text=short(totals[place])),
    ]


def _steps(steps: BinCounts, edges: list[float], y: Scale, highest: float) -> Element:
    points = []
    for count, (left, right) in zip(steps.counts, pairwise(edges), strict=True):
        height = y(min(count, highest))
        points += [(left, height), (right, height)]
    return shape("g", [_path(steps.colour, line(*points), dashed=False)], title=steps.name)


def _chart(title: str, parts: list[Element], height: float = HEIGHT) -> Element:
    return image(parts, WIDTH, height, title, "chart")
