"""What a preparation shows while it runs.

On a terminal that is one live line, elsewhere a line every `LINE_SECONDS`. Memory is measured once a line and not once
a batch, since that takes long.
"""

import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import psutil
from rich.console import Console
from rich.live import Live
from rich.text import Text

from bosrow.prepare.pool import Inline, Pool

LIVE_SECONDS = 0.5
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


class Progress:
    """A context manager; `update()` is cheap and may be called for every batch."""

    def __init__(self, totals: Callable[[], Totals], pool: Pool | Inline) -> None:
        self.totals = totals
        self.pool = pool
        self.console = Console(stderr=True)
        self.live = Live(console=self.console, auto_refresh=False, transient=True) if self.console.is_terminal else None
        self.began = self.shown = time.monotonic()
        self.before = totals()

    def __enter__(self) -> "Progress":
        if self.before.documents:
            print(f"going on after {self.before.documents:,} documents", file=sys.stderr)
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def update(self) -> None:
        """Show a new line, if it is time for one."""
        now = time.monotonic()
        if now - self.shown < (LIVE_SECONDS if self.live else LINE_SECONDS):
            return
        self.shown = now
        line = self._line(now - self.began)
        if self.live:
            self.live.update(Text(line), refresh=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def _line(self, seconds: float) -> str:
        now, before = self.totals(), self.before
        share = now.share - before.share
        parts = [
            f"{now.share:4.0%}",
            f"{now.documents:,} docs ({(now.documents - before.documents) / seconds:,.0f}/s)",
            f"{now.tokens_read / 1e6:,.1f}M tokens ({(now.tokens_read - before.tokens_read) / seconds / 1e6:,.2f}M/s)",
            f"{now.rows:,} rows",
            _where_tokens_are(now),
            f"queue {self.pool.waiting_units}",
            f"memory {memory_bytes() / 2**20:,.0f} MiB",
        ]
        if share > 0:
            parts.append(f"ETA {_clock(seconds * (1 - now.share) / share)}")
        return " · ".join(parts)


def _where_tokens_are(now: Totals) -> str:
    """The ledger so far, in shares of the tokens read."""
    parts = {"in rows": now.tokens_placed, "cropped": now.tokens_cropped, "held": now.tokens_held}
    return ", ".join(f"{tokens / max(1, now.tokens_read):.1%} {name}" for name, tokens in parts.items() if tokens)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
