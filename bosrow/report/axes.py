"""Axes of charts: round numbers for their ticks, scales from values to pixels, and the frame around what is drawn."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

from bosrow.report.svg import shape

WIDTH, HEIGHT = 380, 258  # narrower than a phone's screen, so that pages do not shrink the text
RIGHT, BOTTOM = 12, 40  # margins around the plotted area
CHARACTER = 6.6  # pixels, somewhat more than the mean width of a letter


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
    """Powers of ten, or of two if those are few, inside [low, high]; at most 7.

    >>> log_ticks(1, 1000), log_ticks(3, 20)
    ([1.0, 10.0, 100.0, 1000.0], [4.0, 8.0, 16.0])
    """
    tens = [10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    if len(tens) >= 3:
        return tens
    twos = [2.0**power for power in range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)]
    return twos[:: max(1, math.ceil(len(twos) / 6))] or [low]


def tick_texts(values: list[float]) -> list[str]:
    """The values with as many digits as tell them apart; thousands as k, millions as M, billions as G.

    >>> tick_texts([0.0, 0.25, 0.5]), tick_texts([0.0, 5000.0, 10000.0]), tick_texts([500.0, 750.0, 1000.0])
    (['0', '0.25', '0.5'], ['0', '5k', '10k'], ['500', '750', '1000'])
    """
    largest = max((abs(value) for value in values), default=0)
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        short = all(round(value / unit, 1) == value / unit for value in values)
        if largest >= 5 * unit or (short and largest >= 1.5 * unit):
            return [f"{value / unit:g}{name}" if value else "0" for value in values]
    return [f"{value:g}" for value in values]


class Scale:
    """From values to pixels, linear or logarithmic."""

    def __init__(self, low: float, high: float, start: float, end: float, log: bool = False) -> None:
        self.log = log
        self.low, self.high = (math.log(low), math.log(high)) if log else (low, high)
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        value = math.log(value) if self.log else value
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def finite(values: Iterable[float | None]) -> list[float]:
    """Those of `values` that are numbers."""
    return [value for value in values if value is not None and math.isfinite(value)]


def padded(low: float, high: float) -> tuple[float, float]:
    """A range somewhat larger than [low, high], and never empty."""
    room = (high - low) * 0.06 or abs(high) * 0.05 or 1.0
    return low - room, high + room


def left_margin(labels: Iterable[str]) -> float:
    """The pixels that labels left of the plotted area take."""
    return 12 + CHARACTER * max(map(len, labels), default=1)


def vertical_axis(marks: list[float], texts: list[str], y: Scale, left: float, name: str) -> list[Element]:
    """Grid lines with their values, and the axis's name above them."""
    parts = [shape("text", class_="soft", x=4, y=y.end - 13, text=name)]
    for value, text in zip(marks, texts, strict=True):
        parts.append(grid_line(left, y(value)))
        parts.append(shape("text", class_="soft", x=left - 5, y=y(value) + 4, text_anchor="end", text=text))
    return parts


def grid_line(left: float, y: float, kind: str = "grid") -> Element:
    """A horizontal line through the plotted area."""
    return shape("path", class_=kind, d=f"M{left:.1f} {y:.1f}H{WIDTH - RIGHT}")


class Mark(NamedTuple):
    """A tick of the horizontal axis, `x` pixels from the left."""

    x: float
    label: str


def horizontal_axis(marks: Sequence[Mark], left: float, name: str, height: float = HEIGHT) -> list[Element]:
    """The axis at the bottom with its ticks and its name."""
    bottom = height - BOTTOM
    parts = [grid_line(left, bottom, "axis")]
    for x, label in marks:
        half = len(label) * CHARACTER / 2
        at = min(max(x, left + half - 8), WIDTH - half - 2)
        parts.append(shape("path", class_="axis", d=f"M{x:.1f} {bottom}v4"))
        parts.append(shape("text", class_="soft", x=at, y=bottom + 16, text_anchor="middle", text=label))
    parts.append(shape("text", class_="soft", x=WIDTH - RIGHT, y=height - 7, text_anchor="end", text=name))
    return parts
