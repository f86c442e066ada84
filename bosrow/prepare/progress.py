"""What a preparation shows while it runs.

On a terminal one live line; elsewhere a line every `LINE_SECONDS`. Measuring memory walks /proc, so it is done
once a line, never once a batch.
"""

import sys
import time
from typing import TYPE_CHECKING

import psutil
from rich.console import Console
from rich.live import Live
from rich.text import Text

if TYPE_CHECKING:
    from bosrow.prepare.command import Run
    from bosrow.prepare.pool import Inline, Pool

LIVE_SECONDS = 0.5
LINE_SECONDS = 5.0


def memory_bytes() -> int:
    """Memory of this process and its children: PSS on Linux (shared pages counted once), RSS elsewhere."""
    me = psutil.Process()
    total = 0
    for process in [me, *me.children(recursive=True)]:
        try:
            memory = process.memory_full_info()
            total += getattr(memory, "pss", memory.rss)
        except psutil.Error:
            continue
    return total


class Progress:
    """A context manager; `update()` is cheap and may be called for every batch."""

    def __init__(self, run: "Run", pool: "Pool | Inline") -> None:
        self.run = run
        self.pool = pool
        self.console = Console(stderr=True)
        self.live = Live(console=self.console, auto_refresh=False, transient=True) if self.console.is_terminal else None
        self.began = self.shown = time.monotonic()
        self.documents_before, self.tokens_before = run.documents, self._tokens_read()
        self.share_before = run.share

    def __enter__(self) -> "Progress":
        if self.documents_before:
            print(f"going on after {self.documents_before:,} documents", file=sys.stderr)
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def update(self) -> None:
        """Show the state of things, if it is time."""
        now = time.monotonic()
        if now - self.shown < (LIVE_SECONDS if self.live else LINE_SECONDS):
            return
        self.shown = now
        line = self._line(now - self.began)
        if self.live:
            self.live.update(Text(line), refresh=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def _tokens_read(self) -> int:
        return sum(ledger.tokens_read for ledger in self.run.ledgers.values())

    def _line(self, seconds: float) -> str:
        run, tokens = self.run, self._tokens_read()
        share = run.share - self.share_before
        parts = [
            f"{run.share:4.0%}",
            f"{run.documents:,} docs ({(run.documents - self.documents_before) / seconds:,.0f}/s)",
            f"{tokens / 1e6:,.1f}M tokens ({(tokens - self.tokens_before) / seconds / 1e6:,.2f}M/s)",
            f"{sum(ledger.rows for ledger in run.ledgers.values()):,} rows",
            self._where_tokens_are(tokens),
            f"queue {self.pool.waiting_units}",
            f"memory {memory_bytes() / 2**20:,.0f} MiB",
        ]
        if share > 0:
            parts.append(f"ETA {_clock(seconds * (1 - run.share) / share)}")
        return " · ".join(parts)

    def _where_tokens_are(self, read: int) -> str:
        """The ledger so far, in shares of the tokens read."""
        ledgers = self.run.ledgers.values()
        held = sum(packer.waiting(split)[0] for packer in self.run.packers.values() for split in self.run.ledgers)
        parts = {
            "in rows": sum(ledger.tokens_placed for ledger in ledgers),
            "cropped": sum(ledger.tokens_cropped for ledger in ledgers),
            "held": held,
        }
        return ", ".join(f"{tokens / max(1, read):.1%} {name}" for name, tokens in parts.items() if tokens)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
