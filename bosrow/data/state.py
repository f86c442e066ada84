"""The state file: where a preparation stands, so that the same command goes on to the same bytes.

One line of JSON, then the tokens of the documents still in the packers' buffers. The JSON names the SHA-256
of those tokens. The file is replaced atomically and removed when meta.json is in place.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bosrow.errors import DataSetError
from bosrow.files import parse_json, read_untrusted, replace_file

STATE = "state.bin"
STATE_SCHEMA = 2
MAX_STATE_BYTES = 4 << 30


class State(NamedTuple):
    """What a state file holds; `tokens`, shape (tokens of all held documents,), are those in the packers' buffers."""

    value: dict[str, Any]
    tokens: npt.NDArray[np.uint16]


def write_state(folder: Path, value: dict[str, Any], tokens: list[npt.NDArray[np.uint16]]) -> None:
    """Put a new state in place, durably."""
    body = b"".join(part.tobytes() for part in tokens)
    head = {"schema": STATE_SCHEMA, "tokens_sha256": hashlib.sha256(body).hexdigest()} | value
    replace_file(folder / STATE, json.dumps(head).encode() + b"\n", body)


def read_state(folder: Path) -> State | None:
    """The state in `folder`, or None where there is none. Raises DataSetError if it is damaged."""
    path = folder / STATE
    if not path.exists():
        return None
    line, _, body = read_untrusted(path, MAX_STATE_BYTES).partition(b"\n")
    value = parse_json(line, str(path))
    if value.get("schema") != STATE_SCHEMA:
        raise DataSetError(
            f"{path} is of schema {value.get('schema')}, this bosrow writes schema {STATE_SCHEMA}; go on with the "
            "bosrow that began it, or start over with --fresh"
        )
    if value.get("tokens_sha256") != hashlib.sha256(body).hexdigest():
        raise DataSetError(f"{path} does not match its own checksum; --fresh starts over")
    return State(value, np.frombuffer(body, "<u2"))
