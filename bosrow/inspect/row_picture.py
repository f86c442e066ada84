"""Rows as strips: a colour for each document, marks where documents begin and where they were cut.

Promise: the same document has the same colour in every strip that is drawn together, and all text is escaped.
`picture()` is a complete SVG file, in light or dark as its reader prefers, that shows what joining documents gives
beside rows of a data set that hold the same documents.
"""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from bosrow.dataset.provenance import Provenance
from bosrow.inspect.row_text import one_line
from bosrow.inspect.survey import Columns, stream_pieces

COLOURS = 8
HUES = (212, 32, 150, 330, 52, 268, 184, 2)  # neighbours differ also for eyes that see less colour
CUT_PIXELS = 8.0  # a narrower piece has no room for the mark of a cut
LABEL_PIXELS = 5.4  # of a character of a label


class StripPiece(NamedTuple):
    """A stretch of a row. `headless`: it begins inside its document, and no BOS says so."""

    document: int
    column: int
    length: int
    added_bos: bool
    headless: bool
    goes_on: bool


Strip = list[StripPiece]


class Palette:
    """Classes of documents, d0 to d7 in order of appearance; one that a neighbour has is passed over.

    A closed palette has the class "other" for every document that it has not met.
    """

    def __init__(self) -> None:
        self._colours: dict[int, int] = {}
        self.closed = False

    def of(self, document: int, beside: int | None) -> str:
        """The class of `document`, where it is new unlike that of the document `beside` it."""
        if document not in self._colours:
            if self.closed:
                return "other"
            colour = len(self._colours) % COLOURS
            if beside is not None and self._colours.get(beside) == colour:
                colour = (colour + 1) % COLOURS
            self._colours[document] = colour
        return f"d{self._colours[document]}"


def strips_of(provenance: Provenance, split: str, rows: Sequence[int]) -> list[Strip]:
    """Strips of some rows of a data set."""
    found = provenance.pieces_of_rows(split, rows)
    tokens = {
        number: info.tokens
        for number, info in provenance.documents_of(p.piece.document for row in found.values() for p in row).items()
    }
    return [
        [
            StripPiece(
                document=document,
                column=placed.column,
                length=length,
                added_bos=added_bos,
                headless=offset > 0 and not added_bos,
                goes_on=offset + length - added_bos < tokens[document],
            )
            for placed in found[row]
            for document, offset, length, added_bos in [placed.piece]
        ]
        for row in rows
    ]


def stream_strips(provenance: Provenance, rows: int) -> list[Strip]:
    """Strips of the first rows that stream packing would make of the same documents."""
    lengths, row_tokens = provenance.lengths().astype("int64"), provenance.manifest.row_tokens
    strips: list[Strip] = [[] for _ in range(rows)]
    batches: Iterable[Columns] = stream_pieces(lengths, row_tokens, most_rows=rows)
    for columns in batches:
        names = ("row", "document", "column", "length", "offset")
        for row, document, column, length, offset in zip(*(columns[name].tolist() for name in names), strict=True):
            goes_on = offset + length < int(lengths[document])
            strips[row].append(StripPiece(document, column, length, False, offset > 0, goes_on))
    return [strip for strip in strips if strip]


def rows_beside(provenance: Provenance, stream: Sequence[Strip]) -> list[int]:
    """As many train rows as `stream` has strips: first those in which its documents begin, then the first others.

    Reads pieces until there are enough.
    """
    begun = np.array([piece.document for strip in stream for piece in strip if not piece.headless], np.uint64)
    found: list[int] = []
    for columns in provenance.columns("train"):
        begins = (columns["offset"] + columns["added_bos"] == 0) & np.isin(columns["document"], begun)
        found += np.unique(columns["row"][begins]).tolist()
        if len(found) >= len(stream):
            break
    others = range(min(provenance.manifest.rows_of("train"), len(found) + len(stream)))
    chosen = dict.fromkeys([*found, *others])
    return sorted(list(chosen)[: len(stream)])


