"""Reads JSON from untrusted files: finite numbers, each key once, and exactly the types that are asked for.

Structures are described as msgspec structs or dataclasses. Nothing is converted: 1.0 and true are not counts.
"""

import json
import math
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec

from bosrow.errors import DataSetError

Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]  # sums of a few counts fit into 64 bits
Sha256 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Kind = TypeVar("Kind")


class Invalid(Exception):
    """What was read is not what bosrow writes. Code that knows the file turns this into a DataSetError."""


class Record(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A JSON object with known fields and no others."""


def typed(value: Any, kind: type[Kind], name: str = "") -> Kind:
    """`value` as an instance of `kind`. Raises Invalid, which says at which place below `name` it does not fit."""
    try:
        return msgspec.convert(value, kind, dec_hook=_other)
    except msgspec.ValidationError as error:
        message = str(error).replace("`", "").replace("$", name)
        raise Invalid(message) from None
    except OverflowError as error:  # an integer of hundreds of digits, where a float was expected
        raise Invalid(f"{name}: {error}") from None


def _other(kind: type, value: Any) -> Any:
    """Convert types that JSON and TOML write as strings."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise msgspec.ValidationError(f"Expected `{kind.__name__}`, got `{type(value).__name__}`")


def parse_json(data: bytes, name: str) -> dict:
    """Parse an untrusted JSON object: finite numbers, each key once. Raises DataSetError, naming `name`."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    def finite(number: str) -> float:
        return float(number) if math.isfinite(float(number)) else refuse(number)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        return value if len(value) == len(pairs) else refuse("a key that is given twice")

    try:
        value = json.loads(data, parse_constant=refuse, parse_float=finite, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise DataSetError(f"{name} is not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise DataSetError(f"{name} holds a JSON {type(value).__name__}, an object was required")
    return value
