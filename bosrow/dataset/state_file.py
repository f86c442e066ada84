"""The state file: where a preparation stands, so that the same command goes on to the same bytes.

One line of JSON, then the tokens of the documents still in the packers' buffers, then the SHA-256 of both. The file
is replaced atomically and removed when meta.json is in place.
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
MAX_HEAD_BYTES = 256 << 20  # of JSON: 1.8 million source files, at some 150 bytes each
SEAL_BYTES = 32


class State(NamedTuple):
    """What a state file holds; `tokens` are the ids in the packers' buffers, of the dtype of the run's tokenizer."""

    value: dict[str, Any]
    tokens: bytes


def write_state(folder: Path, value: dict[str, Any], tokens: Sequence[bytes | memoryview]) -> None:
    """Put a new state in place, durably. Raises DataSetError if it is longer than what is read back."""
    head = json.dumps({"schema": STATE_SCHEMA} | value).encode() + b"\n"
    body = b"".join(tokens)
    if len(head) > MAX_HEAD_BYTES or len(head) + len(body) + SEAL_BYTES > MAX_STATE_BYTES:
        raise DataSetError(
            f"{folder / STATE} would have {len(head):,} bytes of JSON and {len(body):,} of tokens, at most "
            f"{MAX_HEAD_BYTES:,} and {MAX_STATE_BYTES:,} together are read back; give fewer and larger source files, "
            "a larger --shard_rows or a smaller --buffer_docs or --buffer_tokens, and --fresh"
        )
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
        head = file.readline(MAX_HEAD_BYTES)
        if not head.endswith(b"\n"):
            raise DataSetError(
                f"{path} begins with no line of at most {MAX_HEAD_BYTES:,} bytes; it was damaged or edited, "
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
            f"{path} is of schema {schema}, this bosrow writes schema {STATE_SCHEMA}; go on with the "
            "bosrow that began it, or start over with --fresh"
        )
    tokens, seal = body[:-SEAL_BYTES], body[-SEAL_BYTES:]
    digest = hashlib.sha256(head)
    digest.update(tokens)
    if digest.digest() != seal:
        raise DataSetError(f"{path} does not match its own checksum, it was damaged or edited; --fresh starts over")
    return State(value, tokens)
