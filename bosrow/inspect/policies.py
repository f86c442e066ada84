"""`bosrow policies`: what each policy would make of a corpus, before anyone spends hours on it.

Packing needs lengths alone, so a sample is tokenized once and packed four times. Cost: tokenizing `--sample_docs`
documents, or nothing with `--from`, then about a second for 20,000 documents.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bosrow.dataset.provenance import Provenance
from bosrow.dataset.provenance_layout import PieceColumns
from bosrow.errors import SourceError
from bosrow.inspect.inspect_options import PoliciesOptions
from bosrow.inspect.survey import Survey, survey_pieces
from bosrow.packing.policy import Row
from bosrow.packing.table import POLICIES, make_policy
from bosrow.prepare.pool import open_pool
from bosrow.prepare.worker import Task
from bosrow.report.numbers import percent
from bosrow.report.progress import progress_bar
from bosrow.sources.find import find_source
from bosrow.sources.token_files import check_tokenizer
from bosrow.sources.unit import BadRow, Position
from bosrow.tokenizers.by_name import open_tokenizer

LEGEND = (
    "lost: tokens that no row will hold. docs cut: documents in several pieces, or cropped. cuts/least: cuts as a "
    "multiple of those that no packing without loss can avoid. context: tokens of its own document before a "
    "predicted token, on average."
)


@dataclass(frozen=True, kw_only=True)
class PolicyFigures:
    """What one policy makes of a sample. Shares are of the tokens, or documents, read."""

    policy: str
    rows: int
    lost: float  # tokens in no row and no stored tail
    documents_cut: float  # in several pieces, or cropped
    cuts_per_document: float
    cuts_over_least: float | None  # as a multiple of what no packing without loss can avoid; None for lossy policies
    mean_context: float


def compare_policies(
    lengths: Sequence[int], *, row_tokens: int, buffer_docs: int, buffer_tokens: int
) -> list[PolicyFigures]:
    """Pack documents of these lengths (BOS counted, in order) by every policy."""
    return [
        _figures(name, lengths, row_tokens=row_tokens, buffer_docs=buffer_docs, buffer_tokens=buffer_tokens)
        for name in POLICIES
    ]


def _figures(
    name: str, lengths: Sequence[int], *, row_tokens: int, buffer_docs: int, buffer_tokens: int
) -> PolicyFigures:
    policy = make_policy(name, row_tokens=row_tokens, buffer_docs=buffer_docs, buffer_tokens=buffer_tokens)
    rows = [row for document, tokens in enumerate(lengths) for row in policy.add(document, tokens)] + policy.finish()
    read = np.array(lengths, np.int64)
    found: Survey = survey_pieces([(len(rows), [as_columns(rows)])], read, row_tokens, stream=name == "stream")
    tail = sum(piece.length - piece.added_bos for piece in policy.unfilled)
    in_part = found.in_rows < found.lengths if policy.lossy else np.zeros(len(read), bool)
    if policy.lossy:
        in_part[[piece.document for piece in policy.unfilled]] = False  # whole, though the last row was not full
    return PolicyFigures(
        policy=name,
        rows=len(rows),
        lost=1 - (int(found.in_rows.sum()) + tail) / max(1, int(read.sum())),
        documents_cut=float(((found.cuts > 0) | in_part).mean()),
        cuts_per_document=float(found.cuts.mean()),
        cuts_over_least=None if policy.lossy else int(found.cuts.sum()) / max(1, found.least_cuts),
        mean_context=found.mean_context,
    )


def as_columns(rows: Sequence[Row]) -> PieceColumns:
    """The pieces of `rows` as arrays."""
    lines = []
    for number, row in enumerate(rows):
        column = 0
        for document, offset, length, added_bos in row.pieces:
            lines.append((number, column, length, document, offset, added_bos))
            column += length
    table = np.array(lines, np.int64).reshape(-1, 6).T
    return dict(zip(("row", "column", "length", "document", "offset", "added_bos"), table, strict=True))


def policies(options: PoliciesOptions) -> None:
    """Print what every policy makes of a sample of the corpus."""
    if options.from_dir is not None:
        every = Provenance(options.from_dir).documents.lengths()
        lengths, without_text = every[: options.sample_docs or len(every)].tolist(), 0
    else:
        lengths, without_text = read_lengths(options)
    preparation = options.preparation("crop")
    figures = compare_policies(
        lengths,
        row_tokens=preparation.row_tokens,
        buffer_docs=options.buffer_docs,
        buffer_tokens=options.buffer_tokens,
    )
    if options.json:
        sample = {"documents": len(lengths), "tokens": sum(lengths), "rows_without_text": without_text}
        print(json.dumps(sample | {"seq_len": options.seq_len, "policies": [asdict(line) for line in figures]}))
        return
    console = Console(highlight=False)
    left_out = f" ({without_text:,} rows without usable text left out)" if without_text else ""
    median = np.median(lengths)
    console.print(
        f"{len(lengths):,} documents{left_out}, {sum(lengths):,} tokens, median {median:,.0f}, "
        f"in rows of {preparation.row_tokens:,} with a buffer of {options.buffer_docs:,} documents\n",
        soft_wrap=True,
    )
    console.print(policy_table(figures))
    console.print(f"\n[dim]{LEGEND}[/dim]\n")
    advice = Table.grid(padding=(0, 2))
    for name, policy in POLICIES.items():
        advice.add_row(name, policy.advice)
    console.print(advice)


def policy_table(figures: Sequence[PolicyFigures]) -> Table:
    """The figures for people, a line for each policy."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("policy", no_wrap=True)
    for heading in ("lost", "docs cut", "cuts/doc", "cuts/least", "rows", "context"):
        table.add_column(heading, justify="right", no_wrap=True)
    for line in figures:
        table.add_row(
            line.policy,
            percent(line.lost),
            percent(line.documents_cut),
            f"{line.cuts_per_document:.2f}",
            "–" if line.cuts_over_least is None else f"{line.cuts_over_least:.2f}",
            f"{line.rows:,}",
            f"{line.mean_context:,.0f}",
        )
    return table


