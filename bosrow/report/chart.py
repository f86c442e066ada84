"""What a chart shows, in three kinds: lines over x, rows of points, and bars in bins. `drawing` draws all of them.

A colour is a number: 0 to 7 tell arms or things apart, here and in the style sheet (`templates/chart.css`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

COLOURS = 8
ADDED_BOS, PALE_RED = 8, 9  # two colours more, which no arm has


@dataclass(frozen=True)
class ChartSeries:
    """A line, or points: y over x, with a band or error bars from `low` to `high`."""

    name: str
    colour: int
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()


@dataclass(frozen=True)
class BinCounts:
    """A number for each bin."""

    name: str
    colour: int
    counts: Sequence[float]


class Tick(NamedTuple):
    """A label below the horizontal axis; `place` is 0 at its left end and 1 at its right end."""

    place: float
    label: str


@dataclass(frozen=True, kw_only=True)
class LineChart:
    """Lines with bands. A few points get marks. `reference` is a dashed horizontal line.

    `y_range` fixes the vertical axis; with `percent` its values are shares.
    """

    name: str
    title: str
    caption: str
    x_label: str
    y_label: str
    series: Sequence[ChartSeries]
    log_x: bool = False
    reference: float | None = None
    y_range: tuple[float, float] | None = None
    percent: bool = False


@dataclass(frozen=True, kw_only=True)
class PointChart:
    """Points with error bars, in rows: the y of a point is its row, counted from 0. x stays in [least, most].

    The series "seed" is drawn small and faint, below "mean"; these two need no legend.
    """

    name: str
    title: str
    caption: str
    x_label: str
    series: Sequence[ChartSeries]
    rows: Sequence[str]
    least: float = -math.inf
    most: float = math.inf


@dataclass(frozen=True, kw_only=True)
class BarChart:
    """Bars in equal bins, `stacked` one on the other; `bins` say what each bin is, `ticks` stand below them.

    `steps` is a line of steps over the bars, `mark` a dashed vertical line with its name. One bar that is far higher
    than all others is drawn broken, with its value beside it.
    """

    name: str
    title: str
    caption: str
    x_label: str
    y_label: str
    stacked: Sequence[BinCounts]
    bins: Sequence[str]
    ticks: Sequence[Tick]
    steps: BinCounts | None = None
    mark: Tick | None = None


Chart = LineChart | PointChart | BarChart
