"""`bosrow trace`: from a row, a position or a training step to its documents, and from a document to its steps.

Promise: exact. The answer is calculated from the order of training and the provenance; no log of a training is
needed. Cost: reading the row groups of the provenance that can hold the answer. Of the steps that read a document, at
most LISTED_STEPS are calculated over all of its pieces.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bosrow.dataset.batch_plan import BatchPlan, plan_batch
from bosrow.dataset.document_table import DocumentInfo
from bosrow.dataset.order import MAX_ROWS, Integers, RowOrder, positions_of_step
from bosrow.dataset.piece_table import PlacedPiece
from bosrow.dataset.provenance import Provenance
from bosrow.dataset.rows import Rows, open_rows
from bosrow.errors import OptionError
from bosrow.inspect.row_text import PieceText, decoder_of, one_line, text_of_pieces
from bosrow.inspect.trace_options import TraceOptions
from bosrow.packing.table import LOSSLESS

SHOWN_PIECES, SHOWN_STEPS = 12, 8  # of a document, on a terminal
LISTED_STEPS = 100_000  # of a document's pieces together, by --json; each piece has at least SHOWN_STEPS
READS_A_STEP = 3  # of a row, at most, where a step holds less than two epochs


@dataclass(frozen=True, kw_only=True)
class TracedRow:
    """A row and, where a position or step led to it, its place in training."""

    row: int
    position: int | None = None
    epoch: int | None = None
    rank: int | None = None
    micro_batch: int | None = None


def trace(options: TraceOptions) -> None:
    """Print what was asked for. Raises OptionError if it is out of range, DataSetError without provenance."""
    provenance = Provenance(options.data_dir)
    if options.document is not None:
        traced = document_trace(provenance, options)
        print(json.dumps(traced) if options.json else "\n".join(_document_lines(traced, options)))
        return
    rows = open_rows(options.data_dir, options.split)
    found = row_traces(provenance, rows, traced_rows(rows, options), with_text=options.text)
    if options.json:
        print(json.dumps({"data_dir": str(options.data_dir), "split": options.split, "rows": found}))
    else:
        lines = [line for row in found for line in _row_lines(options.split, row)]
        print("\n".join([*_step_lines(found, options), *lines]))


def traced_rows(rows: Rows, options: TraceOptions) -> list[TracedRow]:
    """The rows asked for, in the order in which they were read."""
    if options.row is not None:
        return [TracedRow(row=options.row)]
    order = RowOrder(rows=len(rows), seed=options.seed)
    if options.position is not None:
        row = int(order.rows_at(np.array([options.position]))[0])
        return [TracedRow(row=row, position=options.position, epoch=options.position // len(rows))]
    assert options.step is not None
    plan = _plan(options, rows.row_tokens - 1)
    found = []
    for rank in range(options.world_size) if options.rank is None else [options.rank]:
        positions = positions_of_step(options.step - 1, plan.rows_per_step, rank, options.world_size)
        for number, (position, row) in enumerate(
            zip(positions.tolist(), order.rows_at(positions).tolist(), strict=True)
        ):
            found.append(
                TracedRow(
                    row=row,
                    position=position,
                    epoch=position // len(rows),
                    rank=rank,
                    micro_batch=number // plan.micro_batch_size,
                )
            )
    return found


def _plan(options: TraceOptions, seq_len: int) -> BatchPlan:
    return plan_batch(
        total_batch_tokens=options.total_batch_tokens,
        micro_batch_size=options.micro_batch_size,
        seq_len=seq_len,
        world_size=options.world_size,
    )


def row_traces(provenance: Provenance, rows: Rows, traced: list[TracedRow], *, with_text: bool) -> list[dict[str, Any]]:
    """For each of `traced` its place and its pieces with their documents, as JSON."""
    pieces_of = provenance.pieces.of_rows(rows.split, (one.row for one in traced))
    documents = provenance.documents.of(placed.piece.document for pieces in pieces_of.values() for placed in pieces)
    decode = decoder_of(provenance.data_dir, provenance.manifest)
    found = []
    for one in traced:
        pieces = pieces_of[one.row]
        shard, row_in_shard = rows.locate(one.row)
        texts = text_of_pieces(rows, one.row, pieces, documents, decode) if with_text else [None] * len(pieces)
        place = {name: value for name, value in asdict(one).items() if value is not None}
        lines = [
            _piece(placed, documents[placed.piece.document], text) for placed, text in zip(pieces, texts, strict=True)
        ]
        found.append(place | {"shard": shard, "row_in_shard": row_in_shard, "pieces": lines})
    return found


def _piece(placed: PlacedPiece, document: DocumentInfo, text: PieceText | None) -> dict[str, Any]:
    piece = placed.piece
    tokens = piece.length - piece.added_bos
    return {
        "column": placed.column,
        "length": piece.length,
        "document": piece.document,
        "offset": piece.offset,
        "tokens": tokens,
        "document_tokens": document.tokens,
        "whole": tokens == document.tokens,
        "added_bos": bool(piece.added_bos),
        "source_file": document.source_file,
        "source_row": document.source_row,
        "id": document.id,
    } | ({} if text is None else {"text": text.text})


def document_trace(provenance: Provenance, options: TraceOptions) -> dict[str, Any]:
    """Where the document is, how often each piece is read up to --max_train_steps (once an epoch), in which steps."""
    assert options.document is not None
    document = provenance.documents[options.document]
    placed = provenance.pieces.of_document(options.document)
    splits = {one.split: open_rows(options.data_dir, one.split) for one in placed}
    decode = decoder_of(provenance.data_dir, provenance.manifest)
    seq_len = provenance.manifest.seq_len
    pieces: list[dict[str, Any]] = []
    end = 0
    for one in placed:
        piece, rows = one.piece, splits[one.split]
        shard, row_in_shard = rows.locate(one.row)
        line = {"split": one.split, "row": one.row, "shard": shard, "row_in_shard": row_in_shard, "column": one.column}
        line |= {"length": piece.length, "offset": piece.offset, "tokens": piece.length - piece.added_bos}
        line |= {"added_bos": bool(piece.added_bos)}
        if options.text:
            begins = piece.added_bos or piece.offset == 0
            line["text"] = decode(rows[one.row][one.column + begins : one.column + piece.length])
        pieces.append(line)
        end = max(end, piece.offset + piece.length - piece.added_bos)
    trained = [line for line in pieces if line["split"] == "train"]
    if trained:
        rows_of = np.array([line["row"] for line in trained])
        for line, seen in zip(trained, _times_read(rows_of, len(splits["train"]), options, seq_len), strict=True):
            line |= seen
    return {
        "data_dir": str(options.data_dir),
        "policy": provenance.manifest.policy,
        "document": document._asdict(),
        "pieces": pieces,
        "tokens_in_no_row": document.tokens - end,
    }


def _times_read(rows: Integers, total: int, options: TraceOptions, seq_len: int) -> Iterator[dict[str, Any]]:
    """For each of `rows` (n,) out of `total`: how often training reads it, and the logged steps that do, the first."""
    rows_per_step = _plan(options, seq_len).rows_per_step
    end = options.max_train_steps * rows_per_step  # of the positions that training reads
    if end > MAX_ROWS:
        raise OptionError(f"{end:,} rows in --max_train_steps {options.max_train_steps:,}; at most 2**62 are possible")
    order = RowOrder(rows=total, seed=options.seed)
    times = end // total + (order.positions_of(rows, end // total) < end)
    listed = min(options.max_train_steps, max(SHOWN_STEPS, LISTED_STEPS // len(rows)))
    if rows_per_step >= 2 * total:  # each step holds a whole epoch at least
        steps = np.broadcast_to(np.arange(1, listed + 1), (len(rows), listed))
    else:
        epochs = np.arange(min(-(-end // total), READS_A_STEP * listed))
        steps = order.positions_of(rows[:, None], epochs) // rows_per_step + 1
    for count, found in zip(times.tolist(), steps, strict=True):
        yield {"times_read": count, "steps": np.unique(found[found <= options.max_train_steps])[:listed].tolist()}


def _step_lines(found: list[dict[str, Any]], options: TraceOptions) -> Iterator[str]:
    """What a step read, in one line."""
    if options.step is not None:
        documents = {piece["document"] for row in found for piece in row["pieces"]}
        positions = [row["position"] for row in found]
        whose = f"all {options.world_size} ranks" if options.world_size > 1 else "one process"
        whose = whose if options.rank is None else f"rank {options.rank} of {options.world_size}"
        yield (
            f"step {options.step:,}, {whose}: {len(found):,} rows with {len(documents):,} documents, "
            f"positions {min(positions):,} to {max(positions):,}"
        )


def _row_lines(split: str, row: dict[str, Any]) -> Iterator[str]:
    head = f"{split} row {row['row']:,}: row {row['row_in_shard']:,} of {row['shard']}"
    if "position" in row:
        head += f", position {row['position']:,}, epoch {row['epoch']}"
    if "rank" in row:
        head += f", rank {row['rank']}, micro batch {row['micro_batch']}"
    yield head
    for piece in row["pieces"]:
        yield f"  column {piece['column']:>5}  {_what(piece)}  {_source(piece)}"
        yield from _text_lines(piece)


def _what(piece: dict[str, Any]) -> str:
    name = f"document {piece['document']:,}"
    if piece["whole"]:
        return f"{name}, whole: {piece['tokens']:,} tokens"
    end = piece["offset"] + piece["tokens"]
    extra = ", after a BOS of its own" if piece["added_bos"] else ""
    return f"{name}, tokens {piece['offset']:,} to {end:,} of {piece['document_tokens']:,}{extra}"


def _source(piece: dict[str, Any]) -> str:
    name = "" if piece["id"] is None else f", id {one_line(piece['id'])}"
    return f"({one_line(piece['source_file'], 200)}, row {piece['source_row']:,}{name})"


def _document_lines(found: dict[str, Any], options: TraceOptions) -> Iterator[str]:
    document = found["document"]
    yield f"document {document['document']:,}: {document['tokens']:,} tokens  {_source(document)}"
    for piece in found["pieces"][:SHOWN_PIECES]:
        what = f"tokens {piece['offset']:,} to {piece['offset'] + piece['tokens']:,}"
        place = f"{piece['split']} row {piece['row']:,} (row {piece['row_in_shard']:,} of {piece['shard']})"
        bos = ", after a BOS of its own" if piece["added_bos"] else ""
        seen = f"; {_seen(piece, options)}" if "steps" in piece else ""
        yield f"  {what} in {place}, column {piece['column']:,}{bos}{seen}"
        yield from _text_lines(piece)
    more = len(found["pieces"]) - SHOWN_PIECES
    if more > 0:
        yield f"  and {more:,} more pieces; --json lists all"
    if found["tokens_in_no_row"]:
        where = (
            "they wait in the stored tail" if found["policy"] in LOSSLESS else "cropped, or of the unfilled last row"
        )
        yield f"  {found['tokens_in_no_row']:,} tokens are in no row: {where}"


def _text_lines(piece: dict[str, Any]) -> Iterator[str]:
    if "text" in piece:
        yield from (f"    {line}" for line in piece["text"].split("\n"))


def _seen(piece: dict[str, Any], options: TraceOptions) -> str:
    steps, times, of = piece["steps"], piece["times_read"], f"{options.max_train_steps:,}"
    if not times:
        return f"not read in {of} steps"
    shown = ", ".join(f"{step:,}" for step in steps[:SHOWN_STEPS])
    more = ", ..." if len(steps) > SHOWN_STEPS else ""
    often = f", {times:,} times in {of} steps" if times > SHOWN_STEPS else ""
    return f"read in step{'s' * (len(steps) > 1)} {shown}{more}{often}"
