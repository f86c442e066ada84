"""A data set as one self-contained HTML page: summary, ledger, plots, rows with their text.

Promise: no script, no network, no style attribute: the content security policy allows the one style sheet inside, by
its hash, and nothing else, so whatever a document holds stays text. Light and dark, from 320 pixels of width on.
"""

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from bosrow.dataset.ledger_table import ledger_lines, loss_line
from bosrow.dataset.manifest import Manifest
from bosrow.inspect.findings import Findings, ShownRow, describe, length_bins, small_numbers
from bosrow.inspect.page_style import STYLE
from bosrow.inspect.row_picture import (
    HATCH,
    Palette,
    StripPiece,
    draw_strip,
    panel,
    rows_beside,
    stream_strips,
    strips_of,
)
from bosrow.inspect.row_text import PieceText, one_line
from bosrow.packing.table import LOSSLESS
from bosrow.report.histograms import Series, Ticks, bars, lines, round_steps, short
from bosrow.report.numbers import percent

COLUMN_BINS = 32
CONTEXT_POINTS = 128
STRIPS = 12


def page(findings: Findings) -> str:
    """The whole page."""
    name = one_line(findings.data_dir.resolve().name)
    manifest = findings.manifest
    style_hash = b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{style_hash}'; img-src data:; base-uri 'none'; form-action 'none'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer"><meta name="color-scheme" content="light dark">'
        f'<link rel="icon" href="data:,"><title>{escape(name)}: rows of bosrow</title><style>{STYLE}</style></head>'
        f'<body><svg class="hidden" aria-hidden="true"><defs>{HATCH}</defs></svg>'
        f"<header><h1>{escape(name)}</h1><p>{_subtitle(findings)}</p></header><main>"
        f"{_cards(findings)}{_notes(findings)}{_where_tokens_went(findings)}{_strips(findings)}"
        f'<section><h2>In numbers</h2><div class="plots">{"".join(_plots(findings))}</div></section>{_rows(findings)}'
        f"</main><footer>bosrow {escape(str(manifest.meta['bosrow'].get('version', '')))}, data set "
        f"<code>{manifest.fingerprint[:16]}</code></footer></body></html>\n"
    )


def _subtitle(findings: Findings) -> str:
    manifest = findings.manifest
    rows = " and ".join(f"{manifest.rows_of(split):,} {split}" for split in findings.ledgers if manifest.rows_of(split))
    source = escape(one_line(_source(manifest)))
    where = f" from {source}" if source else ""
    return f"{rows} rows of {manifest.row_tokens:,} tokens{where}, policy <b>{escape(manifest.policy)}</b>"


def _source(manifest: Manifest) -> str:
    """The data set on the Hub, or the files, that the rows come from."""
    dataset, source = manifest.meta.get("dataset"), manifest.meta["bosrow"].get("source")
    if isinstance(dataset, str) and "/" in dataset:
        return dataset
    files = source.get("files") if isinstance(source, dict) else None
    if not isinstance(files, list) or not files:
        return ""
    return f"{files[0]}" + (f" and {len(files) - 1:,} more files" if len(files) > 1 else "")


def _cards(findings: Findings) -> str:
    found, stream = findings.survey, findings.stream
    read, documents = findings.total("tokens_read"), findings.total("documents_read")
    cards = [
        (
            "documents",
            short(documents) if documents >= 100_000 else f"{documents:,}",
            f"half have at most {np.median(found.lengths):,.0f} tokens" if len(found.lengths) else "read",
        ),
        ("tokens", short(read), f"{read:,} read"),
        ("in rows", percent(findings.share_in_rows), f"{findings.total('tokens_placed'):,} tokens"),
        (
            "mean context",
            f"{found.mean_context:,.0f}",
            "tokens before a predicted one" + (f"; as a stream {stream.mean_context:,.0f}" if stream else ""),
        ),
    ]
    if len(found.lengths) and findings.manifest.policy in LOSSLESS:
        cuts = int(found.cuts.sum())
        times = f"{cuts / found.least_cuts:.2f} times the least" if found.least_cuts else "none is needed"
        cards.append(("cuts", short(cuts), times))
    elif findings.total("tokens_cropped"):
        lost = findings.total("tokens_cropped")
        cards.append(("lost", percent(lost / max(1, read)), f"{lost:,} tokens cropped"))
    return '<div class="cards">' + "".join(map(_card, cards)) + "</div>"


