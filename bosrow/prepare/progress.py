"""What a preparation shows while it runs.

Memory is measured once a line and not once a batch, since that takes long.
"""

from collections.abc import Callable
from typing import NamedTuple

import psutil
from rich.console import Console

from bosrow.prepare.pool import Inline, Pool
from bosrow.report.progress import ProgressLine

LINE_SECONDS = 5.0


def memory_bytes() -> int:
    """Bytes of memory of this process and its children: PSS on Linux (shared pages count once), RSS elsewhere."""
    me = psutil.Process()
    total = 0
    for process in [me, *me.children(recursive=True)]:
        try:
            memory = process.memory_full_info()
            total += getattr(memory, "pss", memory.rss)
        except psutil.Error:
            continue
    return total


class Totals(NamedTuple):
    """How far a run has come. `share` is of the source."""

    share: float
    documents: int
    rows: int
    tokens_read: int
    tokens_placed: int
    tokens_cropped: int
    tokens_held: int


class Progress(ProgressLine):
    """Progress of a run that may go on from an earlier one."""

    def __init__(self, totals: Callable[[], Totals], pool: Pool | Inline) -> None:
        super().__init__(Console(stderr=True), plain_seconds=LINE_SECONDS, transient=True)
        self.totals = totals
        self.pool = pool
        self.before = totals()
        if self.before.documents:
            self.note(f"going on after {self.before.documents:,} documents")

    def update(self) -> None:
        """Show a new line, if it is time for one. It is cheap enough for every batch."""
        if not self.is_due():
            return
        now, before, seconds = self.totals(), self.before, self.seconds
        parts = [
            f"{now.share:4.0%}",
            f"{now.documents:,} docs ({(now.documents - before.documents) / seconds:,.0f}/s)",
            f"{now.tokens_read / 1e6:,.1f}M tokens ({(now.tokens_read - before.tokens_read) / seconds / 1e6:,.2f}M/s)",
            f"{now.rows:,} rows",
            _where_tokens_are(now),
            f"queue {self.pool.waiting_units}",
            f"memory {memory_bytes() / 2**20:,.0f} MiB",
        ]
        if now.share > before.share:
            parts.append(self.left(now.share - before.share, 1 - now.share))
        self.show(" · ".join(parts))


def _where_tokens_are(now: Totals) -> str:
    """The ledger so far, in shares of the tokens read."""
    parts = {"in rows": now.tokens_placed, "cropped": now.tokens_cropped, "held": now.tokens_held}
    return ", ".join(f"{tokens / max(1, now.tokens_read):.1%} {name}" for name, tokens in parts.items() if tokens)
