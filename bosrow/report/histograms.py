"""Small charts as SVG text: bars over bins, and lines, with axes.

Promise: all text is escaped, and colours are class names alone, so a page with a strict content security policy
can style them (no style attribute, no script). What a bar stands for is in its <title>, which browsers show on
hovering. Pure: numbers in, text out.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 10, 34  # around the plotted area
PLOT_WIDTH, PLOT_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
BROKEN_BAR = 2.5  # a bar more than this many times as high as all others is drawn broken

Ticks = Sequence[tuple[float, str]]  # place from 0 to 1, label


@dataclass(frozen=True, kw_only=True)
class Series:
    """Values, one for each bin or point; `kind` is the class that colours them."""

    name: str
    kind: str
    values: Sequence[float]


def short(value: float) -> str:
    """A number in few characters.

    >>> short(0), short(950), short(12_500), short(3_400_000)
    ('0', '950', '12.5k', '3.4M')
    """
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def round_steps(most: float) -> list[float]:
    """Round numbers from 0 to `most` or somewhat less, three to six of them.

    >>> round_steps(3_400)
    [0, 1000, 2000, 3000]
    """
    if most <= 0:
        return [0]
    raw = most / 4
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if raw <= size * factor * 1.25)
    return [step * number for number in range(int(most / step + 1e-9) + 1)]


def bars(
    stacked: Sequence[Series],
    labels: Sequence[str],
    ticks: Ticks,
    *,
    x_label: str,
    y_label: str,
    line: Series | None = None,
    mark: tuple[float, str] | None = None,
) -> str:
    """Bars in equal bins, `stacked` one on the other; `labels` say what each bin is.

    `line` is drawn over them as steps. `mark` is a vertical rule at a place from 0 to 1, with its name. One bar that
    is far higher than all others is drawn broken, with its value beside it.
    """
    totals = [sum(values) for values in zip(*(series.values for series in stacked), strict=True)]
    heights = sorted([*totals, *(line.values if line else ())])
    highest = heights[-1] if heights else 0
    others = max([value for value in totals if value != highest] + list(line.values if line else ()), default=0)
    broken = others > 0 and highest > BROKEN_BAR * others
    top = others * 1.3 if broken else highest * 1.08
    width = PLOT_WIDTH / max(1, len(totals))
    parts = [_frame(top, short, ticks, x_label, y_label)]
    for place, (label, total) in enumerate(zip(labels, totals, strict=True)):
        parts.append(f"<g><title>{escape(_told(label, stacked, place))}</title>")
        base = 0.0
        for series in stacked:
            value = min(series.values[place], max(0, top - base)) if top else 0
            if value > 0:
                x, y = LEFT + place * width, _y(base + value, top)
                high = _y(base, top) - y
                parts.append(
                    f'<rect class="{series.kind}" x="{x + 0.5:.2f}" y="{y:.2f}" width="{max(width - 1, 0.5):.2f}" '
                    f'height="{high:.2f}"/>'
                )
            base += value
        if broken and total > top:
            x = LEFT + place * width
            parts.append(f'<path class="gap" d="M{x - 1:.2f} {TOP + 12} l{width + 2:.2f} -5"/>')
            anchor, at = ("start", x + width + 3) if place < len(totals) / 2 else ("end", x - 3)
            parts.append(
                f'<text class="value" x="{at:.2f}" y="{TOP + 21}" text-anchor="{anchor}">{short(total)}</text>'
            )
        parts.append("</g>")
    if line:
        parts.append(_steps(line, top, width))
    if mark:
        parts.append(_mark(*mark, low=TOP))
    return _svg(parts, f"{y_label} by {x_label}")


def lines(series: Sequence[Series], ticks: Ticks, *, x_label: str, y_label: str) -> str:
    """Lines over points that are evenly spaced from the left to the right edge; values are shares from 0 to 1."""
    parts = [_frame(1.0, lambda value: f"{value:.0%}", ticks, x_label, y_label)]
    for one in series:
        last = max(1, len(one.values) - 1)
        points = " ".join(
            f"{LEFT + PLOT_WIDTH * place / last:.2f},{_y(value, 1.0):.2f}" for place, value in enumerate(one.values)
        )
        parts.append(
            f'<polyline class="line {one.kind}" points="{points}"><title>{escape(one.name)}</title></polyline>'
        )
    return _svg(parts, f"{y_label} by {x_label}")


def _told(label: str, stacked: Sequence[Series], place: int) -> str:
    values = ", ".join(f"{series.name} {series.values[place]:,.0f}" for series in stacked)
    return f"{label}: {values}"


def _y(value: float, top: float) -> float:
    return TOP + PLOT_HEIGHT * (1 - (value / top if top else 0))


def _frame(top: float, written: Callable[[float], str], ticks: Ticks, x_label: str, y_label: str) -> str:
    parts = []
    for value in round_steps(top):
        y = _y(value, top)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.2f}h{PLOT_WIDTH}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 3.5:.2f}" text-anchor="end">{escape(written(value))}</text>')
    for place, label in ticks:
        x = LEFT + PLOT_WIDTH * place
        anchor = "start" if place < 0.02 else "end" if place > 0.98 else "middle"
        parts.append(f'<text x="{x:.2f}" y="{TOP + PLOT_HEIGHT + 13}" text-anchor="{anchor}">{escape(label)}</text>')
        parts.append(f'<path class="axis" d="M{x:.2f} {TOP + PLOT_HEIGHT}v3"/>')
    parts.append(f'<path class="axis" d="M{LEFT} {TOP + PLOT_HEIGHT}h{PLOT_WIDTH}"/>')
    parts.append(f'<text class="label" x="{WIDTH - RIGHT}" y="{HEIGHT - 5}" text-anchor="end">{escape(x_label)}</text>')
    parts.append(f'<text class="label" x="4" y="{HEIGHT - 5}">{escape(y_label)}</text>')
    return "".join(parts)


def _steps(series: Series, top: float, width: float) -> str:
    values = [min(value, top) for value in series.values]
    path = "".join(
        f"{'M' if place == 0 else 'L'}{LEFT + place * width:.2f} {_y(value, top):.2f}h{width:.2f}"
        for place, value in enumerate(values)
    )
    return f'<path class="line {series.kind}" d="{path}"><title>{escape(series.name)}</title></path>'


def _mark(place: float, name: str, low: float) -> str:
    x = LEFT + PLOT_WIDTH * place
    anchor, at = ("end", x - 4) if place > 0.5 else ("start", x + 4)
    return (
        f'<path class="mark" d="M{x:.2f} {low}v{PLOT_HEIGHT}"/>'
        f'<text class="value" x="{at:.2f}" y="{low + 9}" text-anchor="{anchor}">{escape(name)}</text>'
    )


def _svg(parts: Sequence[str], name: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(name)}">'
        f"{''.join(parts)}</svg>"
    )