def _card(card: tuple[str, str, str]) -> str:
    label, value, note = map(escape, card)
    return f'<div class="card"><span>{label}</span><strong>{value}</strong><small>{note}</small></div>'


def _notes(findings: Findings) -> str:
    notes = [note for note in (loss_line(findings.ledgers), findings.note) if note]
    return "".join(f'<p class="note">{escape(note[0].upper() + note[1:])}</p>' for note in notes)


def _where_tokens_went(findings: Findings) -> str:
    """The ledger as a bar and as a table."""
    read = max(1, findings.total("tokens_read"))
    parts = {
        "in rows": ("kept", findings.total("tokens_placed")),
        "cropped, longer than a row": ("lost", findings.total("tokens_cropped_long")),
        "cropped to close a row": ("lost2", findings.total("tokens_cropped_fit")),
        "in the last row, not full": ("tail", findings.total("tokens_tail")),
    }
    drawn, x = [], 0.0
    for label, (kind, tokens) in parts.items():
        width = 1000 * tokens / read
        title = f"<title>{label}: {tokens:,} ({percent(tokens / read)})</title>"
        drawn.append(f'<rect class="{kind}" x="{x:.2f}" y="0" width="{width:.2f}" height="10">{title}</rect>')
        x += width
    legend = _legend((kind, f"{label} {percent(tokens / read)}") for label, (kind, tokens) in parts.items() if tokens)
    bar = f'<svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" role="img">{"".join(drawn)}</svg>'
    splits = [split for split, ledger in findings.ledgers.items() if ledger.documents_read]
    places = [list(findings.ledgers).index(split) for split in splits]
    head = "".join(f"<th>{split}</th>" for split in splits)
    body = []
    for line in ledger_lines(findings.ledgers):
        cells = "".join(f"<td>{line.counts[place]:,}</td>" for place in places)
        share = "" if line.share is None else percent(line.share)
        kind = "part" if line.indent else "whole"
        body.append(f'<tr class="{kind}"><th scope="row">{escape(line.label)}</th>{cells}<td>{share}</td></tr>')
    table = (
        f'<div class="wide"><table><thead><tr><td></td>{head}<th>share</th></tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )
    return f"<section><h2>Where every token went</h2>{bar}{legend}{table}</section>"


def _legend(entries: Iterable[tuple[str, str]]) -> str:
    items = "".join(
        '<li><svg viewBox="0 0 12 12" aria-hidden="true">'
        + "".join(f'<rect class="{one}" width="12" height="12" rx="3"/>' for one in kind.split())
        + f"</svg>{escape(label)}</li>"
        for kind, label in entries
    )
    return f'<ul class="legend">{items}</ul>'


def _strips(findings: Findings) -> str:
    """The first rows, and beside them what stream packing would have made of the same documents."""
    provenance, manifest = findings.provenance, findings.manifest
    if provenance is None or not manifest.rows_of("train"):
        return ""
    rows = min(STRIPS, manifest.rows_of("train"))
    palette = Palette()
    if findings.stream is None:
        own = panel(strips_of(provenance, "train", range(rows)), palette, manifest.row_tokens)
        panels = f"<figure><figcaption>The first {rows} train rows</figcaption>{own}</figure>"
    else:
        strips = stream_strips(provenance, rows)
        stream = panel(strips, palette, manifest.row_tokens)
        palette.closed = True
        own = panel(strips_of(provenance, "train", rows_beside(provenance, strips)), palette, manifest.row_tokens)
        panels = (
            f"<figure><figcaption>The first documents joined and cut, as a stream</figcaption>{stream}</figure>"
            f"<figure><figcaption>{escape(manifest.policy)}: the rows where they begin (grey: other documents)"
            f"</figcaption>{own}</figure>"
        )
    legend = _legend(
        (
            ("bos", "a document begins, with BOS"),
            ("added", "it goes on behind a BOS that was added"),
            ("d0 headless", "it goes on without a BOS"),
        )
    )
    return f'<section><h2>Rows, a colour for each document</h2><div class="pair">{panels}</div>{legend}</section>'


def _plots(findings: Findings) -> Iterator[str]:
    found = findings.survey
    if len(found.lengths):
        yield from _length_plots(findings)
    yield _starts_plot(findings)
    yield _context_plot(findings)
    for title, counts, what, things in (
        ("Pieces in a row", found.pieces_per_row, "pieces", "rows"),
        ("Cuts of a document", np.bincount(found.cuts), "cuts", "documents"),
    ):
        numbers = small_numbers(counts)
        if len(numbers) > 1:
            every = -(-len(numbers) // 8)
            ticks = [((n + 0.5) / len(numbers), numbers[n][0].split()[0]) for n in range(0, len(numbers), every)]
            values = [count for _, count in numbers]
            labels = [f"{label} {what}" for label, _ in numbers]
            drawn = bars([Series(name=things, kind="own", values=values)], labels, ticks, x_label=what, y_label=things)
            yield _plot(title, drawn)


def _plot(title: str, drawn: str, legend: str = "", words: str = "") -> str:
    text = f"<p>{escape(words)}</p>" if words else ""
    return f'<figure class="plot"><figcaption>{escape(title)}</figcaption>{text}{drawn}{legend}</figure>'


def _length_plots(findings: Findings) -> Iterator[str]:
    bins = length_bins(findings.survey)
    labels = [f"{one.least:,} to {one.most:,} tokens, {one.documents:,} documents" for one in bins]
    every = -(-len(bins) // 6)
    ticks = [(place / len(bins), short(bins[place].least)) for place in range(0, len(bins), every)]
    row_tokens = findings.manifest.row_tokens
    place = (np.log2(row_tokens) - np.log2(bins[0].least)) / len(bins)
    mark = (float(place), "a row") if 0 < place < 1 else None
    kept = Series(name="in rows", kind="kept", values=[one.in_rows for one in bins])
    lost = Series(name="not in rows", kind="lost", values=[one.tokens - one.in_rows for one in bins])
    documents = Series(name="documents", kind="own", values=[one.documents for one in bins])
    x_label = "tokens of the document"
    drawn = bars([kept, lost], labels, ticks, x_label=x_label, y_label="tokens", mark=mark)
    legend = _legend((("kept", "in rows"), ("lost", "not in rows")))
    yield _plot("Kept and lost, by length of document", drawn, legend)
    median = f"half of them have at most {np.median(findings.survey.lengths):,.0f} tokens"
    drawn = bars([documents], labels, ticks, x_label=x_label, y_label="documents", mark=mark)
    yield _plot("Documents by length", drawn, words=median)


def _starts_plot(findings: Findings) -> str:
    found, stream = findings.survey, findings.stream
    edges = np.unique(np.linspace(0, found.row_tokens, COLUMN_BINS + 1).round().astype(int))
    labels = [f"columns {left:,} to {right - 1:,}" for left, right in pairwise(edges.tolist())]
    stacked = [Series(name="documents", kind="own", values=_sums(found.starts, edges))]
    entries = [("own", "a document begins")]
    if found.added_starts.any():
        stacked.append(Series(name="BOS added", kind="added", values=_sums(found.added_starts, edges)))
        entries.append(("added", "BOS added"))
    line = None
    if stream:
        line = Series(name="as a stream", kind="stream", values=_sums(stream.starts, edges))
        entries.append(("stream", "as a stream"))
    first = percent((found.starts[0] + found.added_starts[0]) / max(1, found.rows))
    words = f"{first} of rows begin with BOS" + (
        f"; as a stream {percent(stream.starts[0] / max(1, stream.rows))}" if stream else ""
    )
    ticks = _column_ticks(found.row_tokens)
    drawn = bars(stacked, labels, ticks, x_label="column of the row", y_label="starts", line=line)
    return _plot("Where documents start", drawn, _legend(entries), words)


def _context_plot(findings: Findings) -> str:
    found, stream = findings.survey, findings.stream
    places = np.linspace(0, found.row_tokens - 1, CONTEXT_POINTS).round().astype(int)
    series = [Series(name="these rows", kind="own", values=found.context_at_least[places].tolist())]
    entries = [("own", "these rows")]
    words = f"{found.mean_context:,.0f} tokens on average"
    if stream:
        series.insert(0, Series(name="as a stream", kind="stream", values=stream.context_at_least[places].tolist()))
        entries.append(("stream", "as a stream"))
        words += f"; as a stream {stream.mean_context:,.0f}"
    ticks = _column_ticks(found.row_tokens - 1)
    drawn = lines(series, ticks, x_label="this much context or more", y_label="share of tokens")
    return _plot("Context of a predicted token", drawn, _legend(entries), words)


def _sums(counts: npt.NDArray[np.int64], edges: npt.NDArray[np.int64]) -> list[int]:
    return np.add.reduceat(counts, edges[:-1]).tolist()


def _column_ticks(most: int) -> Ticks:
    return [(column / most, f"{column:,.0f}") for column in round_steps(most)]


def _rows(findings: Findings) -> str:
    if not findings.rows:
        return ""
    lossless = findings.manifest.policy in LOSSLESS
    shown = "".join(
        _row(row, findings.manifest.row_tokens, lossless=lossless, opened=place == 0)
        for place, row in enumerate(findings.rows)
    )
    return f"<section><h2>Rows as text</h2>{shown}</section>"


def _row(row: ShownRow, row_tokens: int, *, lossless: bool, opened: bool) -> str:
    palette = Palette()
    strip = [_strip_piece(number, piece) for number, piece in enumerate(row.pieces)]
    drawn = draw_strip(
        strip, palette, row_tokens, at=(0, 0), size=(1000, 16), told=lambda piece: f"{piece.length:,} tokens"
    )
    pieces, beside = [], None
    for number, piece in enumerate(row.pieces):
        key = strip[number].document
        pieces.append(_piece(piece, palette.of(key, beside), lossless=lossless))
        beside = key
    count = f"{len(row.pieces)} piece{'s' * (len(row.pieces) != 1)}"
    return (
        f'<details class="row"{" open" if opened else ""}><summary><b>{row.split} row {row.row:,}</b> '
        f"<small>row {row.row_in_shard:,} of {escape(row.shard)}, {count}</small>"
        f'<svg class="strip" viewBox="0 0 1000 16" preserveAspectRatio="none" aria-hidden="true">{drawn}</svg>'
        f"</summary>{''.join(pieces)}</details>"
    )


def _strip_piece(number: int, piece: PieceText) -> StripPiece:
    document = number if piece.info is None else piece.info.document
    return StripPiece(document, piece.column, piece.length, piece.bos == "added", piece.bos is None, piece.after > 0)


def _piece(piece: PieceText, colour: str, *, lossless: bool) -> str:
    title = "" if piece.info is None else f"<b>document {piece.info.document:,}</b>"
    words = [f"column {piece.column:,}", *describe(piece, lossless)]
    source = ""
    if piece.info is not None:
        name = "" if piece.info.id is None else f", id {one_line(piece.info.id)}"
        source = f"{one_line(piece.info.source_file, 200)}, row {piece.info.source_row:,}{name}"
    begin = {
        "own": '<span class="tag bos-tag">BOS</span>',
        "added": '<span class="tag added-tag">BOS added</span>',
        None: '<span class="tag cut-tag">✂ no BOS</span>',
    }[piece.bos]
    end = '<span class="tag cut-tag">✂</span>' if piece.after else ""
    return (
        f'<article class="piece {colour}-edge"><header>{title}{_spans(words)}'
        f'<span class="source">{escape(source)}</span></header>'
        f'<p class="text" dir="auto">{begin}{escape(piece.text)}{end}</p></article>'
    )


def _spans(words: Sequence[str]) -> str:
    return "".join(f"<span>{escape(word)}</span>" for word in words)
