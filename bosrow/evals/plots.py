"""Figures over training steps, each with its standard error as a band and, where there is one, chance as a line."""

import math
from pathlib import Path
from typing import Any

from bosrow.report.plot_file import plot_file

Point = tuple[int, float, float]  # step, value, standard error
Series = dict[str, list[Point]]  # by its label; a line without one has no place in the legend

COLUMNS = 4


def draw_over_steps(
    path: Path, title: str, ylabel: str, panels: dict[str, Series], *, chance: float | None = None
) -> None:
    """Draw `panels` (heading: lines), side by side on common axes, to the PNG file `path`, atomically."""
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    inches = (9, 5) if len(panels) == 1 else (3 * columns + 1.5, 2.2 * rows + 1)
    with plot_file(path, inches) as figure:
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        for axes in grid.flat[len(panels) - columns : len(panels)]:
            axes.tick_params(labelbottom=True)
        for axes, (heading, series) in zip(grid.flat, panels.items(), strict=False):
            axes.set_title(heading, fontsize=9)
            for number, (label, points) in enumerate(series.items()):
                if points:
                    _line(axes, points, label, f"C{number % 10}")
            if chance is not None:
                axes.axhline(chance, color="#777777", linewidth=1, linestyle="--", label="chance")
        figure.suptitle(f"{title} (bands: one standard error)", fontsize=10, x=0.01, ha="left")
        figure.supxlabel("optimizer step", fontsize=10)
        figure.supylabel(ylabel, fontsize=10)
        entries = dict(zip(*reversed(grid.flat[0].get_legend_handles_labels()), strict=True))
        if entries:
            figure.legend(
                entries.values(), entries, loc="outside upper right", ncols=len(entries), frameon=False, fontsize=9
            )


def _line(axes: Any, points: list[Point], label: str, color: str) -> None:
    steps, values, errors = zip(*sorted(points), strict=True)
    axes.plot(steps, values, color=color, marker="o", markersize=3.5, linewidth=1.5, label=label or None)
    low = [value - error for value, error in zip(values, errors, strict=True)]
    high = [value + error for value, error in zip(values, errors, strict=True)]
    axes.fill_between(steps, low, high, color=color, alpha=0.15, linewidth=0)
