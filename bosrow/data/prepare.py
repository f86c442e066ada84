"""`bosrow prepare`: source -> units -> workers -> packers -> shards -> meta.json.

This module wires the stages and owns the one loop through which all documents pass. Promise: the bytes of the
data set depend on source, tokenizer and options alone. Every `checkpoint_seconds` the rows so far are made
durable and the state file is replaced; after a kill the same command goes on from there to the same bytes.
meta.json is written last.
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from bosrow.data.ledger import Ledger
from bosrow.data.manifest import META, SHARD_NAME, SPLITS, TOKENIZER_FILE, read_manifest, write_manifest
from bosrow.data.meta import describe, identity
from bosrow.data.options import LOSSLESS, PrepareOptions
from bosrow.data.packer import Packer
from bosrow.data.packing import make_policy
from bosrow.data.pool import open_pool
from bosrow.data.progress import Progress
from bosrow.data.provenance import FOLDER as PROVENANCE
from bosrow.data.provenance import DocumentLog, PieceLog
from bosrow.data.shards import ShardWriter
from bosrow.data.source import Source, find_source
from bosrow.data.state import STATE, read_state, write_state
from bosrow.data.summary import print_summary
from bosrow.data.tokenizer import Tokenizer
from bosrow.data.tokenizer_file import FileTokenizer, dataset_tokenizer, open_tokenizer
from bosrow.data.units import Position, Unit
from bosrow.data.worker import Batch, Task
from bosrow.errors import BadRowError, DataSetError, Interrupted, SourceError
from bosrow.files import AppendFile, folder_lock, replace_file, sync_folder

BAD_ROWS = "bad_rows.jsonl"
OUR_FILES = {META, STATE, BAD_ROWS, f"{META}.tmp", f"{STATE}.tmp", ".lock", ".owner.json", PROVENANCE, TOKENIZER_FILE}


def prepare(options: PrepareOptions) -> None:
    """Prepare a data set, or go on with one, or say that it is complete."""
    folder = options.out_dir
    _check_folder(folder)
    tokenizer = _tokenizer(options)
    source = None if options.dataset and not options.data_files else find_source(options)
    folder.mkdir(parents=True, exist_ok=True)
    with folder_lock(folder):
        if options.fresh:
            _delete(folder, keep=set())
        if (folder / META).exists():
            made = read_manifest(folder).meta["bosrow"]["identity"]
            _check_same(made, identity(options, source, tokenizer), folder)
            print(f"{folder} is complete, made from this source by these options; nothing to do (--fresh starts over)")
            return
        run = Run(options, tokenizer, source)
        with _signals() as stopped:
            run.read(stopped)
        meta = run.finish()
    print_summary(folder, meta)


class Run:
    """One run: the packers, the ledgers, and the place in the source up to which both have come."""

    def __init__(self, options: PrepareOptions, tokenizer: Tokenizer, source: Source | None) -> None:
        self.options = options
        self.tokenizer = tokenizer
        self.position = Position()
        self.taken = 0  # documents of the unit at `position` that are packed already
        self.share = 0.0  # of the source that is packed
        self.documents = 0  # with tokens; the number that the next one gets
        self.text_bytes = 0
        self.seconds = 0.0  # of work, over all runs that led here
        self.bad_rows: AppendFile | None = None
        self.ledgers = {split: Ledger() for split in SPLITS}
        self.packers = self._make_packers()
        self.document_log: DocumentLog | None = None
        saved = read_state(options.out_dir)
        self.source = Source.from_json(saved[0]["source"]) if saved else source or find_source(options)
        if not options.no_provenance:
            names = [file.name for file in self.source.files]
            self.document_log = DocumentLog(options.out_dir, names, self.source.id_field is not None)
        if saved is None:
            _delete(options.out_dir, keep=set())
            self.checkpoint()
        else:
            self._restore(*saved, source)

    def _make_packers(self) -> dict[str, Packer]:
        """One packer a split where a hash decides; else one for all, whose first shards are val."""
        options = self.options

        def packer(home: str, val_shards: int) -> Packer:
            policy = make_policy(
                options.policy,
                row_tokens=options.row_tokens,
                buffer_docs=options.buffer_docs,
                buffer_tokens=options.buffer_tokens,
            )
            writer = ShardWriter(
                options.out_dir,
                options.row_tokens,
                options.rows_per_shard,
                split_of=lambda shard: "val" if shard < val_shards else home,
            )
            pieces = None if options.no_provenance else PieceLog(options.out_dir)
            ledgers = {home: self.ledgers[home]} if options.packer_per_split else self.ledgers
            return Packer(policy, writer, pieces, ledgers, home, self.tokenizer.bos_token_id)

        if options.packer_per_split:
            return {split: packer(split, 0) for split in SPLITS}
        return {"train": packer("train", options.val_by_shards)}

    def read(self, stopped: list[int]) -> None:
        """Pack documents to the end of the source. Once a signal is in `stopped`: checkpoint, raise Interrupted."""
        options = self.options
        task = Task(
            source=self.source,
            tokenizer=self.tokenizer.location,
            vocabulary_sha256=self.tokenizer.vocabulary_sha256,
            bos_token_id=self.tokenizer.bos_token_id,
            kept_tokens=self._kept_tokens(),
            val_fraction=options.val_by_hash or 0.0,
            keeps_split=options.keeps_split,
            batch_docs=options.batch_docs,
        )
        seconds_before, began = self.seconds, time.monotonic()
        next_checkpoint = began + options.checkpoint_seconds
        with open_pool(task, self.position, self.taken, options.workers) as pool, Progress(self, pool) as progress:
            for item in pool:
                self.seconds = seconds_before + time.monotonic() - began - pool.seconds_before_work
                if item is not None:
                    self._take(*item)
                progress.update()
                if stopped:
                    self.checkpoint()
                    raise Interrupted(
                        f"stopped by {signal.Signals(stopped[0]).name} after {self.documents:,} documents; "
                        "the same command goes on from here"
                    )
                if self._enough():
                    break
                if time.monotonic() >= next_checkpoint:
                    self.checkpoint()
                    next_checkpoint = time.monotonic() + options.checkpoint_seconds
            for packer in self.packers.values():
                packer.finish()
            if self.document_log:
                self.document_log.close()
            self.seconds = seconds_before + time.monotonic() - began - pool.seconds_before_work

    def _kept_tokens(self) -> int:
        """How much of a document the policy can place; 0 means all."""
        return 0 if self.options.policy in LOSSLESS else self.options.row_tokens

    def _enough(self) -> bool:
        return self.options.max_docs > 0 and self.documents >= self.options.max_docs

    def _take(self, unit: Unit, batch: Batch | None) -> None:
        """Pack a batch, or note that its unit has ended."""
        if batch is None:
            self.position, self.taken = unit.next, 0
            self.share = unit.share
            return
        kept, start = self._kept_tokens(), 0
        for file, row, text_bytes, length, in_val, name, bad in batch.documents:
            if self._enough():
                return
            if bad is not None:
                self._drop(file, row, bad)
            else:
                stop = start + (min(length, kept) if kept else length)
                split = "val" if in_val else "train"
                self.packers[split].add(self.documents, batch.tokens[start:stop], length)
                if self.document_log:
                    own_split = None if self.options.val_by_shards else split
                    self.document_log.add((file, row), length, own_split, name)
                self.documents += 1
                self.text_bytes += text_bytes
                start = stop
            self.taken += 1

    def _drop(self, file: int, row: int, reason: str) -> None:
        """Leave out a row that holds no text, or stop there."""
        name = self.source.files[file].name
        if self.options.on_bad_row == "stop":
            raise BadRowError(
                f"{name}, row {row}: {reason}. Nothing is lost: mend the file and start over with --fresh, "
                "or leave such rows out with --on_bad_row skip"
            )
        if self.bad_rows is None:
            self.bad_rows = AppendFile(self.options.out_dir / BAD_ROWS)
        self.bad_rows.write(json.dumps({"file": name, "row": row, "reason": reason}).encode() + b"\n")
        self.ledgers["train"].documents_read += 1
        self.ledgers["train"].documents_dropped[reason.partition(" (")[0]] += 1

    def checkpoint(self) -> None:
        """Make everything so far durable and record where it stands."""
        states, tokens = {}, []
        for split, packer in self.packers.items():
            packer.check()
            states[split], held = packer.state()
            tokens += held
        if self.bad_rows:
            self.bad_rows.sync()
        value = {
            "identity": identity(self.options, self.source, self.tokenizer),
            "source": self.source.as_json(),
            "position": list(self.position),
            "taken": self.taken,
            "share": self.share,
            "documents": self.documents,
            "text_bytes": self.text_bytes,
            "seconds": self.seconds,
            "bad_rows_bytes": self.bad_rows.length if self.bad_rows else 0,
            "ledgers": {split: ledger.as_json() for split, ledger in self.ledgers.items()},
            "packers": states,
            "document_log": self.document_log.state() if self.document_log else None,
        }
        write_state(self.options.out_dir, value, tokens)
        for log in self._logs():
            for path in log.outdated:
                path.unlink()
            log.outdated.clear()

    def _logs(self) -> list[PieceLog | DocumentLog]:
        logs = [self.document_log, *(packer.pieces for packer in self.packers.values())]
        return [log for log in logs if log is not None]

    def _restore(self, value: dict[str, Any], tokens: Any, source: Source | None) -> None:
        """Go on from a state file, if source and options are those that it was begun with."""
        folder = self.options.out_dir
        _check_same(value["identity"], identity(self.options, source or self.source, self.tokenizer), folder)
        if source is not None:
            _check_unchanged(self.source, source)
        self.position, self.taken, self.share = Position(*value["position"]), value["taken"], value["share"]
        self.documents, self.text_bytes, self.seconds = value["documents"], value["text_bytes"], value["seconds"]
        for split in SPLITS:
            vars(self.ledgers[split]).update(vars(Ledger.from_json(value["ledgers"][split])))
        for split, packer in self.packers.items():
            tokens = packer.restore(value["packers"][split], tokens)
        if value["bad_rows_bytes"]:
            self.bad_rows = AppendFile(folder / BAD_ROWS, value["bad_rows_bytes"])
        if self.document_log:
            self.document_log.restore(value["document_log"])
        shards = {name for packer in self.packers.values() for name in packer.writer.files}
        _delete(folder, keep={STATE, BAD_ROWS} | shards | {name for log in self._logs() for name in log.files})

    def finish(self) -> dict[str, Any]:
        """Check the ledger, write meta.json, remove the state. Returns what meta.json holds."""
        for packer in self.packers.values():
            packer.check()
        shards = sorted(
            (shard for packer in self.packers.values() for shard in packer.writer.closed), key=lambda s: s.name
        )
        if not any(shard.split == "train" for shard in shards):
            raise self._no_training_rows()
        if self.bad_rows:
            self.bad_rows.sync()
            self.bad_rows.close()
        provenance = sorted((info for log in self._logs() for info in log.closed), key=lambda info: info.name)
        meta = describe(self, shards, provenance)
        if isinstance(self.tokenizer, FileTokenizer):
            replace_file(self.options.out_dir / TOKENIZER_FILE, self.tokenizer.file_bytes)
        write_manifest(self.options.out_dir, meta)
        keep = {META, BAD_ROWS, TOKENIZER_FILE} | {shard.name for shard in shards} | {info.name for info in provenance}
        _delete(self.options.out_dir, keep)
        return meta

    def _no_training_rows(self) -> SourceError:
        rows = sum(ledger.rows for ledger in self.ledgers.values())
        read = sum(ledger.tokens_read for ledger in self.ledgers.values())
        if rows == 0:
            return SourceError(
                f"not one full row: the source gave {read:,} tokens in {self.documents:,} documents, a row takes "
                f"{self.options.row_tokens:,}; give more text, or a smaller --seq_len and --fresh"
            )
        return SourceError(
            f"no rows are left for training: all {rows:,} went into val (--val_shards {self.options.val_by_shards} of "
            f"{self.options.rows_per_shard:,} rows each); "
            "give --val_fraction 0.01 or a smaller --shard_rows, and --fresh"
        )


def _tokenizer(options: PrepareOptions) -> Tokenizer:
    """The one asked for; with --from the one that the ids were made with."""
    if options.from_dir is None:
        return open_tokenizer(options.tokenizer)
    return dataset_tokenizer(options.from_dir, read_manifest(options.from_dir))


def _check_folder(folder: Path) -> None:
    """Refuse a folder that holds anything which is not ours."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DataSetError(f"--out_dir {folder} is a file; a folder was required")
    foreign = [name for name in sorted(os.listdir(folder)) if name not in OUR_FILES and not SHARD_NAME.fullmatch(name)]
    if foreign:
        raise DataSetError(
            f"--out_dir {folder} holds other files ({', '.join(foreign[:5])}); give an empty or a new folder"
        )


