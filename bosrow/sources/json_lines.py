"""Reads lines of JSON: one object a line, from which only the text and the id are taken.

Promise: a line gives the text, the id or the fault that Python's `json` finds. So of two equal keys the last one
counts, and NaN and lone surrogates are allowed. Only very long numbers and deep nesting in other fields, which `json`
refuses, are no fault here.
Cost: msgspec reads only the two fields, two to five times as fast as `json`; lines that it refuses go to `json`. A line
of more than a megabyte is parsed by Arrow, which makes no str of it (one emoji makes a str four times as large).
"""

import json
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.json

from bosrow.errors import BadRowError
from bosrow.sources.unit import check_machine, id_of
from bosrow.tokenizers.tokenizer import utf8

LARGE_LINE_BYTES = 1 << 20
MAX_BLOCK_BYTES = (1 << 31) - 1  # Arrow parses at most this much at once
AS_LINES = "`jq -c '.[]' FILE` makes lines of an array, `jq -c . FILE` of objects that take several lines"


class Line(NamedTuple):
    """A line's text as UTF-8 and its id; or why the line is `bad`, as "kind (detail)"."""

    text: bytes | memoryview = b""
    id: str | None = None
    bad: str | None = None


def parse_line(line: memoryview, text_field: str, id_field: str | None) -> Line:
    """Read one line that is not blank."""
    if len(line) > LARGE_LINE_BYTES:
        return _by_arrow(line, text_field, id_field) or _by_json(line, text_field, id_field)
    return _by_msgspec(line, text_field, id_field) or _by_json(line, text_field, id_field)


def _by_msgspec(line: memoryview, text_field: str, id_field: str | None) -> Line | None:
    """A line whose text is a string; None for any other line."""
    decoder = _decoder(text_field, id_field)
    if decoder is None:
        return None
    try:
        str(line, "utf-8")  # msgspec does not look at strings that it skips
        found = decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return Line(utf8(found.text), id_of(found.id) if id_field is not None else None)


@lru_cache(maxsize=1)
def _decoder(text_field: str, id_field: str | None) -> msgspec.json.Decoder[Any] | None:
    fields: list[Any] = [("text", str)] + ([("id", Any, None)] if id_field is not None else [])
    names = {"text": text_field, "id": id_field}
    try:
        return msgspec.json.Decoder(msgspec.defstruct("Fields", fields, rename=names.get))
    except ValueError:  # one field for both, or a name that JSON would have to escape
        return None


def _by_json(line: memoryview, text_field: str, id_field: str | None) -> Line:
    try:
        value = json.loads(line.tobytes())
    except UnicodeDecodeError as error:
        return Line(bad=f"not UTF-8 ({error.reason} at byte {error.start} of the line)")
    except json.JSONDecodeError as error:
        array = line.tobytes().lstrip()[:1] == b"["
        return Line(bad=f"not JSON ({error}{f'; {AS_LINES}' if array else ''})")
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or thousands of nested brackets
        return _by_arrow(line, text_field, id_field) or Line(bad=f"not JSON ({error})")
    if not isinstance(value, dict):
        advice = f"; {AS_LINES}" if isinstance(value, list) else ""
        return Line(bad=f"not JSON (an object was required, this is a {type(value).__name__}{advice})")
    text = value.get(text_field)
    if isinstance(text, str):
        return Line(utf8(text), id_of(value.get(id_field)))
    if text is not None:
        return Line(bad=f"not text (a {type(text).__name__})")
    if text_field in value:
        return Line(bad="null")
    return Line(bad=f"no text (there is no field {text_field!r}; there are: {', '.join(value)[:200]})")


def _by_arrow(line: memoryview, text_field: str, id_field: str | None) -> Line | None:
    """A line whose text is a string and whose id is a string or a whole number; None for any other."""
    if len(line) >= MAX_BLOCK_BYTES or text_field == id_field:
        return None
    whole = pyarrow.json.ReadOptions(use_threads=False, block_size=len(line) + 1)
    for kind in (pa.large_string(), pa.int64()) if id_field is not None else (None,):
        fields = [(text_field, pa.large_string())] + ([(id_field, kind)] if kind else [])
        options = pyarrow.json.ParseOptions(explicit_schema=pa.schema(fields), unexpected_field_behavior="ignore")
        try:
            table = pyarrow.json.read_json(pa.BufferReader(line), whole, options)
        except pa.ArrowException as error:
            check_machine("a long line of JSON cannot be parsed", error)
            continue
        if len(table) == 1 and (text := table[text_field][0].as_buffer()) is not None:
            return Line(memoryview(text), id_of(table[id_field][0].as_py()) if kind else None)
    return None


def check_lines(name: str, data: bytes) -> None:
    """Raise BadRowError if a file, which begins with `data`, holds an array or an object over several lines."""
    bracket = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").split(b"\n", 1)[0].strip()
    if bracket in (b"[", b"{"):
        kind = "an array" if bracket == b"[" else "an object"
        raise BadRowError(f"{name} begins with {kind} over several lines, one object a line was required; {AS_LINES}")
