"""What a person sees of a run: step, loss and speed, and notes of what else happens; only on the main rank."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from bosrow.report.progress import ProgressLine, duration


class TrainingProgress(ProgressLine):
    """The progress of steps `start` + 1 to `total`."""

    def __init__(
        self, *, speaks: bool, start: int, total: int, flops_per_token: float, peak_flops: float | None
    ) -> None:
        super().__init__(Console(quiet=not speaks), plain_seconds=10.0, transient=False)
        self._start, self._total = start, total
        self._flops_per_token, self._peak_flops = flops_per_token, peak_flops  # of all ranks together

    @contextmanager
    def not_counted(self) -> Iterator[None]:
        """Leave the time of this block out of the estimate of the time left."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._began += time.monotonic() - began

    def step(self, step: int, loss: float, tokens_per_second: float) -> None:
        """Show that step `step` is done. The first and the last are always shown."""
        if not self.is_due() and step not in (self._start + 1, self._total):
            return
        parts = [f"step {step:,}/{self._total:,}", f"loss {loss:.4f}", f"{tokens_per_second:,.0f} tokens/s"]
        if self._peak_flops:
            parts.append(f"MFU {tokens_per_second * self._flops_per_token / self._peak_flops:.1%}")
        left = self.left(step - self._start, self._total - step)
        parts.append(left if step < self._total else f"done in {duration(self.seconds)}")
        self.show("  ".join(parts))
