"""Long texts in chunks that a tokenizer can take one at a time.

A byte-pair tokenizer first splits a text by a regular expression; a place that no match of it crosses is safe to cut.
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
NOWHERE = re.compile(rb"(?!)")  # for a tokenizer whose safe places are not known


# Alternatives of the split patterns in use: of GPT-2, cl100k, o200k, Llama 3, Qwen, DeepSeek, nanochat and their kin.
# None of them matches an ASCII letter or digit and white space after it, and none looks behind.
_CONTRACTION = "'s|'t|'re|'ve|'m|'ll|'d"
_LETTERS = (r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]")
# A possessive quantifier, "++" for "+", only forbids to give back what was taken: it matches no more.
POSSESSIVE = re.compile(r"(?<=[?*+}])\+")
_ENDING_WITH_WORDS = (
    *_CONTRACTION.split("|"),
    *("'(?:[sdmt]|ll|ve|re)", "'(?i:[sdmt]|ll|ve|re)", f"(?i:{_CONTRACTION})", f"(?:{_CONTRACTION})"),
    *(r" ?\p{L}+", r"[^\r\n\p{L}\p{N}]?\p{L}+", r"\p{L}+"),
    *(r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+", r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+"),
    rf"[^\r\n\p{{L}}\p{{N}}]?{_LETTERS[0]}*{_LETTERS[1]}+(?i:{_CONTRACTION})?",
    rf"[^\r\n\p{{L}}\p{{N}}]?{_LETTERS[0]}+{_LETTERS[1]}*(?i:{_CONTRACTION})?",
    *(r" ?\p{N}+", r"\p{N}", r"\p{N}+", r"\p{N}{1,2}", r"\p{N}{1,3}"),
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+""",
    *(r" ?[^\s\p{L}\p{N}]+", r" ?[^\s\p{L}\p{N}]+[\r\n]*", r" ?[^\s\p{L}\p{N}]+[\r\n/]*"),
    *(r" ?[\p{P}\p{S}]+[\r\n]*", "[一-龥぀-ゟ゠-ヿ]+"),
    *(r"\s+$", r"\s*[\r\n]+", r"\s*[\r\n]", r"\s+(?!\S)", r"\s+", r"\s"),
)
ENDING_WITH_WORDS = {POSSESSIVE.sub("", alternative) for alternative in _ENDING_WITH_WORDS}


def alternatives(pattern: str) -> list[str]:
    """The alternatives of a regular expression, which are joined by "|" outside all brackets.

    >>> alternatives(r"'(?:s|d)| ?\\p{L}+|[|]")
    ["'(?:s|d)", ' ?\\\\p{L}+', '[|]']
    """
    found, depth, in_class, escaped = [""], 0, False, False
    for character in pattern:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif in_class:
            in_class = character != "]"
        elif character == "[":
            in_class = True
        elif character in "()":
            depth += 1 if character == "(" else -1
        elif character == "|" and depth == 0:
            found.append("")
            continue
        found[-1] += character
    return found


def word_cut(*patterns: str) -> re.Pattern[bytes] | None:
    """After an ASCII letter or digit, before white space; None if a match of a pattern may cross such a place."""
    written = [POSSESSIVE.sub("", pattern.replace("\r", r"\r").replace("\n", r"\n")) for pattern in patterns]
    if not written or not all(one in ENDING_WITH_WORDS for pattern in written for one in alternatives(pattern)):
        return None
    return re.compile(rb"(?<=[A-Za-z0-9])(?=[\t-\r ])")


@functools.cache
def gpt2_cut() -> re.Pattern[bytes]:
    """Places in UTF-8 text where no match of GPT-2's pattern, nor a look-ahead's outcome, crosses over.

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


def text_chunks(
    data: bytes | memoryview, safe_cut: re.Pattern[bytes], chunk_bytes: int = CHUNK_BYTES
) -> Iterator[memoryview]:
    """Cut UTF-8 text at places of `safe_cut` into chunks of about `chunk_bytes`; their ids, joined, are the whole's."""
    view = memoryview(data)
    start = 0
    while len(view) - start > chunk_bytes:
        cut = _next_cut(view, safe_cut, start + chunk_bytes)
        if cut is None:
            break
        yield view[start:cut]
        start = cut
    yield view[start:]


def _next_cut(view: memoryview, safe_cut: re.Pattern[bytes], begin: int) -> int | None:
    """The first safe cut from `begin` on. Searched in windows: while a search lasts no other thread runs."""
    while begin < len(view):
        end = min(begin + WINDOW_BYTES, len(view))
        cut = safe_cut.search(view, begin, end)
        known = end if end == len(view) else end - LOOK_AHEAD_BYTES  # beyond it the pattern may lack what follows
        if cut is not None and cut.start() < known:
            return cut.start()
        begin = known
    return None
