"""The charts of a data set's page: lengths, what was lost, where documents start, context, pieces and cuts."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from bosrow.inspect.findings import Findings, length_bins, small_numbers
from bosrow.report.axes import ticks
from bosrow.report.chart import ADDED_BOS, BarChart, BinCounts, Chart, ChartSeries, LineChart, Tick
from bosrow.report.numbers import percent, short

OWN, IN_ROWS, STREAM, LOST = 0, 2, 3, 6  # colours of things
COLUMN_BINS = 32
CONTEXT_POINTS = 128


def plots(findings: Findings) -> Iterator[Chart]:
    """All charts, in order."""
    found = findings.survey
    if len(found.lengths):
        yield from _by_length(findings)
    yield _starts(findings)
    yield _context(findings)
    yield from _small_numbers("pieces", "Pieces in a row", found.pieces_per_row, "rows")
    yield from _small_numbers("cuts", "Cuts of a document", np.bincount(found.cuts), "documents")


def _by_length(findings: Findings) -> Iterator[BarChart]:
    bins = length_bins(findings.survey)
    labels = [f"{one.least:,} to {one.most:,} tokens, {one.documents:,} documents" for one in bins]
    every = -(-len(bins) // 6)
    marks = [Tick(place / len(bins), short(bins[place].least)) for place in range(0, len(bins), every)]
    place = float(np.log2(findings.manifest.row_tokens) - np.log2(bins[0].least)) / len(bins)
    mark = Tick(place, "a row") if 0 < place < 1 else None
    yield BarChart(
        name="kept_and_lost",
        title="Kept and lost, by length of document",
        caption="",
        x_label="tokens of the document",
        y_label="tokens",
        stacked=[
            BinCounts("in rows", IN_ROWS, [one.in_rows for one in bins]),
            BinCounts("not in rows", LOST, [one.tokens - one.in_rows for one in bins]),
        ],
        bins=labels,
        ticks=marks,
        mark=mark,
    )
    yield BarChart(
        name="lengths",
        title="Documents by length",
        caption=f"Half of them have at most {np.median(findings.survey.lengths):,.0f} tokens.",
        x_label="tokens of the document",
        y_label="documents",
        stacked=[BinCounts("documents", OWN, [one.documents for one in bins])],
        bins=labels,
        ticks=marks,
        mark=mark,
    )


def _starts(findings: Findings) -> BarChart:
    found, stream = findings.survey, findings.stream
    edges = np.unique(np.linspace(0, found.row_tokens, COLUMN_BINS + 1).round().astype(int))
    stacked = [BinCounts("a document begins", OWN, _sums(found.starts, edges))]
    if found.added_starts.any():
        stacked.append(BinCounts("BOS added", ADDED_BOS, _sums(found.added_starts, edges)))
    first = percent((found.starts[0] + found.added_starts[0]) / max(1, found.rows))
    caption = f"{first} of rows begin with BOS"
    if stream:
        caption += f"; as a stream {percent(stream.starts[0] / max(1, stream.rows))}"
    return BarChart(
        name="starts",
        title="Where documents start",
        caption=f"{caption}.",
        x_label="column of the row",
        y_label="starts",
        stacked=stacked,
        bins=[f"columns {left:,} to {right - 1:,}" for left, right in pairwise(edges.tolist())],
        ticks=[Tick(column / found.row_tokens, f"{column:,.0f}") for column in ticks(0, found.row_tokens, 4)],
        steps=BinCounts("as a stream", STREAM, _sums(stream.starts, edges)) if stream else None,
    )


def _sums(counts: npt.NDArray[np.int64], edges: npt.NDArray[np.int64]) -> list[int]:
    return np.add.reduceat(counts, edges[:-1]).tolist()


def _context(findings: Findings) -> LineChart:
    found, stream = findings.survey, findings.stream
    places = np.unique(np.linspace(0, found.row_tokens - 1, CONTEXT_POINTS).round().astype(int))
    caption = f"{found.mean_context:,.0f} tokens on average"
    surveys = [("these rows", OWN, found)]
    if stream:
        caption += f"; as a stream {stream.mean_context:,.0f}"
        surveys.insert(0, ("as a stream", STREAM, stream))
    return LineChart(
        name="context",
        title="Context of a predicted token",
        caption=f"{caption}.",
        x_label="this much context or more",
        y_label="share of tokens",
        series=[
            ChartSeries(name, colour, places.tolist(), one.context_at_least[places].tolist())
            for name, colour, one in surveys
        ],
        y_range=(0.0, 1.0),
        percent=True,
    )


def _small_numbers(name: str, title: str, counts: npt.NDArray[np.int64], things: str) -> Iterator[BarChart]:
    """How many things have one, two, three ...; nothing where all have as many."""
    numbers = small_numbers(counts)
    if len(numbers) < 2:
        return
    every = -(-len(numbers) // 8)
    yield BarChart(
        name=name,
        title=title,
        caption="",
        x_label=name,
        y_label=things,
        stacked=[BinCounts(things, OWN, [count for _, count in numbers])],
        bins=[f"{label} {name}" for label, _ in numbers],
        ticks=[
            Tick((place + 0.5) / len(numbers), numbers[place][0].split()[0]) for place in range(0, len(numbers), every)
        ],
    )
