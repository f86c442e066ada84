"""Token files: the shards of llm.c and modded-nanogpt, and nanoGPT's flat `.bin`.

All files together are one stream of uint16 ids, divided at end-of-text (50256). llm.c puts it before each document,
nanoGPT after each; both give the same documents here. A document may continue in the next file. Its row, in provenance
and messages, is the position of its first id in the file where it begins.
"""

from collections.abc import Iterator
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from bosrow.errors import OptionError, SourceError
from bosrow.open_files import mapped
from bosrow.sources.source import Source
from bosrow.sources.unit import Document, Position, Unit
from bosrow.tokenizers.gpt2 import END_OF_TEXT, VOCABULARY_SHA256
from bosrow.tokenizers.tokenizer import Tokenizer

# github.com/karpathy/llm.c, dev/data/data_common.py: a header of 256 int32; the first three are magic, version, tokens.
LLMC_MAGIC, LLMC_VERSION, LLMC_HEADER_BYTES = 20240520, 1, 1024
OTHER_FILES = {  # by first bytes, which are unlikely for ids of GPT-2
    b"\x93NUMPY": "a .npy file of numpy",
    (20240801).to_bytes(4, "little"): "a file of llm.c with 32-bit ids (Llama 3)",
    b"MMIDIDX\0\0": "an index of Megatron",
    b"\x28\xb5\x2f\xfd": "a file compressed by zstd",
}
LEAST_FOURTHS = 4  # groups of four ids that are needed to judge their width
UNIT_TOKENS = 4 << 20
SCAN_TOKENS = 1 << 20


Tokens = npt.NDArray[np.uint16]


def check_tokenizer(source: Source, tokenizer: Tokenizer) -> None:
    """Raise OptionError where `source` is of token files, whose ids are GPT-2's, and the tokenizer is another."""
    if source.format == "tokens" and tokenizer.vocabulary_sha256 != VOCABULARY_SHA256:
        raise OptionError(
            f"{source.files[0].name} is a token file, which holds ids of GPT-2, so --tokenizer {tokenizer.spec.name} "
            "is not theirs; leave it out, or give the text by --data_files"
        )


def open_tokens(path: str, name: str) -> Tokens:
    """The ids of a token file, memory-mapped, shape (tokens,). Raises SourceError if it is not a token file."""
    data = mapped(path)
    head = data[:LLMC_HEADER_BYTES].tobytes()
    if int.from_bytes(head[:4], "little") == LLMC_MAGIC:
        _, version, tokens = np.frombuffer(head[:12], "<i4").tolist()
        found = (len(data) - LLMC_HEADER_BYTES) // 2
        if version != LLMC_VERSION or tokens != found or len(data) % 2:
            raise SourceError(
                f"{name} has an llm.c header of version {version} for {tokens:,} tokens, but {found:,} follow; "
                f"version {LLMC_VERSION} and as many tokens as announced are required: the file is damaged or cut short"
            )
        return data[LLMC_HEADER_BYTES:].view("<u2")
    other = next((what for magic, what in OTHER_FILES.items() if head.startswith(magic)), None)
    if other is None and len(data) % 2:
        raise SourceError(f"{name} has {len(data):,} bytes, which is not a whole number of uint16 ids")
    other = other or _wider(data[: len(data) // 8 * 8][: 2 * SCAN_TOKENS].view("<u2"))
    if other:
        raise SourceError(
            f"{name} is {other}; little-endian uint16 ids of GPT-2 are required, without a header or with llm.c's "
            f"({LLMC_MAGIC}); if no id is above 65,535, convert them with numpy: ids.astype('<u2').tofile(FILE)"
        )
    return data.view("<u2")


def _wider(tokens: Tokens) -> str | None:
    """What a file of wider ids is called; None for 16-bit ids. The upper halves of wider ids would all be id 0, "!"."""
    fourths = tokens.reshape(-1, 4)
    if len(fourths) < LEAST_FOURTHS or fourths[:, [1, 3]].any() or not fourths[:, 0].any():
        return None
    return "a file of 64-bit ids" if not fourths[:, 2].any() else "a file of 32-bit ids"


def units_of(source: Source, start: Position) -> Iterator[Unit]:
    """Units of about UNIT_TOKENS ids; each but the first begins at an end-of-text."""
    files = [open_tokens(file.path, file.name) for file in source.files]
    firsts = [0, *accumulate(map(len, files))]  # number of each file's first id, and of all ids
    while start.file < len(files):
        stop = _next_end(files, Position(start.file, start.part + UNIT_TOKENS))
        yield Unit(start, stop, (firsts[stop.file] + stop.part) / max(1, firsts[-1]))
        start = stop


def _next_end(files: list[Tokens], place: Position) -> Position:
    """The first end-of-text at or after `place`, or the end of the stream."""
    for index in range(place.file, len(files)):
        tokens = files[index]
        for first in range(place.part if index == place.file else 0, len(tokens), SCAN_TOKENS):
            found = np.flatnonzero(tokens[first : first + SCAN_TOKENS] == END_OF_TEXT)
            if len(found):
                return Position(index, first + int(found[0]))
    return Position(len(files))


def documents_of(source: Source, unit: Unit) -> Iterator[Document]:
    """The documents of a unit of token files. All begin in its first file; their `text` is ids without BOS."""
    tokens = _stretch(source, unit)
    beyond = np.flatnonzero(tokens > END_OF_TEXT)
    if len(beyond):
        raise SourceError(
            f"{source.files[unit.start.file].name}: id {tokens[beyond[0]]} at token {unit.start.part + beyond[0]} "
            f"is not in GPT-2's vocabulary (0 to {END_OF_TEXT}); the file was made with another one"
        )
    ends = np.flatnonzero(tokens == END_OF_TEXT).tolist()
    starts = [end + 1 for end in ends]
    if unit.start == Position() and (not ends or ends[0] > 0):
        starts.insert(0, 0)
    else:
        ends.pop(0)
    last_unit = unit.next.file == len(source.files)
    for start, end in zip(starts, [*ends, len(tokens)], strict=True):
        if start < len(tokens) or not last_unit:  # the last end-of-text begins no document
            yield Document(unit.start.file, unit.start.part + start, [tokens[start:end]])


def _stretch(source: Source, unit: Unit) -> Tokens:
    parts = []
    for index in range(unit.start.file, min(unit.next.file + 1, len(source.files))):
        file = source.files[index]
        first = unit.start.part if index == unit.start.file else 0
        last = unit.next.part if index == unit.next.file else None
        parts.append(open_tokens(file.path, file.name)[first:last])
    return np.concatenate(parts)
