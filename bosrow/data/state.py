"""The state file: where a preparation stands, so that the same command goes on to the same bytes.

One line of JSON, then the tokens of the documents still in the packers' buffers, then the SHA-256 of both. The file
is replaced atomically and removed when meta.json is in place.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bosrow.errors import DataSetError
from bosrow.files import MAX_JSON_BYTES, check_regular, parse_json, replace_file

STATE = "state.bin"
STATE_SCHEMA = 3
MAX_STATE_BYTES = 4 << 30
SEAL_BYTES = 32


class State(NamedTuple):
    """What a state file holds; `tokens`, shape (tokens of all held documents,), are those in the packers' buffers."""

    value: dict[str, Any]
    tokens: npt.NDArray[np.uint16]


def write_state(folder: Path, value: dict[str, Any], tokens: list[npt.NDArray[np.uint16]]) -> None:
    """Put a new state in place, durably."""
    head = json.dumps({"schema": STATE_SCHEMA} | value).encode() + b"\n"
    body = b"".join(part.tobytes() for part in tokens)
    digest = hashlib.sha256(head)
    digest.update(body)
    replace_file(folder / STATE, head, body, digest.digest())


def read_state(folder: Path) -> State | None:
    """The state in `folder`, or None where there is none. Raises DataSetError if it is damaged."""
    path = folder / STATE
    if not path.exists():
        return None
    check_regular(path, MAX_STATE_BYTES)
    with open(path, "rb") as file:
        head = file.readline(MAX_JSON_BYTES)
        try:
            value = parse_json(head, str(path))
        except DataSetError as error:
            raise DataSetError(f"{error}; it was damaged or edited, --fresh starts over") from None
        body = file.read()
    if value.get("schema") != STATE_SCHEMA:
        raise DataSetError(
            f"{path} is of schema {value.get('schema')}, this bosrow writes schema {STATE_SCHEMA}; go on with the "
            "bosrow that began it, or start over with --fresh"
        )
    tokens, seal = body[:-SEAL_BYTES], body[-SEAL_BYTES:]
    digest = hashlib.sha256(head)
    digest.update(tokens)
    if digest.digest() != seal or len(tokens) % 2:
        raise DataSetError(f"{path} does not match its own checksum, it was damaged or edited; --fresh starts over")
    return State(value, np.frombuffer(tokens, "<u2"))