def read_lengths(options: PoliciesOptions) -> tuple[list[int], int]:
    """Tokens of the first documents of the corpus, and how many rows without usable text stood between them.

    Raises SourceError if no document has text.
    """
    preparation = options.preparation("crop")
    source = find_source(preparation)
    tokenizer = open_tokenizer(preparation.tokenizer, preparation.asked_tokens)
    check_tokenizer(source, tokenizer)
    task = Task(
        source=source,
        tokenizer=tokenizer.spec,
        engine=tokenizer.engine,
        kept_tokens=1,
        val_fraction=0.0,
        keeps_split=False,
        batch_docs=preparation.batch_docs,
    )
    lengths: list[int] = []
    without_text, first_without = 0, ""
    most = options.sample_docs
    with (
        open_pool(task, Position(), 0, preparation.workers) as pool,
        progress_bar("reading", "count", "documents") as progress,
    ):
        shown: Any = progress.add_task("", total=most or None)
        for item in pool:
            if item is not None and item[1] is not None:
                documents = item[1].documents
                lengths += [document.length for document in documents if not isinstance(document, BadRow)]
                bad = [document for document in documents if isinstance(document, BadRow)]
                if bad and not without_text:
                    first_without = f"{source.files[bad[0].file].name}, row {bad[0].row}: {bad[0].reason}"
                without_text += len(bad)
                progress.update(shown, completed=len(lengths))
            if 0 < most <= len(lengths):
                break
    if not lengths:
        found = f"; of its {without_text:,} rows the first is {first_without}" if without_text else ""
        raise SourceError(f"the corpus holds no document with text{found}")
    return lengths[: most or None], without_text
