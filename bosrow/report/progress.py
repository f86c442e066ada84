"""A progress bar on a terminal, and silence where standard error is none."""

from typing import Literal

from rich.console import Console
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
