"""How numbers are written for people: signs, intervals, shares, short forms; a dash for what is unknown."""

import math
from typing import Any, Protocol

DASH = "—"


class WithInterval(Protocol):
    """A difference and the bounds of its 95% interval; None or NaN where something is not defined."""

    @property
    def effect(self) -> float | None: ...

    @property
    def low(self) -> float | None: ...

    @property
    def high(self) -> float | None: ...


def signed(value: float | None, digits: int) -> str:
    """A difference with its sign; "not defined" for None and NaN.

    >>> signed(-0.5, 2)
    '−0.50'
    """
    if value is None or math.isnan(value):
        return "not defined"
    text = f"{value:+,.{digits}f}".replace("-", "−")
    return text if any(digit in text for digit in "123456789") else text[1:]


def has_interval(found: WithInterval) -> bool:
    """Whether both bounds are there."""
    return all(bound is not None and math.isfinite(bound) for bound in (found.low, found.high))


def interval(found: WithInterval, digits: int) -> str:
    """A difference with its interval, in a sentence."""
    if not has_interval(found):
        return f"{signed(found.effect, digits)} (no interval)"
    low, high = signed(found.low, digits), signed(found.high, digits)
    return f"{signed(found.effect, digits)} (95% interval {low} to {high})"


def bracketed(found: WithInterval, digits: int) -> str:
    """A difference with its interval, for a table."""
    if not has_interval(found):
        return signed(found.effect, digits)
    return f"{signed(found.effect, digits)} [{signed(found.low, digits)}, {signed(found.high, digits)}]"


def decimal(value: float | None, digits: int) -> str:
    """A number for a table, with so many digits behind the point."""
    return DASH if value is None else f"{value:,.{digits}f}"


def count(value: float | None) -> str:
    """A count for a table."""
    return decimal(value, 0)


def share(value: float | None) -> str:
    """A share in percent, for a table."""
    return DASH if value is None else f"{value:.1%}"


def percent(share: float) -> str:
    """A share for people. A tiny share never reads as 0.0%, nor nearly all as 100.0%.

    >>> percent(0.615), percent(0.0001), percent(0.0), percent(0.9999)
    ('61.5%', '<0.1%', '0.0%', '>99.9%')
    """
    if 0 < share < 0.0005:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= share < 1 else f"{share:.1%}"


def short(value: float) -> str:
    """A number in few characters.

    >>> short(0), short(950), short(12_500), short(3_400_000)
    ('0', '950', '12.5k', '3.4M')
    """
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def without_nan(value: Any) -> Any:
    """`value` with None for every number that is not finite, since JSON has no way to write one.

    >>> without_nan({"loss": [1.5, float("nan")]})
    {'loss': [1.5, None]}
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: without_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(part) for part in value]
    return value
