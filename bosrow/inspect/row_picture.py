"""Rows as strips: a colour for each document, marks where documents begin and where they were cut.

Promise: the same document has the same colour in every strip that is drawn together, and all text is escaped.
`picture()` is a complete SVG file, in light or dark as its reader prefers, that shows what joining documents gives
beside rows of a data set that hold the same documents.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from bosrow.dataset.provenance import Provenance
from bosrow.dataset.provenance_layout import PieceColumns
from bosrow.inspect.row_text import one_line
from bosrow.inspect.survey import stream_pieces
from bosrow.report.style import style_sheet
from bosrow.report.svg import Box, image, line, rectangle, shape, svg_text

COLOURS = 8  # classes d0 to d7 of templates/rows.css
CUT_PIXELS = 8.0  # a narrower piece has no room for the mark of a cut
LABEL_PIXELS = 5.4  # of a character of a label
HERE = "bosrow.inspect"


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
    """The class of each document: d0 to d7 in order of appearance, but never that of its neighbour.

    A closed palette has the class "other" for every document that it has not met.
    """

    def __init__(self) -> None:
        self._colours: dict[int, int] = {}
        self.closed = False

    def of(self, document: int, beside: int | None) -> str:
        """The class of `document`. A new document gets another class than the one `beside` it."""
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
    found = provenance.pieces.of_rows(split, rows)
    tokens = {
        number: info.tokens
        for number, info in provenance.documents.of(p.piece.document for row in found.values() for p in row).items()
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
    lengths, row_tokens = provenance.documents.lengths().astype("int64"), provenance.manifest.row_tokens
    strips: list[Strip] = [[] for _ in range(rows)]
    batches: Iterable[PieceColumns] = stream_pieces(lengths, row_tokens, most_rows=rows)
    for columns in batches:
        names = ("row", "document", "column", "length", "offset")
        for row, document, column, length, offset in zip(*(columns[name].tolist() for name in names), strict=True):
            goes_on = offset + length < int(lengths[document])
            strips[row].append(StripPiece(document, column, length, False, offset > 0, goes_on))
    return [strip for strip in strips if strip]


def rows_beside(provenance: Provenance, stream: Sequence[Strip]) -> list[int]:
    """As many train rows as `stream` has strips: those in which its documents begin, then others from the first on.

    Reads pieces until there are enough.
    """
    begun = np.array([piece.document for strip in stream for piece in strip if not piece.headless], np.uint64)
    found: list[int] = []
    for columns in provenance.pieces.of_split("train"):
        begins = (columns["offset"] + columns["added_bos"] == 0) & np.isin(columns["document"], begun)
        found += np.unique(columns["row"][begins]).tolist()
        if len(found) >= len(stream):
            break
    others = range(min(provenance.manifest.rows_of("train"), len(found) + len(stream)))
    chosen = dict.fromkeys([*found, *others])
    return sorted(list(chosen)[: len(stream)])


def words_of_piece(piece: StripPiece) -> str:
    """What a strip says of a piece on hovering."""
    return f"document {piece.document:,}, {piece.length:,} tokens"


def draw_strip(
    strip: Strip,
    palette: Palette,
    row_tokens: int,
    box: Box,
    *,
    label: Callable[[int], str] | None = None,
    title: Callable[[StripPiece], str] = words_of_piece,
) -> Element:
    """A strip as a group of SVG elements. `label` gives a document's name, which is written where there is room."""
    scale = box.width / row_tokens
    groups, beside = [], None
    for piece in strip:
        x, width = box.left + piece.column * scale, piece.length * scale
        place = Box(x, box.top, width, box.height)
        parts = [rectangle(palette.of(piece.document, beside), place)]
        if piece.headless:
            parts.append(rectangle("headless", place))
        else:
            parts.append(_begin_mark("added" if piece.added_bos else "bos", x, box.top, box.height))
        if piece.goes_on and width > CUT_PIXELS:
            parts.append(_cut_mark(x + width, box.top, box.height))
        if label and (text := _label(label(piece.document), width - 12)):
            parts.append(shape("text", x=x + 6, y=box.top + box.height * 0.68, text=text))
        groups.append(shape("g", parts, title=title(piece)))
        beside = piece.document
    return shape("g", groups)


def _begin_mark(kind: str, x: float, y: float, height: float) -> Element:
    return rectangle(kind, Box(x, y, 2.5, height))


def _cut_mark(x: float, y: float, height: float) -> Element:
    """A jagged edge that ends at `x`."""
    quarter = height / 4
    jags = [(x if place % 2 == 0 else x - 4, y + place * quarter) for place in range(5)]
    return shape("path", class_="cut", d=line(*jags) + "Z")


