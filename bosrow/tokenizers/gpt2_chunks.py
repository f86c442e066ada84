"""Long texts in chunks that GPT-2's tokenizer can take one at a time.

Promise: the ids of the chunks, joined, are the ids of the whole text. Cost: a short search for each chunk. A chunk is
longer than asked for only where a text goes on without a safe place to cut, as within one very long word.
"""

import functools
import re
from collections.abc import Iterator

# A document longer than this is encoded in chunks. Less than a million, since tiktoken's regular-expression
# engine gives up ("Max stack size") at a million white-space characters before another character.
CHUNK_BYTES = 1 << 19
WINDOW_BYTES = 1 << 16  # of text searched at once for a place to cut
LOOK_AHEAD_BYTES = 8  # that tell such a place, at most


@functools.cache
def _safe_cut() -> re.Pattern[bytes]:
    """Places in UTF-8 text where no match of GPT2_PATTERN, nor a look-ahead's outcome, crosses over.

    These are: before white space that follows something else; before the last character of a run of white
    space (which the pattern always leaves to the next word); after an ASCII letter or digit before an ASCII
    character of another class. White space is Unicode's White_Space, as tiktoken's \\s, not Python's.
    """
    spaces = [
        rb"[\t-\r ]",
        rb"\xc2[\x85\xa0]",
        rb"\xe1\x9a\x80",
        rb"\xe2\x80[\x80-\x8a\xa8\xa9\xaf]",
        rb"\xe2\x81\x9f",
        rb"\xe3\x80\x80",
    ]
    space = b"(?:" + b"|".join(spaces) + b")"
    after_space = b"(?:" + b"|".join(b"(?<=" + kind + b")" for kind in spaces) + b")"
    after_other = b"".join(b"(?<!" + kind + b")" for kind in spaces)
    return re.compile(
        after_other + b"(?=" + space + b")"
        b"|" + after_space + b"(?=" + space + b"(?!" + space + b").)"
        rb"|(?<=[A-Za-z])(?=[^A-Za-z\x80-\xff])"
        rb"|(?<=[0-9])(?=[^0-9\x80-\xff])",
        re.DOTALL,
    )


def text_chunks(data: bytes | memoryview, chunk_bytes: int = CHUNK_BYTES) -> Iterator[memoryview]:
    """Cut UTF-8 text into chunks of about `chunk_bytes` whose ids, joined, are those of the whole."""
    view = memoryview(data)
    start = 0
    while len(view) - start > chunk_bytes:
        cut = _next_cut(view, start + chunk_bytes)
        if cut is None:
            break
        yield view[start:cut]
        start = cut
    yield view[start:]


def _next_cut(view: memoryview, begin: int) -> int | None:
    """The first safe cut from `begin` on. Searched in windows: while a search lasts no other thread runs."""
    while begin < len(view):
        end = min(begin + WINDOW_BYTES, len(view))
        cut = _safe_cut().search(view, begin, end)
        known = end if end == len(view) else end - LOOK_AHEAD_BYTES  # beyond it the pattern may lack what follows
        if cut is not None and cut.start() < known:
            return cut.start()
        begin = known
    return None
