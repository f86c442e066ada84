"""report.md: the same report as Markdown, its charts as SVG files beside it."""

import re

from bosrow.report.blocks import Block, ChartsBlock, ListBlock, Report, TableBlock, TextBlock


def markdown(report: Report, charts_folder: str) -> str:
    """The report; charts are at `charts_folder`/NAME.svg."""
    lines = [f"# {_escaped(report.title)}", "", f"**{report.verdict.capitalize()}**: {_escaped(report.headline)}.", ""]
    lines += [_escaped(report.sentence), ""]
    lines += [f"- {_escaped(reason)}" for reason in report.reasons]
    lines += ["", _escaped(report.decide), ""]
    lines += [f"- {_escaped(caveat)}" for caveat in report.caveats]
    for section in report.sections:
        lines += ["", f"## {_escaped(section.title)}"]
        for block in section.blocks:
            lines += ["", *_block(block, charts_folder)]
    lines += ["", "---", "", _escaped(report.footer), ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is: no markup, no HTML, one line. Within a word an underscore is no markup."""
    return re.sub(r"([\\`*\[\]<>|#]|\b_|_\b|(?<!\w)_)", r"\\\1", " ".join(text.split()))


def _block(block: Block, charts_folder: str) -> list[str]:
    match block:
        case TextBlock(text):
            return [_escaped(text)]
        case ListBlock(items):
            return [f"- {_escaped(item)}" for item in items]
        case ChartsBlock(charts):
            return [
                line
                for chart in charts
                for line in (
                    f"![{_escaped(chart.title)}]({charts_folder}/{chart.name}.svg)",
                    "",
                    f"{_escaped(chart.title)}. {_escaped(chart.caption)}",
                    "",
                )
            ]
        case TableBlock(title, columns, rows, note):
            if not rows:
                return []
            head = [f"**{_escaped(title)}**", ""] if title else []
            table = [_row([_escaped(column) for column in columns]), _row(["---"] + ["--:"] * (len(columns) - 1))]
            return [*head, *table, *(_row([_escaped(cell.text) for cell in row]) for row in rows), "", _escaped(note)]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