def _label(text: str, pixels: float) -> str:
    most = int(pixels / LABEL_PIXELS)
    return "" if most < 5 else one_line(text, most)


def panel(strips: Sequence[Strip], palette: Palette, row_tokens: int, width: int = 560) -> Element:
    """Strips one below the other, without labels, for a page."""
    drawn = [
        draw_strip(strip, palette, row_tokens, Box(0, 22 * place, width, 17)) for place, strip in enumerate(strips)
    ]
    return image(drawn, width, 22 * len(strips), "rows", "strips")


def hatch() -> Element:
    """The pattern over a piece without its beginning; it must stand in <defs> once in a file."""
    stripe = shape("path", class_="stripe", d="M0 0v6")
    return shape(
        "pattern", [stripe], id="hatch", width=6, height=6, patternUnits="userSpaceOnUse", patternTransform="rotate(45)"
    )


PICTURE_STYLE = """
text { font: 10px ui-sans-serif, system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: var(--bos); }
.title { font-size: 14px; font-weight: 600; }
.note { font-size: 11px; fill: var(--faint); }
.paper { fill: var(--sheet); stroke: var(--frame); }
"""
PICTURE_WIDTH, MARGIN, GUTTER = 960, 18, 24
STRIP_HEIGHT, STRIP_STEP, HEAD, FOOT = 20, 25, 62, 42


def picture(provenance: Provenance, rows: int = 10) -> str:
    """An SVG file: the first `rows` rows of stream packing, and the train rows in which their documents begin.

    Other documents of the latter are grey.
    """
    manifest = provenance.manifest
    stream = stream_strips(provenance, min(rows, manifest.rows_of("train")))
    own = strips_of(provenance, "train", rows_beside(provenance, stream))
    documents = provenance.documents.of(piece.document for strip in own + stream for piece in strip)

    def label(document: int) -> str:
        return documents[document].id or f"document {document:,}"

    palette = Palette()
    width = (PICTURE_WIDTH - 2 * MARGIN - GUTTER) // 2
    height = HEAD + STRIP_STEP * max(len(own), len(stream)) + FOOT
    panels = (
        (MARGIN, "stream: documents joined, cut every row", stream),
        (MARGIN + width + GUTTER, f"{manifest.policy}: where the same documents begin", own),
    )
    parts = [
        shape("style", text=style_sheet("rows.css", HERE) + PICTURE_STYLE),
        shape("defs", [hatch()]),
        rectangle("paper", Box(0.5, 0.5, PICTURE_WIDTH - 1, height - 1), corner=8),
    ]
    for left, title, strips in panels:
        parts.append(shape("text", class_="title", x=left, y=30, text=title))
        parts.append(shape("text", class_="note", x=left, y=48, text=_how_rows_begin(strips)))
        for place, strip in enumerate(strips):
            box = Box(left, HEAD + STRIP_STEP * place, width, STRIP_HEIGHT)
            parts.append(draw_strip(strip, palette, manifest.row_tokens, box, label=label))
        palette.closed = True
    parts += _legend(height - 18)
    name = "Rows of a stream beside rows that begin with documents"
    drawing = image(parts, PICTURE_WIDTH, height, name, "picture")
    drawing.attrib |= {"width": str(PICTURE_WIDTH), "height": str(height)}
    return svg_text(drawing) + "\n"


def _how_rows_begin(strips: Sequence[Strip]) -> str:
    headless = sum(strip[0].headless for strip in strips)
    if not headless:
        return f"all {len(strips)} rows begin with BOS (grey: other documents)"
    return f"{headless} of {len(strips)} rows begin inside a document whose beginning they lack"


def _legend(y: int) -> Iterator[Element]:
    """What the marks of the picture mean, in one line whose letters stand at `y`."""
    top, height, x = y - 10, 13, float(MARGIN)
    for kind, width, words in (
        ("bos", 2, "a document begins, with BOS"),
        ("added", 2, "goes on behind a BOS added"),
        ("headless", 22, "goes on without a BOS"),
        ("cut", 22, "cut here"),
    ):
        if kind in ("bos", "added"):
            yield _begin_mark(kind, x, top, height)
        else:
            place = Box(x, top, width, height)
            yield rectangle("d0", place)
            yield rectangle(kind, place) if kind == "headless" else _cut_mark(x + width, top, height)
        yield shape("text", class_="note", x=x + width + 6, y=y, text=words)
        x += width + 6 + int(len(words) * 5.9) + 22
