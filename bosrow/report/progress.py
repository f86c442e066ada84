"""How work goes on, for people: a bar that only a terminal shows, or a line that a log gets now and then."""

import time
from typing import Literal, Self

from rich.console import Console
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

LIVE_SECONDS = 0.5  # between two states of a line on a terminal


def progress_bar(doing: str, shown: Literal["percent", "count", "bytes"] = "percent", things: str = "") -> Progress:
    """A bar behind the word `doing`, gone when it ends. `shown` is what stands behind it; `things` are counted."""
    figures: dict[str, tuple[ProgressColumn, ...]] = {
        "percent": (TaskProgressColumn(),),
        "count": (MofNCompleteColumn(), TextColumn(things)),
        "bytes": (DownloadColumn(), TransferSpeedColumn()),
    }
    console = Console(stderr=True)
    columns = (TextColumn(doing), BarColumn(), *figures[shown], TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


class ProgressLine:
    """A line of figures while it is entered: rewritten on a terminal, elsewhere a new one every `plain_seconds`."""

    def __init__(self, console: Console, *, plain_seconds: float, transient: bool) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=transient) if console.is_terminal else None
        self._every_seconds = LIVE_SECONDS if self._live else plain_seconds
        self._began = self._shown = time.monotonic()

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def left(self, done: float, to_do: float) -> str:
        """How long `to_do` takes if it goes on like `done`, which has taken the time since the beginning."""
        return f"{duration(self.seconds / done * to_do)} left"

    def is_due(self) -> bool:
        """Whether it is time to show the line again. Cheap enough for every step."""
        return time.monotonic() - self._shown >= self._every_seconds

    def show(self, line: str) -> None:
        """Show the line as it is now."""
        self._shown = time.monotonic()
        if self._live:
            self._live.update(Text(line, style="bold"), refresh=True)
        else:
            self.note(line)

    def note(self, text: str) -> None:
        """Say one thing that stays on the screen."""
        self._console.print(Text(text), soft_wrap=True)


def duration(seconds: float) -> str:
    """`seconds` as 1d 2h, 2h 3m, 3m 4s or 4s."""
    whole = round(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {whole % 60}s" if minutes else f"{whole}s"
