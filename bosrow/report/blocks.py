"""A report as plain blocks, which a page and a Markdown file show alike: neither says what the other does not."""

import math
from dataclasses import dataclass, field
from typing import Literal

Tone = Literal["", "good", "bad", "dim", "strong"]


@dataclass(frozen=True)
class Cell:
    """Text of a table's cell; `tone` colours it on the page."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True)
class Table:
    """Cells in rows under `columns`; the first column is the rows' name. `note` stands below.

    The first `text_columns` are words, the others numbers.
    """

    title: str
    columns: list[str]
    rows: list[list[Cell]]
    note: str = ""
    text_columns: int = 1


@dataclass(frozen=True)
class Text:
    """A paragraph; tone `bad` is a warning."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    items: list[str]


@dataclass(frozen=True)
class Series:
    """A line, or points, of a chart: y over x, a band or error bars from `low` to `high`; `arm` picks the colour."""

    name: str
    arm: int
    x: list[float]
    y: list[float | None]
    low: list[float | None] = field(default_factory=list)
    high: list[float | None] = field(default_factory=list)


@dataclass(frozen=True)
class Chart:
    """A figure. Kind `lines` draws lines with bands; `dots` draws points with bars, one row for each label of `rows`.

    `caption` says how many seeds and items stand behind it. Nothing is drawn beyond `least` and `most` in x.
    """

    name: str
    title: str
    caption: str
    x_label: str
    y_label: str
    series: list[Series]
    kind: Literal["lines", "dots"] = "lines"
    rows: list[str] = field(default_factory=list)
    log_x: bool = False
    reference: float | None = None
    least: float = -math.inf
    most: float = math.inf


@dataclass(frozen=True)
class Charts:
    """Charts that stand side by side where there is room."""

    charts: list[Chart]


Block = Table | Text | Items | Charts


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: list[Block]


@dataclass(frozen=True)
class Report:
    """What stands above the sections: the verdict, and why."""

    title: str
    verdict: str
    headline: str
    sentence: str
    reasons: list[str]
    caveats: list[str]
    decide: str
    sections: list[Section]
    footer: str
