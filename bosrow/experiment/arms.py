"""The arms of an experiment: data sets of the same documents, tokenized once, that differ in their rows alone.

A is the corpus as everyone packs it (`stream`), and the store from which all others are made (`--from`), so text is
tokenized once and the val documents are the same in all. B crops. C holds exactly the tokens that B kept, in stream
rows: against A it shows what the selection does, against B what the alignment does. D keeps every token.

Promise: that C covers what B covers, token by token, is checked each time (`require_same_tokens`), by the provenance
of both, not by the code that made C. Cost: sorting the pieces of both, about a second for ten million.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bosrow.dataset.manifest import SPLITS
from bosrow.dataset.provenance import Provenance
from bosrow.errors import DataSetError


@dataclass(frozen=True)
class PlannedArm:
    """An arm, the folder of its data set, and the arm out of whose data set that is made (None: the corpus)."""

    letter: str
    name: str
    folder: str
    policy: str
    source: str | None


ARMS = {
    arm.letter: arm
    for arm in (
        PlannedArm("A", "stream", "stream", "stream", None),
        PlannedArm("B", "crop", "crop", "crop", "A"),
        PlannedArm("C", "stream of B's tokens", "stream_of_crop", "stream", "B"),
        PlannedArm("D", "keep", "keep", "keep", "A"),
        PlannedArm("E", "crop-long-first", "crop_long_first", "crop-long-first", "A"),
    )
}
DEFAULT_ARMS = ("A", "B", "C", "D")
BASE = ARMS["A"]


def with_sources(letters: tuple[str, ...]) -> list[PlannedArm]:
    """The arms `letters` and those out of which they are made, each after its source."""
    needed: dict[str, PlannedArm] = {}

    def add(letter: str) -> None:
        arm = ARMS[letter]
        if arm.source is not None:
            add(arm.source)
        needed[letter] = arm

    add(BASE.letter)
    for letter in letters:
        add(letter)
    return list(needed.values())


# A stretch of one document: `file` numbers a source file, `row` its document there; tokens [start, end), BOS at 0.
STRETCH = np.dtype([("file", "<u4"), ("row", "<u8"), ("start", "<u4"), ("end", "<u4")])


def covered(provenance: Provenance, split: str, file_numbers: dict[str, int]) -> npt.NDArray[np.void]:
    """What the rows and the tail of a split hold: STRETCH records in order, merged where they touch or overlap.

    `file_numbers` gives each name of a source file its number; new names are added.
    """
    names, files, rows = provenance.documents.sources()
    numbers = np.array([file_numbers.setdefault(name, len(file_numbers)) for name in names], np.uint32)
    tail, _ = provenance.pieces.of_tail(split)
    parts = [_stretches(columns) for columns in (*provenance.pieces.of_split(split), tail)]
    document, start, end = (np.concatenate([part[place] for part in parts]) for place in range(3))
    order = np.lexsort((start, document))
    document, start, end = document[order], start[order], end[order]
    found = np.empty(len(document), STRETCH)
    found["file"], found["row"] = numbers[files[document]], rows[document]
    found["start"], found["end"] = start, end
    return np.sort(_joined(found), order=["file", "row", "start"])


class _Stretches(NamedTuple):
    """Arrays of one length: tokens [start, end) of a document each."""

    document: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]


def _stretches(columns: dict[str, npt.NDArray[Any]]) -> _Stretches:
    """The stretches of pieces that hold tokens of a document; a lone added BOS holds none."""
    document, start = columns["document"].astype(np.int64), columns["offset"].astype(np.int64)
    end = start + columns["length"].astype(np.int64) - columns["added_bos"].astype(np.int64)
    holds = end > start
    return _Stretches(document[holds], start[holds], end[holds])


def _joined(stretches: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Stretches, sorted by document and start, merged where no token of the document lies between two."""
    if not len(stretches):
        return stretches
    new_document = np.concatenate(([True], np.diff(stretches["file"].astype(np.int64)) != 0))
    new_document[1:] |= np.diff(stretches["row"].astype(np.int64)) != 0
    # The farthest end so far of a document: documents are set apart by more than any document is long.
    apart = np.cumsum(new_document).astype(np.int64) << 33
    farthest = np.maximum.accumulate(stretches["end"].astype(np.int64) + apart) - apart
    gap = np.concatenate(([True], stretches["start"][1:].astype(np.int64) > farthest[:-1]))
    first = np.flatnonzero(new_document | gap)
    joined = stretches[first]
    joined["end"] = farthest[np.concatenate((first[1:] - 1, [len(stretches) - 1]))]
    return joined


def require_same_tokens(kept: Path, joined: Path) -> int:
    """The number of tokens that both data sets hold. Raises DataSetError unless they hold the same of each document."""
    one, other = Provenance(kept), Provenance(joined)
    file_numbers: dict[str, int] = {}
    tokens = 0
    for split in SPLITS:
        here, there = covered(one, split, file_numbers), covered(other, split, file_numbers)
        tokens += int((here["end"].astype(np.int64) - here["start"]).sum())
        if np.array_equal(here, there):
            continue
        shorter = min(len(here), len(there))
        place = int(np.argmax(np.append(here[:shorter] != there[:shorter], True)))
        names = list(file_numbers)
        raise DataSetError(
            f"{joined} does not hold the tokens that {kept} kept. The first difference in {split}:\n"
            f"  {kept}: {_words(here, place, names)}\n  {joined}: {_words(there, place, names)}\n"
            f"Remove {joined} and start the same command again"
        )
    return tokens


def _words(stretches: npt.NDArray[np.void], place: int, files: list[str]) -> str:
    if place >= len(stretches):
        return "nothing more"
    file, row, start, end = stretches[place].item()
    return f"{files[file]}, row {row}, tokens {start:,} to {end - 1:,}"