def draw_strip(
    strip: Strip,
    palette: Palette,
    row_tokens: int,
    *,
    at: tuple[float, float],
    size: tuple[float, float],
    label: Callable[[int], str] | None = None,
    told: Callable[[StripPiece], str] = lambda piece: f"document {piece.document:,}, {piece.length:,} tokens",
) -> str:
    """A strip as SVG elements, its left upper corner `at` (x, y), of `size` (width, height)."""
    (left, top), (width, height) = at, size
    scale = width / row_tokens
    parts, beside = [], None
    for piece in strip:
        x, wide = left + piece.column * scale, piece.length * scale
        colour = palette.of(piece.document, beside)
        box = f'x="{x:.2f}" y="{top:g}" width="{wide:.2f}" height="{height:g}"'
        parts.append(f"<g><title>{escape(told(piece))}</title>")
        parts.append(f'<rect class="{colour}" {box}/>')
        if piece.headless:
            parts.append(f'<rect class="headless" {box}/>')
        else:
            mark = "added" if piece.added_bos else "bos"
            parts.append(f'<rect class="{mark}" x="{x:.2f}" y="{top:g}" width="2.5" height="{height:g}"/>')
        if piece.goes_on and wide > CUT_PIXELS:
            end, half = x + wide, height / 2
            parts.append(f'<path class="cut" d="M{end:.2f} {top:g}l-4 {half / 2:g}l4 {half / 2:g}l-4 {half / 2:g}')
            parts.append(f'l4 {half / 2:g}z"/>')
        if label and (text := _label(label(piece.document), wide - 12)):
            parts.append(f'<text x="{x + 6:.2f}" y="{top + height * 0.68:.2f}">{escape(text)}</text>')
        parts.append("</g>")
        beside = piece.document
    return "".join(parts)


def _label(text: str, pixels: float) -> str:
    most = int(pixels / LABEL_PIXELS)
    return "" if most < 5 else one_line(text, most)


def panel(strips: Sequence[Strip], palette: Palette, row_tokens: int, width: int = 560) -> str:
    """Strips one below the other, without labels, for a page."""
    drawn = "".join(
        draw_strip(strip, palette, row_tokens, at=(0, 22 * place), size=(width, 17))
        for place, strip in enumerate(strips)
    )
    return f'<svg class="strips" viewBox="0 0 {width} {22 * len(strips)}" role="img" aria-label="rows">{drawn}</svg>'


HATCH = (
    '<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<path class="stripe" d="M0 0v6"/></pattern>'
)


def strip_style(*, dark: bool) -> str:
    """The colours of strips, as CSS rules."""
    light = 30 if dark else 83
    rules = [f".other{{fill:{'#2a323c' if dark else '#e9ecf0'}}}"]
    rules += [f".d{n}{{fill:hsl({hue} {45 if dark else 72}% {light}%)}}" for n, hue in enumerate(HUES)]
    ink, paper, added = ("#e8edf3", "#12161c", "#ff8a65") if dark else ("#1c2530", "#ffffff", "#d84315")
    rules += [
        f".bos{{fill:{ink}}}.added{{fill:{added}}}.cut{{fill:{paper}}}.headless{{fill:url(#hatch)}}",
        f".stripe{{stroke:{paper};stroke-width:3;stroke-opacity:.65}}",
    ]
    return "".join(rules)


PICTURE_STYLE = (
    "text{font:10px ui-sans-serif,system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif}"
    ".title{font-size:14px;font-weight:600}.note{font-size:11px}"
)
PICTURE_WIDTH, MARGIN, GUTTER = 960, 18, 24
STRIP_HEIGHT, STRIP_STEP, HEAD, FOOT = 20, 25, 62, 42


