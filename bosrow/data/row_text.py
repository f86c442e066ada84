"""A row as a person reads it: the text of each piece, and what was cut.

What documents hold is not trusted: characters that would act on a terminal or a page (control characters, marks that
turn the direction of text) are shown as pictures of themselves.
"""

import itertools
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from bosrow.data.lookup import DocumentInfo, PlacedPiece, Provenance
from bosrow.data.manifest import Manifest
from bosrow.data.rows import Rows
from bosrow.data.tokenizer_file import dataset_tokenizer
from bosrow.errors import DataSetError

Decode = Callable[[npt.NDArray[np.uint16]], str]


@dataclass(frozen=True, kw_only=True)
class PieceText:
    """A piece with its text. Without provenance `document` is unknown, and so is what was cut.

    `bos` says whose BOS the piece begins with, if with any; `before` and `after` are how many tokens of the
    document stand before and after this piece, elsewhere or nowhere.
    """

    document: int | None
    column: int
    length: int
    text: str
    bos: Literal["own", "added"] | None
    before: int = 0
    after: int = 0


def printable(text: str) -> str:
    """`text` with every character made harmless that would act rather than show, but for newline and tab."""
    return "".join(character if character in "\n\t" else _picture(character) for character in text)


def _picture(character: str) -> str:
    if unicodedata.category(character) not in ("Cc", "Cf", "Zl", "Zp"):
        return character
    if character in "\u200c\u200d\u00ad":  # joiners and soft hyphens, which spelling needs
        return character
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else "\N{REPLACEMENT CHARACTER}"


def one_line(text: str, most: int = 80) -> str:
    """`text` harmless, on one line, of at most `most` characters."""
    text = " ".join(printable(text).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def decoder_of(data_dir: Path, manifest: Manifest) -> Decode:
    """How ids become text: the data set's tokenizer, or the ids themselves where it is none that bosrow has."""
    try:
        decode = dataset_tokenizer(data_dir, manifest).decode
    except DataSetError:
        return lambda ids: " ".join(map(str, ids.tolist()))
    return lambda ids: printable(decode(ids))


def text_of_pieces(
    rows: Rows, row: int, pieces: list[PlacedPiece], documents: dict[int, DocumentInfo], decode: Decode
) -> list[PieceText]:
    """The pieces of a row with their text. Raises DataSetError if they do not make up the row."""
    tokens = rows[row]
    if sum(placed.piece.length for placed in pieces) != len(tokens):
        raise DataSetError(f"the provenance of {rows.split} row {row} does not fit the row; the data set is damaged")
    found = []
    for placed in pieces:
        piece = placed.piece
        begins = piece.offset == 0 or piece.added_bos
        inside = tokens[placed.column + begins : placed.column + piece.length]
        end = piece.offset + piece.length - piece.added_bos
        found.append(
            PieceText(
                document=piece.document,
                column=placed.column,
                length=piece.length,
                text=decode(inside),
                bos="added" if piece.added_bos else "own" if begins else None,
                before=piece.offset,
                after=documents[piece.document].tokens - end,
            )
        )
    return found


def text_of_row(rows: Rows, row: int, provenance: Provenance | None, decode: Decode) -> list[PieceText]:
    """The text of a row; without provenance its pieces are the stretches from BOS to BOS."""
    if provenance is not None:
        pieces = provenance.pieces_of_row(rows.split, row)
        documents = provenance.documents_of(placed.piece.document for placed in pieces)
        return text_of_pieces(rows, row, pieces, documents, decode)
    tokens, starts = rows[row], rows.starts(row).tolist()
    bounds = sorted({0, *starts, len(tokens)})
    found = []
    for begin, end in itertools.pairwise(bounds):
        own = begin in starts
        text = decode(tokens[begin + own : end])
        found.append(PieceText(document=None, column=begin, length=end - begin, text=text, bos="own" if own else None))
    return found
