"""What a worker process does: units in, tokenized batches out, over one connection to the parent.

The pool starts one by calling `main` in a fresh Python, and holds its standard input open: when the parent is
gone, however it went, that input ends and the worker leaves at once. Signals are the parent's business, and do
not reach it. A worker either tokenizes units or, as the one reader, says what the units are.
"""

import os
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from multiprocessing.connection import Connection
from typing import NamedTuple

from bosrow.errors import BosrowError, DataSetError, MachineError, SourceError
from bosrow.sources.reading import documents_of, units_of
from bosrow.sources.source import Source
from bosrow.sources.unit import BadRow, Document, Position, Unit
from bosrow.tokenizers.by_name import open_tokenizer
from bosrow.tokenizers.token_ids import TokenArray
from bosrow.tokenizers.tokenizer import Tokenizer

BATCH_BYTES = 1 << 18  # of tokens; below about half of this the cost of a message shows
DOCUMENT_BYTES = 300  # of a TokenizedDocument and the numbers and strings in it, its tokens not counted
VAL_HASH_KEY = b"bosrow val split"


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is common to all units of a run. Of a document the packer uses `kept_tokens` tokens (0: all)."""

    source: Source
    tokenizer: str  # its location
    engine: str
    vocabulary_sha256: str
    bos_token_id: int
    kept_tokens: int
    val_fraction: float
    keeps_split: bool
    batch_docs: int


class TokenizedDocument(NamedTuple):
    """A document as the packer takes it. `tokens` is [BOS] + ids as rows hold them, cut to the task's `kept_tokens`."""

    file: int
    row: int
    text_bytes: int  # 0 where the source holds ids
    tokens: bytes
    length: int  # of the whole document in tokens, BOS counted
    in_val: bool
    id: str | None


class Batch(NamedTuple):
    """Consecutive documents of one unit, bad rows in their places.

    `memory_bytes` is about what they take: of tiny documents, more than their tokens.
    """

    documents: list[TokenizedDocument | BadRow]
    memory_bytes: int


def is_val(ids: list[TokenArray], fraction: float) -> bool:
    """Whether a document belongs to val: a keyed hash of its ids (BOS left out), so equal texts stay together.

    What is hashed are the bytes of the ids as rows hold them, uint16 or uint32.
    """
    digest = blake2b(digest_size=8, key=VAL_HASH_KEY)
    for stretch in ids:
        digest.update(stretch.data)
    return int.from_bytes(digest.digest(), "big") < fraction * 2.0**64


@lru_cache(maxsize=1)
def _tokenizer_of(task: Task) -> Tokenizer:
    tokenizer = open_tokenizer(task.tokenizer, task.bos_token_id, task.engine)
    if tokenizer.vocabulary_sha256 != task.vocabulary_sha256:
        raise SourceError(f"{task.tokenizer} was changed since this preparation began; put the old file back")
    return tokenizer


def batches_of(task: Task, unit: Unit, skip: int) -> Iterator[Batch]:
    """Tokenize a unit, leaving out its first `skip` documents (those were taken before an interruption)."""
    tokenizer = _tokenizer_of(task)
    found = documents_of(task.source, unit)
    if sum(1 for _ in islice(found, skip)) < skip:  # units have ended elsewhere in another version of bosrow
        raise DataSetError(
            f"the preparation stands after document {skip:,} of a part of {task.source.files[unit.start.file].name} "
            "that holds fewer; go on with the version of bosrow that began it, or start over with --fresh"
        )
    documents: list[TokenizedDocument | BadRow] = []
    size = 0
    for document in found:
        tokenized = document if isinstance(document, BadRow) else _tokenize(task, tokenizer, document)
        documents.append(tokenized)
        if isinstance(tokenized, TokenizedDocument):
            size += len(tokenized.tokens)
        if size >= BATCH_BYTES or len(documents) >= task.batch_docs:
            yield Batch(documents, size + DOCUMENT_BYTES * len(documents))
            documents, size = [], 0
    if documents:
        yield Batch(documents, size + DOCUMENT_BYTES * len(documents))


def _tokenize(task: Task, tokenizer: Tokenizer, document: Document) -> TokenizedDocument | BadRow:
    file, row, text, name, in_val = document
    try:
        ids = text if isinstance(text, list) else [tokenizer.encode(text)]
    except UnicodeDecodeError as error:
        return BadRow(file, row, f"not UTF-8 ({error.reason} at byte {error.start} of a piece)")
    if not task.keeps_split:
        in_val = task.val_fraction > 0 and is_val(ids, task.val_fraction)
    kept = [stretch[: task.kept_tokens].data for stretch in ids] if task.kept_tokens else ids
    tokens = b"".join((tokenizer.bos_token_id.to_bytes(tokenizer.dtype.itemsize, "little"), *kept))
    if task.kept_tokens:
        tokens = tokens[: tokenizer.dtype.itemsize * task.kept_tokens]
    text_bytes = 0 if ids is text else len(text)
    return TokenizedDocument(file, row, text_bytes, tokens, 1 + sum(map(len, ids)), in_val, name)


def main(descriptor: int) -> None:
    """Serve the parent until it closes the connection."""
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
        except MemoryError:
            parent.send(MachineError("a worker is out of memory; the same command goes on, with fewer --workers"))
        except OSError as error:
            parent.send(MachineError(f"{error}; nothing was left out, the same command goes on from here"))
        except Exception:
            parent.send(BosrowError(f"a worker failed; this is a defect of bosrow:\n{traceback.format_exc()}"))


def _read(parent: Connection, task: Task, start: Position) -> None:
    for unit in units_of(task.source, start):
        parent.send(unit)
    parent.send(None)


def _tokenize_units(parent: Connection, task: Task) -> None:
    _tokenizer_of(task)
    parent.send(None)  # ready
    while True:
        unit, skip = parent.recv()
        for batch in batches_of(task, unit, skip):
            parent.send(batch)
        parent.send(None)


def _leave_with_parent() -> None:
    os.read(0, 1)  # returns when the pipe ends
    os._exit(1)