def picture(provenance: Provenance, rows: int = 10) -> str:
    """An SVG file: the first `rows` rows of stream packing, and the train rows in which their documents begin.

    Other documents of the latter are grey.
    """
    manifest = provenance.manifest
    stream = stream_strips(provenance, min(rows, manifest.rows_of("train")))
    own = strips_of(provenance, "train", rows_beside(provenance, stream))
    documents = provenance.documents_of(piece.document for strip in own + stream for piece in strip)

    def label(document: int) -> str:
        return documents[document].id or f"document {document:,}"

    palette = Palette()
    width = (PICTURE_WIDTH - 2 * MARGIN - GUTTER) // 2
    height = HEAD + STRIP_STEP * max(len(own), len(stream)) + FOOT
    panels = (
        (MARGIN, "stream: documents joined, cut every row", _begin(stream), stream),
        (MARGIN + width + GUTTER, f"{manifest.policy}: where the same documents begin", _begin(own), own),
    )
    parts = []
    for left, title, note, strips in panels:
        parts.append(f'<text class="title" x="{left}" y="30">{escape(title)}</text>')
        parts.append(f'<text class="note" x="{left}" y="48">{escape(note)}</text>')
        for place, strip in enumerate(strips):
            at, size = (left, HEAD + STRIP_STEP * place), (width, STRIP_HEIGHT)
            parts.append(draw_strip(strip, palette, manifest.row_tokens, at=at, size=size, label=label))
        palette.closed = True
    parts.append(_legend(height - 18))
    frame = f'<rect class="paper" x=".5" y=".5" width="{PICTURE_WIDTH - 1}" height="{height - 1}" rx="8"/>'
    light = f"{strip_style(dark=False)}.paper{{fill:#fff;stroke:#d5dae1}}text{{fill:#1c2530}}.note{{fill:#5b6876}}"
    dark = f"{strip_style(dark=True)}.paper{{fill:#12161c;stroke:#2d3641}}text{{fill:#e8edf3}}.note{{fill:#98a4b3}}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {PICTURE_WIDTH} {height}" width="{PICTURE_WIDTH}" '
        f'height="{height}" role="img" aria-label="Rows of a stream beside rows that begin with documents">'
        f"<style>{PICTURE_STYLE}{light}@media (prefers-color-scheme:dark){{{dark}}}</style>"
        f"<defs>{HATCH}</defs>{frame}{''.join(parts)}</svg>\n"
    )


def _begin(strips: Sequence[Strip]) -> str:
    headless = sum(strip[0].headless for strip in strips)
    if not headless:
        return f"all {len(strips)} rows begin with BOS (grey: other documents)"
    return f"{headless} of {len(strips)} rows begin inside a document whose beginning they lack"


def _legend(y: int) -> str:
    entries = (
        (
            lambda x: f'<rect class="bos" x="{x}" y="{y - 10}" width="2.5" height="13"/>',
            2,
            "a document begins, with BOS",
        ),
        (
            lambda x: f'<rect class="added" x="{x}" y="{y - 10}" width="2.5" height="13"/>',
            2,
            "goes on behind a BOS added",
        ),
        (
            lambda x: (
                f'<rect class="d0" x="{x}" y="{y - 10}" width="22" height="13"/>'
                f'<rect class="headless" x="{x}" y="{y - 10}" width="22" height="13"/>'
            ),
            22,
            "goes on without a BOS",
        ),
        (
            lambda x: (
                f'<rect class="d0" x="{x}" y="{y - 10}" width="22" height="13"/><path class="cut" '
                f'd="M{x + 22} {y - 10}l-4 3.25l4 3.25l-4 3.25l4 3.25z"/>'
            ),
            22,
            "cut here",
        ),
    )
    parts, x = [], MARGIN
    for draw, wide, words in entries:
        parts.append(f'{draw(x)}<text class="note" x="{x + wide + 6}" y="{y}">{words}</text>')
        x += wide + 6 + int(len(words) * 5.9) + 22
    return "".join(parts)
