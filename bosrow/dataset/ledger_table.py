"""The ledger for people: where every token and every document went, as lines and as a table."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from bosrow.dataset.ledger import Ledger
from bosrow.dataset.manifest import SPLITS
from bosrow.report.numbers import percent

Ledgers = Mapping[str, Ledger]


class LedgerLine(NamedTuple):
    """A line of the ledger. `counts` are in the order of SPLITS; `share` is of all tokens (or documents) read."""

    label: str
    counts: tuple[int, ...]
    share: float | None
    indent: bool


def ledger_lines(ledgers: Ledgers) -> Iterator[LedgerLine]:
    """The lines of the ledger: tokens, then documents, then rows; lines of zeros are left out."""
    both = [ledgers[split] for split in SPLITS]

    def line(label: str, counts: list[int], whole: list[int] | None = None) -> LedgerLine:
        share = sum(counts) / max(1, sum(whole)) if whole else None
        return LedgerLine(label, tuple(counts), share, whole is not None)

    def parts(whole: list[int], named: dict[str, list[int]]) -> Iterator[LedgerLine]:
        return (line(label, counts, whole) for label, counts in named.items() if any(counts))

    read = [one.tokens_read for one in both]
    yield line("tokens read", read)
    yield from parts(
        read,
        {
            "in rows": [one.tokens_placed for one in both],
            "cropped, longer than a row": [one.tokens_cropped_long for one in both],
            "cropped to close a row": [one.tokens_cropped_fit for one in both],
            "in the last row, not full": [one.tokens_tail for one in both],
        }
        | {
            f"dropped, {reason}": [one.tokens_dropped[reason] for one in both] for reason in _reasons(ledgers, "tokens")
        },
    )
    documents = [one.documents_read for one in both]
    yield line("documents read", documents)
    yield from parts(
        documents,
        {
            "whole, in one piece": [one.documents_whole for one in both],
            "whole, in several pieces": [one.documents_split for one in both],
            "in part": [one.documents_cropped for one in both],
        }
        | {
            f"dropped, {reason}": [one.documents_dropped[reason] for one in both]
            for reason in _reasons(ledgers, "documents")
        },
    )
    yield line("rows", [one.rows for one in both])
    for label, counts in {
        "cuts": [one.cuts for one in both],
        "BOS added after cuts": [one.added_bos for one in both],
        "tokens repeated between rows": [one.tokens_repeated for one in both],
    }.items():
        if any(counts):
            yield line(label, counts)


def _reasons(ledgers: Ledgers, what: str) -> list[str]:
    return sorted({reason for ledger in ledgers.values() for reason in getattr(ledger, f"{what}_dropped")})


def ledger_table(ledgers: Ledgers) -> Table:
    """The ledger for a terminal: a column for each split with documents, and one for the share over both splits."""
    shown = [place for place, split in enumerate(SPLITS) if ledgers[split].documents_read]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    for place in shown:
        table.add_column(SPLITS[place], justify="right")
    table.add_column("", justify="right", style="dim")
    for label, counts, share, indent in ledger_lines(ledgers):
        style = "red" if label.startswith(("cropped", "dropped")) else "" if indent else "bold"
        cells = [Text(f"{counts[place]:,}", style) for place in shown]
        table.add_row(Text(("  " if indent else "") + label, style), *cells, "" if share is None else percent(share))
    return table


def loss_line(ledgers: Ledgers) -> str | None:
    """How much the policy cropped, why, and which policy would not; None if nothing was cropped."""
    read = sum(ledger.tokens_read for ledger in ledgers.values())
    too_long = sum(ledger.tokens_cropped_long for ledger in ledgers.values())
    to_fit = sum(ledger.tokens_cropped_fit for ledger in ledgers.values())
    lost = too_long + to_fit
    if not lost:
        return None
    return (
        f"lost {percent(lost / read)} of all tokens: {percent(too_long / read)} of documents longer than a row, "
        f"{percent(to_fit / read)} cropped to close a row; --policy keep would have kept them"
    )
