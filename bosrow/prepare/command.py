"""`bosrow prepare`: source -> units -> workers -> packers -> shards -> meta.json.

This module wires the stages and owns the one loop through which all documents pass. Promise: the bytes of the
data set depend on source, tokenizer and options alone. Every `checkpoint_seconds` the rows so far are made
durable and the state file is replaced; after a kill the same command goes on from there to the same bytes. What
ends a run in good order (a signal, a bad row, a network that stays away) costs nothing. meta.json is written last.
"""

import gc
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bosrow.dataset.ledger import Ledger
from bosrow.dataset.manifest import META, SPLITS, read_manifest, write_manifest
from bosrow.dataset.provenance_writer import FOLDER as PROVENANCE
from bosrow.dataset.provenance_writer import DocumentLog, PieceLog
from bosrow.dataset.shard_writer import ShardWriter
from bosrow.dataset.tokenizer import dataset_tokenizer
from bosrow.errors import BadRowError, BosrowError, DataSetError, Interrupted, SourceError
from bosrow.files import AppendFile, make_folder, replace_file, whole_number
from bosrow.lock import Hold, folder_lock
from bosrow.packing.table import LOSSLESS, make_policy
from bosrow.prepare.disk_space import check_space
from bosrow.prepare.manifest_content import describe, identity
from bosrow.prepare.out_folder import BAD_ROWS, check_folder, check_not_inside, delete_all_but, files_of
from bosrow.prepare.packer import Packer
from bosrow.prepare.pool import open_pool
from bosrow.prepare.prepare_options import PrepareOptions
from bosrow.prepare.progress import Progress
from bosrow.prepare.same_run import check_same
from bosrow.prepare.state_file import STATE, State, read_state, write_state
from bosrow.prepare.summary import print_summary
from bosrow.prepare.worker import Batch, Task
from bosrow.signals import Stop, Stopped, caught_signals
from bosrow.sources.find import find_source
from bosrow.sources.source import Source
from bosrow.sources.unit import Position, Unit
from bosrow.tokenizers.by_name import open_tokenizer
from bosrow.tokenizers.hugging_face import FileTokenizer
from bosrow.tokenizers.tokenizer import TOKENIZER_FILE, Tokenizer

END = object()


def prepare(options: PrepareOptions) -> None:
    """Prepare a data set, or go on with one, or say that it is complete."""
    folder = options.out_dir
    check_folder(folder)
    with ExitStack() as stack:
        stop = stack.enter_context(caught_signals())
        try:
            with stop.at_once():
                tokenizer = _tokenizer(options)
                begun = not options.fresh and ((folder / STATE).exists() or (folder / META).exists())
                # One on the Hub stays the revision that it was begun with, so it is not looked up again.
                source = None if begun and not options.data_files and options.dataset else find_source(options)
                if source is not None:
                    check_not_inside(folder, source)
                make_folder(folder)
                hold = stack.enter_context(folder_lock(folder))
            if options.fresh:
                delete_all_but(folder, keep=set())
            if (folder / META).exists():
                _say_complete(folder, options, source, tokenizer)
                return
            saved = read_state(folder)
            if saved is None and source is None:
                with stop.at_once():
                    source = find_source(options)
            try:
                run = Run(options, tokenizer, source, saved, hold)
            except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
                if saved is None:
                    raise
                raise DataSetError(
                    f"{folder / STATE} is damaged or was edited ({type(error).__name__}: {error}); --fresh starts over"
                ) from error
            run.read(stop)
        except Stopped:
            raise Interrupted(
                f"stopped by {stop.name} while starting; nothing is lost, the same command goes on"
            ) from None
        meta = run.finish()
    print_summary(folder, meta)


def _say_complete(folder: Path, options: PrepareOptions, source: Source | None, tokenizer: Tokenizer) -> None:
    manifest = read_manifest(folder)
    check_same(folder, manifest.identity, identity(options, source, tokenizer))
    delete_all_but(folder, files_of(manifest))  # a kill right after meta.json was put in place leaves the state behind
    print(f"{folder} is complete, made from this source by these options; nothing to do (--fresh starts over)")


