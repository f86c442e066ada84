"""What a person sees of a run: a live line on a terminal, elsewhere a line now and then; only on the main rank."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.text import Text

PLAIN_SECONDS = 10.0


def duration(seconds: float) -> str:
    """`seconds` as 1d 2h, 2h 3m, 3m 4s or 4s."""
    whole = round(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {whole % 60}s" if minutes else f"{whole}s"


class TrainingProgress:
    """The progress of steps `start` + 1 to `total`."""

    def __init__(
        self, *, speaks: bool, start: int, total: int, flops_per_token: float, peak_flops: float | None
    ) -> None:
        self._console = Console(quiet=not speaks, highlight=False)
        self._live = Live(console=self._console, refresh_per_second=4) if self._console.is_terminal else None
        self._start, self._total = start, total
        self._flops_per_token, self._peak_flops = flops_per_token, peak_flops  # of all ranks together
        self._began = time.monotonic()
        self._spoke = float("-inf")

    def __enter__(self) -> "TrainingProgress":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def note(self, text: str) -> None:
        """Print a line that stays on the screen."""
        self._console.print(escape(text), soft_wrap=True)

    @contextmanager
    def not_counted(self) -> Iterator[None]:
        """Leave the time of this block out of the estimate of the time left."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._began += time.monotonic() - began

    def step(self, step: int, loss: float, tokens_per_second: float) -> None:
        """Show that step `step` is done."""
        now = time.monotonic()
        left = (now - self._began) / (step - self._start) * (self._total - step)
        parts = [f"step {step:,}/{self._total:,}", f"loss {loss:.4f}", f"{tokens_per_second:,.0f} tokens/s"]
        if self._peak_flops:
            parts.append(f"MFU {tokens_per_second * self._flops_per_token / self._peak_flops:.1%}")
        parts.append(f"{duration(left)} left" if step < self._total else f"done in {duration(now - self._began)}")
        line = "  ".join(parts)
        if self._live:
            self._live.update(Text(line, style="bold"))
        elif now - self._spoke >= PLAIN_SECONDS or step == self._total:
            self._spoke = now
            self.note(line)
