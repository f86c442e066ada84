"""A line of JSON gives the text and id that Python's `json` gives, by whatever parser it is read."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bosrow.sources.json_lines import LARGE_LINE_BYTES, parse_line
from bosrow.sources.unit import id_of
from bosrow.tokenizers.tokenizer import utf8

VALUES = [
    *(
        b'"a"',
        b'"caf\xc3\xa9"',
        b'"\\u00e9\\ud83d\\ude00"',
        b'"\\ud800"',
        b'"\xed\xa0\x80"',
        b'"\xff"',
        b'"a\tb"',
        b'"\\x"',
    ),
    *(b"1", b"-0", b"1.50", b"1e5", b"1e400", b"5e-324", b"18446744073709551616", b"01", b"+1", b".5", b"1."),
    *(b"NaN", b"-Infinity", b"null", b"true", b"[1, {}]", b'{"text": "inner"}', b"[1,]", b"", b"\x00"),
]
FIELDS = [b'"text"', b'"\\u0074ext"', b'"id"', b'"n"', b"text"]


def by_python(line: bytes, id_field: str | None) -> tuple[bytes, str | None] | None:
    """The slow and obvious reading."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        return None
    return utf8(value["text"]), None if id_field is None else id_of(value.get(id_field))


def by_bosrow(line: bytes, id_field: str | None) -> tuple[bytes, str | None] | None:
    text, name, bad = parse_line(memoryview(line), "text", id_field)
    return (bytes(text), name) if bad is None else None


@given(
    st.lists(st.tuples(st.sampled_from(FIELDS), st.sampled_from(VALUES)), max_size=5),
    st.sampled_from([b"", b" ", b"x"]),
)
def test_every_line_is_read_as_python_reads_it(fields: Any, end: bytes):
    line = b"{" + b", ".join(name + b": " + value for name, value in fields) + b"}" + end
    for id_field in (None, "id", "text"):
        assert by_bosrow(line, id_field) == by_python(line, id_field)


@pytest.mark.parametrize("name", [b'"row 7"', b"7", b"null"])
@pytest.mark.parametrize("filling", [b"[" * 3000 + b"]" * 3000, b'{"a":' * 3000 + b"1" + b"}" * 3000, b"9" * 5000])
def test_what_stands_beside_text_and_id_may_be_as_long_or_deep_as_it_likes(name, filling):
    line = b'{"n": %s, "id": %s, "text": "one"}' % (filling, name)
    plain = b'{"id": %s, "text": "one"}' % name
    assert by_bosrow(line, None) == (b"one", None)
    assert by_bosrow(line, "id") == by_python(plain, "id")


@pytest.mark.parametrize("name", [b'"row 7"', b"7", b"null", b"1.5", b'"\\ud800"', b"[1]"])
def test_a_long_line_is_read_as_a_short_one(name):
    line = b'{"id": %s, "text": "%s"}' % (name, b"word " * (LARGE_LINE_BYTES // 5 + 1))
    for id_field in (None, "id"):
        assert by_bosrow(line, id_field) == by_python(line, id_field)


def test_a_field_name_that_json_has_to_escape_is_found():
    assert bytes(parse_line(memoryview(b'{"a\\"b": "one"}'), 'a"b', None).text) == b"one"
