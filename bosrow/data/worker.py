"""What a worker process does: units in, tokenized batches out, over one connection to the parent.

The pool starts one by calling `main` in a fresh Python, and holds its standard input open: when the parent is
gone, however it went, that input ends and the worker leaves at once. Signals are the parent's business. A
worker either tokenizes units or, as the one reader, says what the units are.
"""

import os
import signal
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from multiprocessing.connection import Connection

import numpy as np
import numpy.typing as npt

from bosrow.data.source import Source
from bosrow.data.tokenizer import Gpt2Tokenizer, load_tokenizer
from bosrow.data.units import Document, Position, Unit, documents_of, units_of
from bosrow.errors import BosrowError

BATCH_TOKENS = 1 << 17  # below about half of this the cost of a message shows
VAL_HASH_KEY = b"bosrow val split"


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is common to all units of a run. Of a document the packer uses `kept_tokens` tokens (0: all)."""

    source: Source
    tokenizer: str
    kept_tokens: int
    val_fraction: float
    keeps_split: bool
    batch_docs: int


@dataclass(slots=True)
class Batch:
    """Consecutive documents of one unit. Only documents with tokens stand in the lists; `bad` names the others.

    `tokens` is [BOS] + ids of each document, cut to the task's `kept_tokens`, one after the other.
    """

    places: list[tuple[int, int]] = field(default_factory=list)  # (file, row)
    lengths: list[int] = field(default_factory=list)  # tokens of the whole document, BOS counted
    in_val: list[bool] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    bad: list[tuple[int, int, str]] = field(default_factory=list)  # (file, row, reason)
    text_bytes: int = 0
    tokens: npt.NDArray[np.uint16] = field(default_factory=lambda: np.empty(0, np.uint16))

    @property
    def documents(self) -> int:
        """How many documents of the corpus this batch accounts for."""
        return len(self.places) + len(self.bad)


def is_val(ids: npt.NDArray[np.uint16], fraction: float) -> bool:
    """Whether a document belongs to val: a keyed hash of its ids (BOS left out), so equal texts stay together."""
    digest = blake2b(ids.astype("<u2", copy=False).tobytes(), digest_size=8, key=VAL_HASH_KEY).digest()
    return int.from_bytes(digest, "big") < fraction * 2.0**64


def batches_of(task: Task, unit: Unit, skip: int) -> Iterator[Batch]:
    """Tokenize a unit, leaving out its first `skip` documents (those were taken before an interruption)."""
    tokenizer = load_tokenizer(task.tokenizer)
    bos = np.array([tokenizer.bos_token_id], np.uint16)
    batch, parts, tokens = Batch(), [], 0
    for document in islice(documents_of(task.source, unit), skip, None):
        ids = _tokenize(tokenizer, document, batch)
        if ids is not None:
            by_hash = task.val_fraction > 0 and is_val(ids, task.val_fraction)
            batch.places.append((document.file, document.row))
            batch.lengths.append(1 + len(ids))
            batch.ids.append(document.id)
            batch.in_val.append(document.in_val if task.keeps_split else by_hash)
            kept = ids[: task.kept_tokens - 1] if task.kept_tokens else ids
            parts += [bos, kept]
            tokens += 1 + len(kept)
        if tokens >= BATCH_TOKENS or batch.documents >= task.batch_docs:
            yield _closed(batch, parts)
            batch, parts, tokens = Batch(), [], 0
    if batch.documents:
        yield _closed(batch, parts)


def _closed(batch: Batch, parts: list[npt.NDArray[np.uint16]]) -> Batch:
    if parts:
        batch.tokens = np.concatenate(parts)
    return batch


def _tokenize(tokenizer: Gpt2Tokenizer, document: Document, batch: Batch) -> npt.NDArray[np.uint16] | None:
    reason = document.bad
    if isinstance(document.text, np.ndarray):
        return document.text
    if reason is None:
        batch.text_bytes += len(document.text)
        try:
            return tokenizer.encode(document.text)
        except UnicodeDecodeError as error:
            reason = f"not UTF-8 ({error.reason} at byte {error.start} of a piece)"
    batch.bad.append((document.file, document.row, reason))
    return None


def main(descriptor: int) -> None:
    """Serve the parent until it closes the connection."""
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    with Connection(descriptor) as parent:
        try:
            task, start = parent.recv()
            if start is not None:
                _read(parent, task, start)
            else:
                _tokenize_units(parent, task)
        except (EOFError, ConnectionError):
            return
        except BosrowError as error:
            parent.send(error)
        except Exception:
            parent.send(BosrowError(f"a worker failed; this is a defect of bosrow:\n{traceback.format_exc()}"))


def _read(parent: Connection, task: Task, start: Position) -> None:
    for unit in units_of(task.source, start):
        parent.send(unit)
    parent.send(None)


def _tokenize_units(parent: Connection, task: Task) -> None:
    load_tokenizer(task.tokenizer)
    parent.send(None)  # ready
    while True:
        unit, skip = parent.recv()
        for batch in batches_of(task, unit, skip):
            parent.send(batch)
        parent.send(None)


def _leave_with_parent() -> None:
    os.read(0, 1)  # returns when the pipe ends
    os._exit(1)
