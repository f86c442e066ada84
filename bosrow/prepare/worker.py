"""What a worker process does: units in, tokenized batches out, over one connection to the parent.

The pool starts a worker by calling `main` in a new Python process, and holds its standard input open. When the parent
ends for any reason, that input ends too, and the worker exits at once. Signals are handled by the parent and do not
reach its workers. One process, the reader, runs `units_of` and sends the units; all others tokenize units.
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

import numpy as np

from bosrow.errors import BadRowError, BosrowError, DataSetError, MachineError
from bosrow.sources.reading import documents_of, units_of
from bosrow.sources.source import Source
from bosrow.sources.unit import BadRow, Document, Position, Unit
from bosrow.tokenizers.by_name import open_spec
from bosrow.tokenizers.spec import TokenizerSpec
from bosrow.tokenizers.token_ids import TokenArray
from bosrow.tokenizers.tokenizer import Tokenizer

BATCH_BYTES = 1 << 18  # of tokens; below about half of this, sending messages takes noticeable time
DOCUMENT_BYTES = 300  # memory of a TokenizedDocument with its numbers and strings, without its tokens
VAL_HASH_KEY = b"bosrow val split"


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is common to all units of a run. The packer uses the first `kept_tokens` tokens of a document (0: all)."""

    source: Source
    tokenizer: TokenizerSpec
    engine: str
    kept_tokens: int
    val_fraction: float
    keeps_split: bool
    batch_docs: int


class TokenizedDocument(NamedTuple):
    """A document for the packer. `tokens` is [BOS] + ids as rows hold them, cut to the task's `kept_tokens`."""

    file: int
    row: int
    text_bytes: int  # 0 where the source holds ids
    tokens: bytes
    length: int  # of the whole document in tokens, BOS counted
    in_val: bool
    id: str | None


class Batch(NamedTuple):
    """Consecutive documents of one unit, with bad rows in their places.

    `memory_bytes` is about what they take in memory. For tiny documents that is more than their tokens.
    """

    documents: list[TokenizedDocument | BadRow]
    memory_bytes: int


def is_val(ids: list[TokenArray], fraction: float) -> bool:
    """Whether a document belongs to val, by a keyed hash of its ids without BOS. Equal texts stay together.

    The bytes of the ids as rows hold them, uint16 or uint32, are hashed.
    """
    digest = blake2b(digest_size=8, key=VAL_HASH_KEY)
    for stretch in ids:
        digest.update(stretch.data)
    return int.from_bytes(digest.digest(), "big") < fraction * 2.0**64


@lru_cache(maxsize=1)
def _tokenizer_of(task: Task) -> Tokenizer:
    return open_spec(task.tokenizer, task.engine)


def batches_of(task: Task, unit: Unit, skip: int) -> Iterator[Batch]:
    """Tokenize a unit without its first `skip` documents, which were packed before an interruption."""
    tokenizer = _tokenizer_of(task)
    found = documents_of(task.source, unit)
    if sum(1 for _ in islice(found, skip)) < skip:  # in other versions of bosrow units may end elsewhere
        raise DataSetError(
            f"the preparation has packed {skip:,} documents of a part of {task.source.files[unit.start.file].name} "
            "that has fewer; go on with the version of bosrow that began it, or start over with --fresh"
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
    except BadRowError as error:
        return BadRow(file, row, f"not tokenized ({error})")
    if task.tokenizer.append_eos and task.source.format != "rows":  # whose documents have it already
        ids = [*ids, np.array([task.tokenizer.eos_token_id], tokenizer.dtype)]
    if not task.keeps_split:
        in_val = task.val_fraction > 0 and is_val(ids, task.val_fraction)
    kept = [stretch[: task.kept_tokens].data for stretch in ids] if task.kept_tokens else ids
    tokens = b"".join((task.tokenizer.bos_token_id.to_bytes(tokenizer.dtype.itemsize, "little"), *kept))
    if task.kept_tokens:
        tokens = tokens[: tokenizer.dtype.itemsize * task.kept_tokens]
    text_bytes = 0 if isinstance(text, list) else len(text)
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
