"""A row as a person reads it: the text of each piece, and what was cut.

The text of documents is not trusted. Characters that would act on a terminal or a page (control characters, marks that
change the direction of text) are replaced by visible ones.
"""

import itertools
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bosrow.dataset.dataset_tokenizer import dataset_tokenizer
from bosrow.dataset.document_table import DocumentInfo
from bosrow.dataset.manifest import Manifest
from bosrow.dataset.piece_table import PlacedPiece
from bosrow.dataset.provenance import Provenance
from bosrow.dataset.rows import Rows
from bosrow.errors import DataSetError
from bosrow.tokenizers.token_ids import TokenArray

Decode = Callable[[TokenArray], str]


@dataclass(frozen=True, kw_only=True)
class PieceText:
    """A piece with its text. Without provenance `info` is None, and what was cut is not known.

    `bos` says whose BOS the piece begins with, if with any; `before` and `after` are how many tokens of the
    document stand before and after this piece, elsewhere or nowhere.
    """

    info: DocumentInfo | None
    column: int
    length: int
    text: str
    bos: Literal["own", "added"] | None
    before: int = 0
    after: int = 0


def printable(text: str) -> str:
    """`text` with characters that would act on a terminal replaced by visible ones; newline and tab stay."""
    return "".join(character if character in "\n\t" else _picture(character) for character in text)


def _picture(character: str) -> str:
    if unicodedata.category(character) not in ("Cc", "Cf", "Zl", "Zp") and character not in "\ufffe\uffff":
        return character  # these two, which are no characters, would end an SVG file
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
    """How ids become text: by the data set's tokenizer, or as numbers where bosrow does not have that tokenizer."""
    try:
        decode = dataset_tokenizer(data_dir, manifest).decode
    except DataSetError:
        return lambda ids: " ".join(map(str, ids.tolist()))
    return lambda ids: printable(decode(ids))


def text_of_pieces(
    rows: Rows, row: int, pieces: list[PlacedPiece], documents: dict[int, DocumentInfo], decode: Decode
) -> list[PieceText]:
    """The pieces of a row with their text."""
    tokens = rows[row]
    found = []
    for placed in pieces:
        piece, info = placed.piece, documents[placed.piece.document]
        begins = piece.offset == 0 or piece.added_bos
        inside = tokens[placed.column + begins : placed.column + piece.length]
        found.append(
            PieceText(
                info=info,
                column=placed.column,
                length=piece.length,
                text=decode(inside),
                bos="added" if piece.added_bos else "own" if begins else None,
                before=piece.offset,
                after=info.tokens - (piece.offset + piece.length - piece.added_bos),
            )
        )
    return found


def texts_of_rows(
    rows: Rows, numbers: Sequence[int], provenance: Provenance | None, decode: Decode
) -> dict[int, list[PieceText]]:
    """The text of each of the rows `numbers`; without provenance its pieces are the stretches from BOS to BOS."""
    if provenance is None:
        return {row: _stretches(rows, row, decode) for row in numbers}
    pieces_of = provenance.pieces.of_rows(rows.split, numbers)
    documents = provenance.documents.of(placed.piece.document for pieces in pieces_of.values() for placed in pieces)
    return {row: text_of_pieces(rows, row, pieces_of[row], documents, decode) for row in numbers}


def _stretches(rows: Rows, row: int, decode: Decode) -> list[PieceText]:
    tokens, starts = rows[row], rows.starts(row).tolist()
    found = []
    for begin, end in itertools.pairwise(sorted({0, *starts, len(tokens)})):
        own = begin in starts
        text = decode(tokens[begin + own : end])
        found.append(PieceText(info=None, column=begin, length=end - begin, text=text, bos="own" if own else None))
    return found
