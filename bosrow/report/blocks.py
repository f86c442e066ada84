"""A report as plain blocks, which a page and a Markdown file show alike: neither says what the other does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bosrow.report.chart import Chart

Tone = Literal["", "good", "bad", "dim", "strong"]


@dataclass(frozen=True)
class Cell:
    """Text of a table's cell; `tone` colours it on the page."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True)
class TableBlock:
    """Cells in rows under `columns`; the first column is the rows' name. `note` stands below.

    The first `text_columns` are words, the others numbers.
    """

    title: str
    columns: list[str]
    rows: list[list[Cell]]
    note: str = ""
    text_columns: int = 1


@dataclass(frozen=True)
class TextBlock:
    """A paragraph; tone `bad` is a warning."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True)
class ListBlock:
    """A list of sentences."""

    items: list[str]


@dataclass(frozen=True)
class ChartsBlock:
    """Charts that stand side by side where there is room."""

    charts: Sequence[Chart]


Block = TableBlock | TextBlock | ListBlock | ChartsBlock


def is_empty(block: Block) -> bool:
    """Whether a block has nothing to show."""
    match block:
        case TableBlock():
            return not block.rows
        case TextBlock():
            return not block.text
        case ListBlock():
            return not block.items
        case ChartsBlock():
            return not block.charts


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: list[Block]


@dataclass(frozen=True)
class Report:
    """What stands above the sections (the verdict, and why), and the sections."""

    title: str
    verdict: str
    headline: str
    sentence: str
    reasons: list[str]
    caveats: list[str]
    decide: str
    sections: list[Section]
    footer: str
