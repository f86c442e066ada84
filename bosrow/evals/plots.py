"""Figures over training steps, each with its standard error as a band and, where there is one, chance as a line."""

import io
from pathlib import Path

from bosrow.files import replace_file

Point = tuple[int, float, float]  # step, value, standard error


def draw_over_steps(
    path: Path, title: str, ylabel: str, series: dict[str, list[Point]], *, chance: float | None = None
) -> None:
    """Draw `series` (name: points) to the PNG file `path`, atomically."""
    import matplotlib as mpl
    from matplotlib.figure import Figure  # no pyplot: no global state, no display

    columns = 1 if len(series) <= 8 else 2
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(9, 5), dpi=130, layout="constrained")
        axes = figure.subplots()
        colors = mpl.colormaps["tab10" if len(series) <= 10 else "tab20"]
        for number, (name, points) in enumerate(series.items()):
            color = colors(number % colors.N)
            steps, values, errors = zip(*sorted(points), strict=True)
            axes.plot(steps, values, color=color, marker="o", markersize=3.5, linewidth=1.5, label=name)
            low = [value - error for value, error in zip(values, errors, strict=True)]
            high = [value + error for value, error in zip(values, errors, strict=True)]
            axes.fill_between(steps, low, high, color=color, alpha=0.15, linewidth=0)
        if chance is not None:
            axes.axhline(chance, color="#777777", linewidth=1, linestyle="--", label="chance")
        axes.set(xlabel="optimizer step", ylabel=ylabel)
        axes.set_title(f"{title} (bands: one standard error)", fontsize=10, loc="left", wrap=True)
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), ncols=columns, fontsize=9)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    replace_file(path, buffer.getvalue())