def _check_same(then: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    """Refuse to go on with other options, or another source, than the data set was begun with."""
    names = [name for name in now if then.get(name) != now[name]]
    if not names:
        return
    width, value_width = max(map(len, names)), max(len(str(then.get(name))) for name in names)
    lines = [f"  {name:<{width}}  {then.get(name)!s:<{value_width}}  ->  {now[name]}" for name in names]
    raise DataSetError(
        f"{folder} was begun with other options (then -> now):\n"
        + "\n".join(lines)
        + "\ngive the old ones to go on, another --out_dir, or --fresh to start over"
    )


def _check_unchanged(then: Source, now: Source) -> None:
    for old, new in zip(then.files, now.files, strict=True):
        if (old.size, old.mark) != (new.size, new.mark):
            raise SourceError(
                f"{new.path} was changed since this preparation began; "
                "put the old file back, or start over with --fresh"
            )


def _delete(folder: Path, keep: set[str]) -> None:
    """Delete what earlier runs left in `folder` and its provenance, but for the names in `keep` (and the lock)."""
    for path in (*folder.iterdir(), *(folder / PROVENANCE).glob("*")):
        ours = path.parent.name == PROVENANCE or path.name in OUR_FILES or SHARD_NAME.fullmatch(path.name)
        if ours and path.name not in keep | {".lock", ".owner.json", PROVENANCE}:
            path.unlink()
    if (folder / PROVENANCE).exists():
        sync_folder(folder / PROVENANCE)
    sync_folder(folder)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list; a second one leaves at once."""
    stopped: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if stopped:
            os._exit(Interrupted.exit_status)
        stopped.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
