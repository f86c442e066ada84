"""How numbers are written in a report: differences with their signs, intervals, shares; a dash for what is unknown."""

import math
from typing import Any

Content = dict[str, Any]
DASH = "—"


def signed(value: float | None, digits: int) -> str:
    """A difference with its sign; "not defined" for None and NaN.

    >>> signed(-0.5, 2)
    '−0.50'
    """
    if value is None or math.isnan(value):
        return "not defined"
    text = f"{value:+,.{digits}f}".replace("-", "−")
    return text if any(digit in text for digit in "123456789") else text[1:]


def has_interval(found: Content) -> bool:
    """Whether both bounds are there."""
    return all(found[name] is not None and math.isfinite(found[name]) for name in ("low", "high"))


def interval(found: Content, digits: int) -> str:
    """An effect with its interval, in a sentence."""
    if not has_interval(found):
        return f"{signed(found['effect'], digits)} (no interval)"
    low, high = signed(found["low"], digits), signed(found["high"], digits)
    return f"{signed(found['effect'], digits)} (95% interval {low} to {high})"


def figure(value: float | None, digits: int) -> str:
    """A number for a table."""
    return DASH if value is None else f"{value:,.{digits}f}"


def bracketed(found: Content, digits: int) -> str:
    """An effect with its interval, for a table."""
    if not has_interval(found):
        return signed(found["effect"], digits)
    return f"{signed(found['effect'], digits)} [{signed(found['low'], digits)}, {signed(found['high'], digits)}]"


def share(value: float | None) -> str:
    """A share in percent."""
    return DASH if value is None else f"{value:.1%}"


def seeds_behind(found: Content) -> str:
    """How many seeds stand behind a difference."""
    return f"{found['treatment_seeds']} + {found['control_seeds']} seeds"


def percent(share: float) -> str:
    """A share for people; what is not nothing does not look like nothing, nor what is not all like all.

    >>> percent(0.615), percent(0.0001), percent(0.0), percent(0.9999)
    ('61.5%', '<0.1%', '0.0%', '>99.9%')
    """
    if 0 < share < 0.0005:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= share < 1 else f"{share:.1%}"
