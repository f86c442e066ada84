"""A data set as one self-contained HTML page: summary, ledger, plots, rows with their text.

Promise: no script, no network, no style attribute (see `report/page.py`), so whatever a document holds stays text.
Light and dark, from 320 pixels of width on.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from bosrow.dataset.ledger_table import ledger_lines, loss_line
from bosrow.dataset.manifest import Manifest
from bosrow.inspect.findings import Findings, ShownRow, describe
from bosrow.inspect.plots import plots
from bosrow.inspect.row_picture import (
    HERE,
    Palette,
    StripPiece,
    draw_strip,
    hatch,
    panel,
    rows_beside,
    stream_strips,
    strips_of,
)
from bosrow.inspect.row_text import PieceText, one_line
from bosrow.packing.table import LOSSLESS
from bosrow.report.chart import Chart
from bosrow.report.numbers import percent, short
from bosrow.report.page import page
from bosrow.report.style import style_sheet
from bosrow.report.svg import Box, image, rectangle

STRIPS = 12  # rows drawn side by side with stream packing


class Card(NamedTuple):
    """A number that stands above all others."""

    label: str
    value: str
    note: str


class LegendEntry(NamedTuple):
    """What a colour means; `kinds` are the classes that draw it, one over the other."""

    kinds: tuple[str, ...]
    words: str


class LedgerRow(NamedTuple):
    """A line of the ledger, in words."""

    label: str
    counts: list[str]
    share: str
    is_part: bool


class Panel(NamedTuple):
    """Rows as strips."""

    caption: str
    drawing: Element


class PieceOnPage(NamedTuple):
    """A piece of a row with its text, and what is known of it."""

    colour: str
    document: str
    words: list[str]
    source: str
    bos: Literal["own", "added"] | None
    text: str
    is_cut: bool


class RowOnPage(NamedTuple):
    """A row with its pieces."""

    name: str
    place: str
    strip: Element
    pieces: list[PieceOnPage]


@dataclass(frozen=True, kw_only=True)
class DataSetOnPage:
    """All that the template `data_set.html.jinja` shows; every text of it as people read it."""

    name: str
    subtitle: str
    policy: str
    cards: list[Card]
    notes: list[str]
    shares: Element
    shares_legend: list[LegendEntry]
    splits: list[str]
    ledger: list[LedgerRow]
    panels: list[Panel]
    strips_legend: tuple[LegendEntry, ...]
    charts: list[Chart]
    rows: list[RowOnPage]
    version: str
    fingerprint: str


STRIPS_LEGEND = (
    LegendEntry(("bos",), "a document begins, with BOS"),
    LegendEntry(("added",), "it goes on behind a BOS that was added"),
    LegendEntry(("d0", "headless"), "it goes on without a BOS"),
)


def data_set_page(findings: Findings) -> str:
    """The whole page."""
    manifest = findings.manifest
    lossless = manifest.policy in LOSSLESS
    notes = [note for note in (loss_line(findings.ledgers), findings.note) if note]
    splits = [split for split, ledger in findings.ledgers.items() if ledger.documents_read]
    shares, shares_legend = _shares(findings)
    shown = DataSetOnPage(
        name=one_line(findings.data_dir.resolve().name),
        subtitle=_subtitle(findings),
        policy=manifest.policy,
        cards=list(_cards(findings)),
        notes=[note[0].upper() + note[1:] for note in notes],
        shares=shares,
        shares_legend=shares_legend,
        splits=splits,
        ledger=_ledger(findings, splits),
        panels=_panels(findings),
        strips_legend=STRIPS_LEGEND,
        charts=list(plots(findings)),
        rows=[_row(row, manifest.row_tokens, lossless=lossless) for row in findings.rows],
        version=str(manifest.meta["bosrow"].get("version", "")),
        fingerprint=manifest.fingerprint[:16],
    )
    style = style_sheet("rows.css", HERE) + style_sheet("data_set.css", HERE)
    return page(HERE, "data_set.html.jinja", style, data_set=shown, hatch=hatch())


def _subtitle(findings: Findings) -> str:
    manifest = findings.manifest
    rows = " and ".join(f"{manifest.rows_of(split):,} {split}" for split in findings.ledgers if manifest.rows_of(split))
    source = one_line(_source(manifest))
    return f"{rows} rows of {manifest.row_tokens:,} tokens" + (f" from {source}" if source else "")


def _source(manifest: Manifest) -> str:
    """The data set on the Hub, or the files, that the rows come from."""
    dataset, source = manifest.meta.get("dataset"), manifest.meta["bosrow"].get("source")
    if isinstance(dataset, str) and "/" in dataset:
        return dataset
    files = source.get("files") if isinstance(source, dict) else None
    if not isinstance(files, list) or not files:
        return ""
    return f"{files[0]}" + (f" and {len(files) - 1:,} more files" if len(files) > 1 else "")


def _cards(findings: Findings) -> Iterator[Card]:
    found, stream = findings.survey, findings.stream
    read, documents = findings.total("tokens_read"), findings.total("documents_read")
    yield Card(
        "documents",
        short(documents) if documents >= 100_000 else f"{documents:,}",
        f"half have at most {np.median(found.lengths):,.0f} tokens" if len(found.lengths) else "read",
    )
    yield Card("tokens", short(read), f"{read:,} read")
    yield Card("in rows", percent(findings.share_in_rows), f"{findings.total('tokens_placed'):,} tokens")
    as_stream = f"; as a stream {stream.mean_context:,.0f}" if stream else ""
    yield Card("mean context", f"{found.mean_context:,.0f}", f"tokens before a predicted one{as_stream}")
    lost = findings.total("tokens_cropped")
    if len(found.lengths) and findings.manifest.policy in LOSSLESS:
        cuts = int(found.cuts.sum())
        times = f"{cuts / found.least_cuts:.2f} times the least" if found.least_cuts else "none is needed"
        yield Card("cuts", short(cuts), times)
    elif lost:
        yield Card("lost", percent(lost / max(1, read)), f"{lost:,} tokens cropped")


def _shares(findings: Findings) -> tuple[Element, list[LegendEntry]]:
    """Where the tokens read went, as one bar of several colours, and what these mean."""
    read = max(1, findings.total("tokens_read"))
    drawn, legend, x = [], [], 0.0
    for label, kind, name in (
        ("in rows", "f2", "tokens_placed"),
        ("cropped, longer than a row", "f6", "tokens_cropped_long"),
        ("cropped to close a row", "f9", "tokens_cropped_fit"),
        ("in the last row, not full", "f4", "tokens_tail"),
    ):
        tokens = findings.total(name)
        width, part = 1000 * tokens / read, percent(tokens / read)
        drawn.append(rectangle(kind, Box(x, 0, width, 10), title=f"{label}: {tokens:,} ({part})"))
        legend += [LegendEntry((kind,), f"{label} {part}")] if tokens else []
        x += width
    return image(drawn, 1000, 10, "where every token went", "share", fills=True), legend


def _ledger(findings: Findings, splits: list[str]) -> list[LedgerRow]:
    places = [list(findings.ledgers).index(split) for split in splits]
    return [
        LedgerRow(
            label=line.label,
            counts=[f"{line.counts[place]:,}" for place in places],
            share="" if line.share is None else percent(line.share),
            is_part=line.indent,
        )
        for line in ledger_lines(findings.ledgers)
    ]


def _panels(findings: Findings) -> list[Panel]:
    """The first rows, and beside them what stream packing would have made of the same documents."""
    provenance, manifest = findings.provenance, findings.manifest
    if provenance is None or not manifest.rows_of("train"):
        return []
    count = min(STRIPS, manifest.rows_of("train"))
    palette = Palette()

    def own(rows: Iterable[int]) -> Element:
        return panel(strips_of(provenance, "train", list(rows)), palette, manifest.row_tokens)

    if findings.stream is None:
        return [Panel(f"The first {count} train rows", own(range(count)))]
    strips = stream_strips(provenance, count)
    stream = panel(strips, palette, manifest.row_tokens)
    palette.closed = True
    return [
        Panel("The first documents joined and cut, as a stream", stream),
        Panel(
            f"{manifest.policy}: the rows where they begin (grey: other documents)",
            own(rows_beside(provenance, strips)),
        ),
    ]


def _row(row: ShownRow, row_tokens: int, *, lossless: bool) -> RowOnPage:
    palette = Palette()
    strip = [_strip_piece(number, piece) for number, piece in enumerate(row.pieces)]
    drawn = draw_strip(strip, palette, row_tokens, Box(0, 0, 1000, 16), title=lambda piece: f"{piece.length:,} tokens")
    count = f"{len(row.pieces)} piece{'s' * (len(row.pieces) != 1)}"
    return RowOnPage(
        name=f"{row.split} row {row.row:,}",
        place=f"row {row.row_in_shard:,} of {row.shard}, {count}",
        strip=image([drawn], 1000, 16, "the row", "strip", fills=True),
        pieces=[
            _piece(piece, palette.of(one.document, None), lossless=lossless)
            for one, piece in zip(strip, row.pieces, strict=True)
        ],
    )


def _strip_piece(number: int, piece: PieceText) -> StripPiece:
    document = number if piece.info is None else piece.info.document
    return StripPiece(document, piece.column, piece.length, piece.bos == "added", piece.bos is None, piece.after > 0)


def _piece(piece: PieceText, colour: str, *, lossless: bool) -> PieceOnPage:
    document, source = "", ""
    if piece.info is not None:
        name = "" if piece.info.id is None else f", id {one_line(piece.info.id)}"
        document = f"document {piece.info.document:,}"
        source = f"{one_line(piece.info.source_file, 200)}, row {piece.info.source_row:,}{name}"
    words = [f"column {piece.column:,}", *describe(piece, lossless)]
    return PieceOnPage(colour, document, words, source, piece.bos, piece.text, piece.after > 0)
