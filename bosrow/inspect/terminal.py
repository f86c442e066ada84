"""A data set on a terminal: summary, ledger, histograms, and rows with a colour for each document.

Colours only help: without them (a pipe, NO_COLOR) every piece still has its heading. What documents hold cannot act
on the terminal: it went through `row_text.printable` and is printed as plain text, never as markup.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bosrow.dataset.ledger_table import ledger_table, loss_line
from bosrow.inspect.findings import Findings, ShownRow, describe, length_bins, small_numbers
from bosrow.inspect.row_text import PieceText, one_line
from bosrow.packing.table import LOSSLESS
from bosrow.report.numbers import percent, short

COLOURS = ("blue", "yellow", "green", "magenta", "cyan", "bright_red", "bright_blue", "bright_green")
BAR_WIDTH = 30
EIGHTHS = " ▏▎▍▌▋▊▉█"
SHOWN_LINES = 12  # of a piece's text; the middle of a longer one is left out


def show(findings: Findings) -> None:
    """Print the findings to standard output."""
    console = Console(highlight=False, markup=False)
    manifest = findings.manifest
    rows = " and ".join(
        f"{manifest.rows_of(split):,} {split} rows" for split in findings.ledgers if manifest.rows_of(split)
    )
    head = Text.assemble((str(findings.data_dir), "bold"), f": {rows} of {manifest.row_tokens:,} tokens, ")
    console.print(head.append(f"policy {manifest.policy}\n"), soft_wrap=True)
    console.print(ledger_table(findings.ledgers))
    console.print()
    for line in _remarks(findings):
        console.print(line, soft_wrap=True)
    for title, histogram in _histograms(findings):
        console.print(Text(f"\n{title}", "bold"))
        console.print(histogram)
    for row in findings.rows:
        console.print()
        for line in _row(row, lossless=manifest.policy in LOSSLESS, width=console.width):
            console.print(line, soft_wrap=True)


def _remarks(findings: Findings) -> Iterator[Text]:
    loss = loss_line(findings.ledgers)
    if loss:
        yield Text(loss, "yellow")
    found, stream = findings.survey, findings.stream
    context = f"a predicted token has {found.mean_context:,.0f} tokens of its own document before it, on average"
    yield Text(f"{context}; packed as a stream {stream.mean_context:,.0f}" if stream else context)
    if findings.manifest.policy in LOSSLESS and found.least_cuts:
        cuts = int(found.cuts.sum())
        yield Text(f"{cuts:,} cuts, {cuts / found.least_cuts:.2f} times the {found.least_cuts:,} that there must be")
    if findings.note:
        yield Text(findings.note, "yellow")


def _histograms(findings: Findings) -> Iterator[tuple[str, Table]]:
    found = findings.survey
    bins = length_bins(found)
    if bins:
        lengths = [f"{one.least:,} to {one.most:,}" if one.most > one.least else f"{one.least:,}" for one in bins]
        yield "documents, by length in tokens", _bars(lengths, [one.documents for one in bins])
        yield (
            "tokens, by the length of their document" + (" (light: lost)" if findings.total("tokens_cropped") else ""),
            _bars(lengths, [one.tokens for one in bins], [one.in_rows for one in bins]),
        )
    for title, counts in (
        ("rows, by pieces in them", found.pieces_per_row),
        ("documents, by cuts", np.bincount(found.cuts)),
    ):
        numbers = [(label, count) for label, count in small_numbers(counts) if count]
        if len(numbers) > 1:
            yield title, _bars([label for label, _ in numbers], [count for _, count in numbers])


def _bars(labels: Sequence[str], values: Sequence[int], dark: Sequence[int] | None = None) -> Table:
    """Horizontal bars. `dark` says how much of each value is drawn dark; the rest is light."""
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True, style="dim")
    total, most = sum(values), max(values)
    for label, value, inside in zip(labels, values, values if dark is None else dark, strict=True):
        whole = round(value / most * BAR_WIDTH * 8)
        full = round(inside / most * BAR_WIDTH * 8)
        bar = Text("█" * (full // 8) + EIGHTHS[full % 8].strip(), "cyan")
        bar.append("░" * (whole // 8 - len(bar)), "red")
        table.add_row(label, bar, short(value), percent(value / total))
    return table


def _row(row: ShownRow, *, lossless: bool, width: int) -> Iterator[Text]:
    yield Text(f"{row.split} row {row.row:,} (row {row.row_in_shard:,} of {row.shard})", "bold")
    for number, piece in enumerate(row.pieces):
        colour = COLOURS[number % len(COLOURS)]
        yield Text.assemble(("▌ ", colour), (_heading(piece, lossless), "bold " + colour))
        mark = {"own": "[BOS]", "added": "[BOS added]", None: "✂ "}[piece.bos]
        lines = _shortened(list(Text(f"{mark}{piece.text}{' ✂' if piece.after else ''}").wrap(_plain, width - 2)))
        yield from (
            Text.assemble(("▌ ", colour), line if isinstance(line, Text) else Text(line, "dim")) for line in lines
        )


_plain = Console(no_color=True)


def _heading(piece: PieceText, lossless: bool) -> str:
    words = [f"column {piece.column:,}"]
    if piece.info is not None:
        words.insert(0, f"document {piece.info.document:,}")
    words += describe(piece, lossless)
    if piece.info is not None:
        name = "" if piece.info.id is None else f", id {one_line(piece.info.id, 60)}"
        words.append(f"{one_line(piece.info.source_file, 60)}, row {piece.info.source_row:,}{name}")
    return " · ".join(words)


def _shortened(lines: list[Text]) -> list[Text | str]:
    if len(lines) <= SHOWN_LINES:
        return list(lines)
    head, tail = lines[: SHOWN_LINES - 4], lines[-3:]
    return [*head, f"... {len(lines) - len(head) - len(tail):,} lines more ...", *tail]
