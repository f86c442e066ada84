"""What an arm's data set holds, and how much of it a run has seen, by arithmetic over the order of training.

Promise: exact. A run's seed says at which step each row was first read, the provenance says which documents and
tokens it holds; no log of the training is read. Nothing is said where the data directory is gone, now holds
another data set, or was prepared without provenance. Cost: one pass over the provenance of an arm, about a
microsecond a piece and seed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bosrow.compare.grouping import Arm
from bosrow.compare.runs import TrainedRun
from bosrow.dataset.manifest import META, Manifest, read_manifest
from bosrow.dataset.order import RowOrder
from bosrow.dataset.provenance import Provenance
from bosrow.errors import DataSetError

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Seen:
    """Counts of what the first k steps have read, at index k. `documents` in whole or in part; `tokens` each once."""

    documents: Integers
    tokens: Integers
    rows: Integers


@dataclass(frozen=True)
class ArmData:
    """The data of an arm: its ledger, and what each run (by path) has seen; `problem` says why some is not known."""

    data_dir: str
    ledger: dict[str, Any] | None
    options: dict[str, Any]
    seen: dict[str, Seen]
    problem: str


def data_of(arm: Arm) -> ArmData:
    """What is known of the data of `arm`. Never raises: a data set may have gone since."""
    first = arm.runs[0]
    named = ", ".join(first.data_dirs)
    if first.mixture:
        return ArmData(named, None, {}, {}, "several data sets are mixed in it; what was seen of each is not counted")
    data_dir = next((path for path in map(Path, first.data_dirs) if (path / META).is_file()), None)
    if data_dir is None:
        return ArmData(named, None, {}, {}, f"{named or 'its data set'} is not there any more")
    try:
        manifest = read_manifest(data_dir)
    except DataSetError as error:
        return ArmData(named, None, {}, {}, str(error))
    if manifest.fingerprint != arm.fingerprint:
        return ArmData(named, None, {}, {}, f"{named} holds another data set by now")
    ledger = manifest.ledger.get("train")
    options = {name: manifest.meta.get(name) for name in ("tokenizer", "seq_len", "buffer_docs", "docs_processed")}
    try:
        provenance = Provenance(data_dir)
    except DataSetError as error:
        return ArmData(named, ledger, options, {}, str(error))
    seen = {str(run.path): found for run, found in zip(arm.runs, _seen(provenance, arm.runs), strict=True)}
    return ArmData(named, ledger, options, seen, "")


def _seen(provenance: Provenance, runs: tuple[TrainedRun, ...]) -> list[Seen]:
    """For each run its counts after 0, 1, ... steps."""
    manifest = provenance.manifest
    rows = manifest.rows_of("train")
    never = max(run.last_step for run in runs) + 1
    first_seen = np.full((len(runs), len(provenance.documents)), never, np.int64)
    tokens = np.zeros((len(runs), never + 1), np.int64)
    read_rows = np.zeros((len(runs), never + 1), np.int64)
    counted = -1
    for columns in provenance.pieces.of_split("train"):
        row, document = columns["row"], columns["document"].astype(np.int64)
        targets = _targets(columns)
        present = np.unique(row)
        for place, run in enumerate(runs):
            steps = first_steps(present, run, rows, manifest)
            steps = np.minimum(steps, never)
            np.minimum.at(first_seen[place], document, steps[np.searchsorted(present, row)])
            tokens[place] += np.bincount(steps[np.searchsorted(present, row)], targets, never + 1).astype(np.int64)
            read_rows[place] += np.bincount(steps[present > counted], minlength=never + 1)
        counted = int(present[-1]) if len(present) else counted
    found = []
    for place, run in enumerate(runs):
        end = run.last_step + 1
        documents = np.bincount(first_seen[place], minlength=never + 1)
        found.append(Seen(*(np.cumsum(counts)[:end] for counts in (documents, tokens[place], read_rows[place]))))
    return found


def _targets(columns: dict[str, npt.NDArray[Any]]) -> Integers:
    """How many tokens of the corpus each piece makes training predict: not the row's first, not an added BOS."""
    first = columns["column"] == 0
    return columns["length"].astype(np.int64) - (first | columns["added_bos"])


def first_steps(rows: Integers, run: TrainedRun, total: int, manifest: Manifest) -> Integers:
    """The step, counted from 1, that first reads each of `rows`: its place in the first epoch, over the rows a step."""
    rows_per_step = run.tokens_per_step // manifest.seq_len
    positions = RowOrder(rows=total, seed=run.seed).positions_of(rows, 0)
    return positions // rows_per_step + 1
