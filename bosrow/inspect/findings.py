"""`bosrow inspect`: what a data set is like, on a terminal, as JSON, or as one page.

Promise: every number is counted over all rows and documents, never estimated; the data set is not changed. Cost: one
pass over the provenance (about 4 million pieces a second), or over the shards where there is none; then the rows
that are shown.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from bosrow.dataset.ledger import Ledger
from bosrow.dataset.manifest import SPLITS, Manifest, read_manifest
from bosrow.dataset.provenance import Provenance
from bosrow.dataset.rows import Rows, open_rows
from bosrow.errors import OptionError
from bosrow.inspect.inspect_options import InspectOptions
from bosrow.inspect.row_text import PieceText, decoder_of, texts_of_rows
from bosrow.inspect.survey import Survey, survey, survey_rows, survey_stream
from bosrow.report.progress import progress_bar

MOST_BINS = 16  # of a histogram of small numbers; larger ones share the last bin


@dataclass(frozen=True, kw_only=True)
class ShownRow:
    """A row with its text; `row` counts within the split."""

    split: str
    row: int
    shard: str
    row_in_shard: int
    pieces: list[PieceText]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that is shown. Without provenance there is no `stream` to compare with and `survey` knows no documents."""

    data_dir: Path
    manifest: Manifest
    ledgers: dict[str, Ledger]
    provenance: Provenance | None
    survey: Survey
    stream: Survey | None
    rows: list[ShownRow]

    def total(self, name: str) -> int:
        """A count of the ledger over both splits."""
        return sum(getattr(ledger, name) for ledger in self.ledgers.values())

    @property
    def share_in_rows(self) -> float:
        """The share of all tokens read that stands in rows."""
        return self.total("tokens_placed") / max(1, self.total("tokens_read"))

    @property
    def note(self) -> str | None:
        """What cannot be known, and why."""
        if self.provenance is not None:
            return None
        added = ", and a BOS added after a cut looks like the start of a document" if self.total("added_bos") else ""
        return (
            "This data set was prepared with --no_provenance: the lengths of documents, their cuts and the rows that "
            f"stream packing would make of them are not known{added}."
        )


@dataclass(frozen=True, kw_only=True)
class LengthBin:
    """Documents of `least` to `most` tokens: how many there are, their tokens, and how many of these rows hold."""

    least: int
    most: int
    documents: int
    tokens: int
    in_rows: int


def examine(options: InspectOptions) -> Findings:
    """Count and read what is to be shown."""
    manifest = read_manifest(options.data_dir)
    ledgers = manifest.ledgers
    splits = {split: open_rows(options.data_dir, split) for split in SPLITS if manifest.rows_of(split)}
    if options.rows_shown and options.split not in splits:
        raise OptionError(f"{options.data_dir} has no {options.split} rows; it has: {', '.join(splits) or 'none'}")
    provenance = Provenance(options.data_dir) if manifest.provenance else None
    found = stream = None
    if provenance is not None:
        with progress_bar("counting") as progress:
            task = progress.add_task("", total=sum(map(len, splits.values())))
            found = survey(provenance, lambda rows: progress.advance(task, rows))
        if manifest.policy != "stream":
            stream = survey_stream(found.lengths, manifest.row_tokens)
    return Findings(
        data_dir=options.data_dir,
        manifest=manifest,
        ledgers=ledgers,
        provenance=provenance,
        survey=found or survey_rows(splits.values()),
        stream=stream,
        rows=_shown(splits[options.split], options.rows_shown, provenance) if options.rows_shown else [],
    )


def _shown(rows: Rows, count: int, provenance: Provenance | None) -> list[ShownRow]:
    """`count` rows, evenly spaced over the split."""
    numbers = sorted({int(row) for row in (np.arange(min(count, len(rows))) + 0.5) * len(rows) / min(count, len(rows))})
    texts = texts_of_rows(rows, numbers, provenance, decoder_of(rows.data_dir, rows.manifest))
    return [
        ShownRow(split=rows.split, row=row, shard=shard, row_in_shard=inside, pieces=texts[row])
        for row in numbers
        for shard, inside in [rows.locate(row)]
    ]


def length_bins(found: Survey) -> list[LengthBin]:
    """Documents by length, in bins that double: 1, 2 to 3, 4 to 7, ..."""
    if not len(found.lengths):
        return []
    power = np.frexp(found.lengths)[1] - 1  # floor of the binary logarithm, exact
    columns = [
        np.bincount(power, weights).astype(np.int64).tolist() for weights in (None, found.lengths, found.in_rows)
    ]
    return [
        LengthBin(least=1 << n, most=(2 << n) - 1, documents=documents, tokens=tokens, in_rows=in_rows)
        for n, (documents, tokens, in_rows) in enumerate(zip(*columns, strict=True))
        if n >= power.min()
    ]


def small_numbers(counts: npt.NDArray[np.int64]) -> list[tuple[str, int]]:
    """A histogram of small numbers, as (label, count): of n there are counts[n]. The last bin may hold the rest.

    >>> small_numbers(np.array([0, 5, 2]))
    [('1', 5), ('2', 2)]
    """
    there = np.flatnonzero(counts)
    if not len(there):
        return []
    first, last = int(there[0]), int(there[-1])
    if last - first < MOST_BINS:
        return [(f"{n:,}", int(counts[n])) for n in range(first, last + 1)]
    end = first + MOST_BINS - 1
    rest = (f"{end:,} or more", int(counts[end:].sum()))
    return [(f"{n:,}", int(counts[n])) for n in range(first, end)] + [rest]


def as_json(findings: Findings) -> dict[str, Any]:
    """What `--json` prints."""
    found, manifest = findings.survey, findings.manifest
    known = findings.provenance is not None
    return {
        "data_dir": str(findings.data_dir),
        "fingerprint": manifest.fingerprint,
        "policy": manifest.policy,
        "seq_len": manifest.seq_len,
        "row_tokens": manifest.row_tokens,
        "rows": {split: manifest.rows_of(split) for split in SPLITS},
        "ledger": {split: msgspec.to_builtins(ledger.record()) for split, ledger in findings.ledgers.items()},
        "provenance": known,
        "note": findings.note,
        "mean_context": found.mean_context,
        "mean_context_of_stream": findings.stream.mean_context if findings.stream else None,
        "least_cuts": found.least_cuts if known else None,
        "documents_by_length": [vars(one) for one in length_bins(found)] if known else None,
        "cuts_per_document": np.bincount(found.cuts).tolist() if known else None,
        "pieces_per_row": np.trim_zeros(found.pieces_per_row, "b").tolist(),
        "starts_by_column": found.starts.tolist(),
        "added_starts_by_column": found.added_starts.tolist(),
        "shown": [vars(row) | {"pieces": list(map(_piece, row.pieces))} for row in findings.rows],
    }


def _piece(piece: PieceText) -> dict[str, Any]:
    return vars(piece) | {"info": None if piece.info is None else piece.info._asdict()}


def describe(piece: PieceText, lossless: bool) -> Iterator[str]:
    """What a person should know of a piece, in a few words each: which part it is, and what became of the rest."""
    if piece.info is None:
        yield f"{piece.length:,} tokens"
        if piece.bos is None:
            yield "goes on from the row before"
        return
    tokens = piece.length - (piece.bos == "added")
    if not piece.before and not piece.after:
        yield f"whole, {tokens:,} tokens"
        return
    yield f"tokens {piece.before:,} to {piece.before + tokens:,} of {piece.info.tokens:,}"
    if piece.after:
        yield f"{piece.after:,} more {'stand in other rows' if lossless else 'were cropped'}"
