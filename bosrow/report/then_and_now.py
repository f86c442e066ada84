"""What has changed since an earlier command, as aligned lines: name, value then, value now."""

from collections.abc import Iterable
from typing import Any, NamedTuple


class Change(NamedTuple):
    """One thing that has another value now than it had then."""

    name: str
    then: Any
    now: Any


def changes(then: dict[str, Any], now: dict[str, Any]) -> list[Change]:
    """The names of `now` whose values differ from those of `then`."""
    return [Change(name, then.get(name), now[name]) for name in now if then.get(name) != now[name]]


def then_and_now(found: Iterable[Change]) -> str:
    """A line for each change.

    >>> print(then_and_now([Change("seq_len", 1024, 512), Change("policy", "crop", "keep")]))
      seq_len  1024  ->  512
      policy   crop  ->  keep
    """
    found = list(found)
    name_width = max((len(one.name) for one in found), default=0)
    then_width = max((len(str(one.then)) for one in found), default=0)
    return "\n".join(f"  {name:<{name_width}}  {then!s:<{then_width}}  ->  {now}" for name, then, now in found)