class Run:
    """One run: the packers, the ledgers, and the place in the source up to which both have come."""

    def __init__(
        self,
        options: PrepareOptions,
        tokenizer: Tokenizer,
        source: Source | None,
        saved: State | None,
        hold: Hold,
    ) -> None:
        self.options = options
        self.tokenizer = tokenizer
        self.hold = hold
        self.position = Position()
        self.taken = 0  # documents of the unit at `position` that are packed already
        self.share = 0.0  # of the source that is packed
        self.documents = 0  # with tokens; the number that the next one gets
        self.empty_texts = 0  # documents of a BOS alone
        self.text_bytes = 0
        self.seconds = 0.0  # of work, over all runs that led here
        self.engines = {tokenizer.engine: tokenizer.engine_version}  # of the tokenizer, over the same runs
        self.bad_rows: AppendFile | None = None
        self.ledgers = {split: Ledger() for split in SPLITS}
        self.packers = self._make_packers()
        self.document_log: DocumentLog | None = None
        found = Source.from_json(saved.value["source"]) if saved else source
        assert found is not None
        self.source = found
        if not options.no_provenance:
            names = [file.name for file in self.source.files]
            self.document_log = DocumentLog(options.out_dir, names, self.source.id_field is not None)
        if saved is None:
            delete_all_but(options.out_dir, keep=set())
            check_space(options, self.source, tokenizer, 0.0)
            self.checkpoint()
        else:
            self._restore(saved, source)
            check_space(options, self.source, tokenizer, self.share)
        if self.document_log:
            make_folder(options.out_dir / PROVENANCE)

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

    def read(self, stop: Stop) -> None:
        """Pack documents to the end of the source. After a signal: checkpoint, raise Interrupted."""
        options = self.options
        task = Task(
            source=self.source,
            tokenizer=self.tokenizer.location,
            engine=self.tokenizer.engine,
            vocabulary_sha256=self.tokenizer.vocabulary_sha256,
            bos_token_id=self.tokenizer.bos_token_id,
            kept_tokens=self._kept_tokens(),
            val_fraction=options.val_by_hash or 0.0,
            keeps_split=options.keeps_split,
            batch_docs=options.batch_docs,
        )
        seconds_before, began = self.seconds, time.monotonic()
        next_checkpoint = began + options.checkpoint_seconds
        pool = open_pool(task, self.position, self.taken, options.workers)
        with _cycles_left_alone(), pool, Progress(self, pool) as progress:
            items = iter(pool)
            while not self._enough():
                with self._recorded(stop), stop.at_once():
                    item = next(items, END)
                self.seconds = seconds_before + time.monotonic() - began - pool.seconds_before_work
                if item is END:
                    break
                if isinstance(item, tuple):
                    self._take(*item)
                progress.update()
                if time.monotonic() >= next_checkpoint:
                    self.checkpoint()
                    next_checkpoint = time.monotonic() + options.checkpoint_seconds
            for packer in self.packers.values():
                packer.finish()
            if self.document_log:
                self.document_log.close()
            self.seconds = seconds_before + time.monotonic() - began - pool.seconds_before_work

    @contextmanager
    def _recorded(self, stop: Stop) -> Iterator[None]:
        """What ends the run in here ends it between two documents: where, is recorded first."""
        try:
            yield
        except BosrowError:
            self.checkpoint()
            raise
        except Stopped:
            self.checkpoint()
            raise Interrupted(
                f"stopped by {stop.name} after {self.documents:,} documents; the same command goes on from here"
            ) from None

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
        by_hash = not self.options.val_by_shards
        for file, row, text_bytes, tokens, length, in_val, name, bad in batch.documents:
            if self._enough():
                return
            if bad is not None:
                self._drop(file, row, bad)
            else:
                split = "val" if in_val else "train"
                self.packers[split].add(self.documents, np.frombuffer(tokens, np.uint16), length)
                if self.document_log:
                    self.document_log.add((file, row), length, split if by_hash else None, name)
                self.documents += 1
                self.empty_texts += length == 1
                self.text_bytes += text_bytes
            self.taken += 1

    def _drop(self, file: int, row: int, reason: str) -> None:
        """Leave out a row that holds no text, or stop there."""
        name = self.source.files[file].name
        if self.options.on_bad_row == "stop":
            self.checkpoint()
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
        self.hold.check()
        states, tokens = {}, []
        self._check_ledgers()
        for split, packer in self.packers.items():
            states[split], held = packer.state()
            tokens += held
        if self.bad_rows:
            self.bad_rows.sync()
        value = {
            "identity": identity(self.options, self.source, self.tokenizer),
            "source": self.source.as_json,
            "position": list(self.position),
            "taken": self.taken,
            "share": self.share,
            "documents": self.documents,
            "empty_texts": self.empty_texts,
            "text_bytes": self.text_bytes,
            "seconds": self.seconds,
            "engines": self.engines,
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
        gc.collect(1)  # what is new since the last time

    def _check_ledgers(self) -> None:
        """Raise BosrowError unless every token and document is accounted for."""
        for split, ledger in self.ledgers.items():
            waiting = [packer.waiting(split) for packer in self.packers.values()]
            ledger.check(self.options.row_tokens, *map(sum, zip(*waiting, strict=True)))

    def _logs(self) -> list[PieceLog | DocumentLog]:
        logs = [self.document_log, *(packer.pieces for packer in self.packers.values())]
        return [log for log in logs if log is not None]

    def _restore(self, saved: State, source: Source | None) -> None:
        """Go on from a state file, if source and options are those that it was begun with."""
        folder, value, tokens = self.options.out_dir, saved.value, saved.tokens
        now = identity(self.options, source or self.source, self.tokenizer)
        check_same(folder, value["identity"], now, self.source, source)
        if source is not None:
            self.source = source  # where to read is what the options say, never what the state says
        else:
            if (self.source.dataset, self.source.data_dir) != (self.options.dataset, None):
                raise ValueError(f"its source is {self.source.dataset}, {self.options.dataset} was asked for")
            "".join(file.path + file.name for file in self.source.files).encode()  # or UnicodeEncodeError: no names
        counts = [*value["position"], *(value[name] for name in ("taken", "documents", "text_bytes", "bad_rows_bytes"))]
        if len([whole_number(count) for count in counts]) != 7:
            raise ValueError(f"{len(counts)} counts are there, seven were required")
        self.position, self.taken, self.share = Position(*value["position"]), value["taken"], value["share"]
        self.empty_texts = whole_number(value.get("empty_texts", 0))  # states of before did not count them
        self.documents, self.text_bytes, self.seconds = value["documents"], value["text_bytes"], value["seconds"]
        left, size = len(self.source.files) - self.position.file, self.source.size
        placed = left > 0 or (left == 0 and self.share >= min(1, size))  # with files left, or with all of them read
        if not (placed and 0 <= self.share <= 1 and 0 <= self.seconds < 1 << 62):
            raise ValueError(f"it stands at {counts[:3]}, {self.share} of the source, after {self.seconds} s")
        self.engines = {name: str(version) for name, version in value["engines"].items()} | self.engines
        for split in SPLITS:
            vars(self.ledgers[split]).update(vars(Ledger.from_json(value["ledgers"][split])))
        for split, packer in self.packers.items():
            tokens = packer.restore(value["packers"][split], tokens)
        if self.document_log:
            self.document_log.restore(value["document_log"], self.documents)
        if len(tokens):
            raise ValueError("it holds tokens of no document")
        self._check_restored(value["bad_rows_bytes"])
        # Only now are files changed.
        if value["bad_rows_bytes"]:
            self.bad_rows = AppendFile(folder / BAD_ROWS, value["bad_rows_bytes"])
        for split, packer in self.packers.items():
            packer.reopen(value["packers"][split])
        if self.document_log:
            self.document_log.reopen(value["document_log"])
        shards = {name for packer in self.packers.values() for name in packer.writer.files}
        kept = shards | {name for log in self._logs() for name in log.files} | ({BAD_ROWS} if self.bad_rows else set())
        delete_all_but(folder, kept | {STATE})

    def _check_restored(self, bad_rows_bytes: int) -> None:
        """Raise ValueError unless counts, packers and ledgers, each taken from the state, tell the same story."""
        held = [document for packer in self.packers.values() for document in packer.held]
        read = sum(ledger.documents_read for ledger in self.ledgers.values())
        dropped = sum(ledger.documents_dropped.total() for ledger in self.ledgers.values())
        if self.documents != read - dropped or self.taken > read or max(held, default=-1) >= self.documents:
            raise ValueError(f"{self.documents} documents, {self.taken} of the last unit, do not fit {read} read")
        if self.source.format == "rows" and self.position.part + self.taken != read:
            raise ValueError(f"it stands at document {self.position.part + self.taken} after {read}")
        if (dropped > 0) != (bad_rows_bytes > 0):
            raise ValueError(f"{bad_rows_bytes} bytes tell of {dropped} bad rows")
        try:
            self._check_ledgers()
        except BosrowError as error:
            raise ValueError(str(error).partition(";")[0]) from None

    def finish(self) -> dict[str, Any]:
        """Check the ledger, write meta.json, remove the state. Returns what meta.json holds."""
        self._check_ledgers()
        shards = sorted(
            (shard for packer in self.packers.values() for shard in packer.writer.closed), key=lambda s: s.name
        )
        if not any(shard.split == "train" for shard in shards):
            raise self._no_training_rows()
        if self.bad_rows:
            self.bad_rows.sync()
            self.bad_rows.close()
        self.hold.check()
        provenance = sorted((info for log in self._logs() for info in log.closed), key=lambda info: info.name)
        meta = describe(self, shards, provenance)
        if isinstance(self.tokenizer, FileTokenizer):
            replace_file(self.options.out_dir / TOKENIZER_FILE, self.tokenizer.file_bytes)
        write_manifest(self.options.out_dir, meta)
        delete_all_but(self.options.out_dir, files_of(read_manifest(self.options.out_dir)))
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


@contextmanager
def _cycles_left_alone() -> Iterator[None]:
    """Rows are made of many small objects in no cycles, among which Python would look for some all the time.

    That takes a tenth of the packer's time; here `checkpoint` does it instead.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _tokenizer(options: PrepareOptions) -> Tokenizer:
    """The one asked for; with --from the one that the ids were made with."""
    if options.from_dir is None:
        return open_tokenizer(options.tokenizer, engine=options.engine)
    return dataset_tokenizer(options.from_dir, read_manifest(options.from_dir))
