"""The state file: how far a preparation has come, so that the same command goes on and gives the same bytes.

It holds one line of JSON, then the tokens of the documents that the packers hold, then the SHA-256 of both. The file
is replaced atomically, and deleted after meta.json is written.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bosrow.errors import DataSetError
from bosrow.files import check_regular, replace_file
from bosrow.strict_json import parse_json

STATE = "state.bin"
STATE_SCHEMA = 3
MAX_STATE_BYTES = 4 << 30
MAX_HEAD_BYTES = 256 << 20  # of JSON: 1.8 million source files at about 150 bytes each
SEAL_BYTES = 32


class State(NamedTuple):
    """The contents of a state file. `tokens` are those of all documents that the packers hold, of the run's dtype."""

    value: dict[str, Any]
    tokens: bytes


def write_state(folder: Path, value: dict[str, Any], tokens: Sequence[bytes | memoryview]) -> None:
    """Replace the state file, durably. Raises DataSetError if it would be too long for `read_state`."""
    head = json.dumps({"schema": STATE_SCHEMA} | value).encode() + b"\n"
    body = b"".join(tokens)
    if len(head) > MAX_HEAD_BYTES or len(head) + len(body) + SEAL_BYTES > MAX_STATE_BYTES:
        raise DataSetError(
            f"{folder / STATE} would have {len(head):,} bytes of JSON and {len(body):,} of tokens; at most "
            f"{MAX_HEAD_BYTES:,} and {MAX_STATE_BYTES:,} in all are allowed; give fewer and larger source files, "
            "a larger --shard_rows or a smaller --buffer_docs or --buffer_tokens, with --fresh"
        )
    digest = hashlib.sha256(head)
    digest.update(body)
    replace_file(folder / STATE, head, body, digest.digest())


def read_state(folder: Path) -> State | None:
    """The state in `folder`; None if there is none. Raises DataSetError if it is damaged."""
    path = folder / STATE
    if not path.exists():
        return None
    check_regular(path, MAX_STATE_BYTES)
    with open(path, "rb") as file:
        head = file.readline(MAX_HEAD_BYTES)
        if not head.endswith(b"\n"):
            raise DataSetError(
                f"{path} does not begin with a line of at most {MAX_HEAD_BYTES:,} bytes; it was damaged or edited, "
                "--fresh starts over"
            )
        try:
            value = parse_json(head, str(path))
        except DataSetError as error:
            raise DataSetError(f"{error}; it was damaged or edited, --fresh starts over") from None
        body = file.read()
    schema = value.pop("schema", None)
    if schema != STATE_SCHEMA:
        raise DataSetError(
            f"{path} has schema {schema}, this bosrow reads schema {STATE_SCHEMA}; go on with the "
            "version of bosrow that began it, or start over with --fresh"
        )
    tokens, seal = body[:-SEAL_BYTES], body[-SEAL_BYTES:]
    digest = hashlib.sha256(head)
    digest.update(tokens)
    if digest.digest() != seal:
        raise DataSetError(f"{path} does not match its own checksum; it was damaged or edited, --fresh starts over")
    return State(value, tokens)
