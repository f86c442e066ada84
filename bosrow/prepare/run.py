"""One run of a preparation: documents from the pool into the packers, with checkpoints, up to meta.json.

Promise: the bytes of the data set depend on source, tokenizer and options alone. Every `checkpoint_seconds` the rows
so far are made durable and the state file is replaced. A run that a signal, a bad row or a lost network ends writes a
checkpoint first, so no work is lost. meta.json is written last.
"""

import gc
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np

from bosrow.dataset.ledger import Ledger
from bosrow.dataset.manifest import SPLITS, read_manifest, write_manifest
from bosrow.dataset.provenance_writer import DocumentLog, PieceLog
from bosrow.dataset.shard_writer import ShardWriter
from bosrow.dataset.state_file import write_state
from bosrow.errors import BadRowError, BosrowError, Interrupted, SourceError
from bosrow.files import AppendFile
from bosrow.lock import Hold
from bosrow.packing.table import LOSSLESS, make_policy
from bosrow.prepare.manifest_content import describe, identity
from bosrow.prepare.out_folder import BAD_ROWS, delete_all_but, files_of
from bosrow.prepare.packer import Packer, PackerState
from bosrow.prepare.pool import open_pool
from bosrow.prepare.prepare_options import PrepareOptions
from bosrow.prepare.progress import Progress, Totals
from bosrow.prepare.run_state import Ledgers, RunState
from bosrow.prepare.run_tokenizer import keep_tokenizer
from bosrow.prepare.worker import Batch, Task
from bosrow.signals import Stop, Stopped
from bosrow.sources.source import Source
from bosrow.sources.unit import BadRow, Position, Unit
from bosrow.tokenizers.tokenizer import Tokenizer

END = object()


class Run:
    """One run: its packers, its ledgers, and its position in the source."""

    def __init__(self, options: PrepareOptions, tokenizer: Tokenizer, source: Source, hold: Hold) -> None:
        self.options = options
        self.tokenizer = tokenizer
        self.source = source
        self.hold = hold
        self.position = Position()
        self.taken = 0  # documents of the unit at `position` that are packed already
        self.share = 0.0  # of the source that is packed
        self.documents = 0  # that are packed; also the number of the next one
        self.empty_texts = 0  # documents whose only token is BOS
        self.text_bytes = 0
        self.seconds = 0.0  # of work, over all runs of this preparation
        self.engines = {tokenizer.engine: tokenizer.engine_version}  # name: version, over all runs
        self.bad_rows: AppendFile | None = None
        self.ledgers = {split: Ledger() for split in SPLITS}
        self.packers = self._make_packers()
        self.document_log: DocumentLog | None = None
        if not options.no_provenance:
            names = [file.name for file in source.files]
            self.document_log = DocumentLog(options.out_dir, names, source.id_field is not None)

    def _make_packers(self) -> dict[str, Packer]:
        """One packer per split; or, with --val_shards, one packer whose first shards are val."""
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
                self.tokenizer.dtype,
                split_of=lambda shard: "val" if shard < val_shards else home,
            )
            pieces = None if options.no_provenance else PieceLog(options.out_dir, options.row_tokens)
            ledgers = {home: self.ledgers[home]} if options.packer_per_split else self.ledgers
            return Packer(policy, writer, pieces, ledgers, home, self.tokenizer.spec.bos_token_id)

        if options.packer_per_split:
            return {split: packer(split, 0) for split in SPLITS}
        return {"train": packer("train", options.val_by_shards)}

    def read(self, stop: Stop) -> None:
        """Pack documents to the end of the source. After a signal, write a checkpoint and raise Interrupted."""
        options = self.options
        task = Task(
            source=self.source,
            tokenizer=self.tokenizer.spec,
            engine=self.tokenizer.engine,
            kept_tokens=self._kept_tokens(),
            val_fraction=options.val_by_hash or 0.0,
            keeps_split=options.keeps_split,
            batch_docs=options.batch_docs,
        )
        seconds_before, began = self.seconds, time.monotonic()
        next_checkpoint = began + options.checkpoint_seconds
        pool = open_pool(task, self.position, self.taken, options.workers)
        with _no_search_for_cycles(), pool, Progress(self.totals, pool) as progress:
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
        """Write a checkpoint before an error or a signal in this block ends the run."""
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

    def totals(self) -> Totals:
        """How far the run has come, for the progress line."""
        ledgers = self.ledgers.values()
        return Totals(
            share=self.share,
            documents=self.documents,
            rows=sum(ledger.rows for ledger in ledgers),
            tokens_read=sum(ledger.tokens_read for ledger in ledgers),
            tokens_placed=sum(ledger.tokens_placed for ledger in ledgers),
            tokens_cropped=sum(ledger.tokens_cropped for ledger in ledgers),
            tokens_held=sum(packer.waiting(split)[0] for packer in self.packers.values() for split in self.ledgers),
        )

    def _kept_tokens(self) -> int:
        """How many tokens of a document the policy can place; 0: all."""
        return 0 if self.options.policy in LOSSLESS else self.options.row_tokens

    def _enough(self) -> bool:
        return self.options.max_docs > 0 and self.documents >= self.options.max_docs

    def _take(self, unit: Unit, batch: Batch | None) -> None:
        """Pack a batch, or note that its unit has ended."""
        if batch is None:
            self.position, self.taken = unit.next, 0
            self.share = unit.share
            return
        by_hash, dtype = not self.options.val_by_shards, self.tokenizer.dtype
        for document in batch.documents:
            if self._enough():
                return
            if isinstance(document, BadRow):
                self._drop(document)
            else:
                split = "val" if document.in_val else "train"
                tokens = np.frombuffer(document.tokens, dtype)
                self.packers[split].add(self.documents, tokens, document.length)
                if self.document_log:
                    place = (document.file, document.row)
                    self.document_log.add(place, document.length, split if by_hash else None, document.id)
                self.documents += 1
                self.empty_texts += document.length == 1
                self.text_bytes += document.text_bytes
            self.taken += 1

    def _drop(self, bad: BadRow) -> None:
        """Leave out a bad row, or raise BadRowError, as --on_bad_row says."""
        name, row, reason = self.source.files[bad.file].name, bad.row, bad.reason
        if self.options.on_bad_row == "stop":
            self.checkpoint()
            raise BadRowError(
                f"{name}, row {row}: {reason}. Nothing is lost: repair the file and start over with --fresh, "
                "or leave such rows out with --on_bad_row skip"
            )
        if self.bad_rows is None:
            self.bad_rows = AppendFile(self.options.out_dir / BAD_ROWS)
        self.bad_rows.write(json.dumps({"file": name, "row": row, "reason": reason}).encode() + b"\n")
        self.ledgers["train"].documents_read += 1
        self.ledgers["train"].documents_dropped[reason.partition(" (")[0]] += 1

    def checkpoint(self) -> None:
        """Make everything so far durable and replace the state file."""
        self.hold.check()
        states: dict[str, PackerState] = {}
        tokens: list[memoryview] = []
        self.check_ledgers()
        for split, packer in self.packers.items():
            states[split], held = packer.state()
            tokens += held
        if self.bad_rows:
            self.bad_rows.sync()
        state = RunState(
            identity=identity(self.options, self.source, self.tokenizer),
            source=self.source,
            position=self.position,
            taken=self.taken,
            share=self.share,
            documents=self.documents,
            empty_texts=self.empty_texts,
            text_bytes=self.text_bytes,
            seconds=self.seconds,
            engines=self.engines,
            bad_rows_bytes=self.bad_rows.length if self.bad_rows else 0,
            ledgers=Ledgers(train=self.ledgers["train"].record(), val=self.ledgers["val"].record()),
            packers=states,
            document_log=self.document_log.state() if self.document_log else None,
        )
        write_state(self.options.out_dir, msgspec.to_builtins(state), tokens)
        for log in self.logs():
            for path in log.outdated:
                path.unlink()
            log.outdated.clear()
        gc.collect(1)  # of the young objects only: `read` turns automatic collection off

    def check_ledgers(self) -> None:
        """Raise BosrowError unless every token and document is accounted for."""
        for split, ledger in self.ledgers.items():
            waiting = [packer.waiting(split) for packer in self.packers.values()]
            ledger.check(self.options.row_tokens, *map(sum, zip(*waiting, strict=True)))

    def logs(self) -> list[PieceLog | DocumentLog]:
        """The logs that write the provenance; none with --no_provenance."""
        logs = [self.document_log, *(packer.pieces for packer in self.packers.values())]
        return [log for log in logs if log is not None]

    def finish(self) -> dict[str, Any]:
        """Check the ledger, write meta.json, delete the state file. Returns the contents of meta.json."""
        self.check_ledgers()
        shards = sorted(
            (shard for packer in self.packers.values() for shard in packer.writer.closed), key=lambda s: s.name
        )
        if not any(shard.split == "train" for shard in shards):
            raise self._no_training_rows()
        if self.bad_rows:
            self.bad_rows.sync()
            self.bad_rows.close()
        self.hold.check()
        provenance = sorted((info for log in self.logs() for info in log.closed), key=lambda info: info.name)
        meta = describe(
            options=self.options,
            tokenizer=self.tokenizer,
            source=self.source,
            ledgers=self.ledgers,
            shards=shards,
            provenance=provenance,
            documents=self.documents,
            empty_texts=self.empty_texts,
            text_bytes=self.text_bytes,
            seconds=self.seconds,
            engines=self.engines,
        )
        keep_tokenizer(self.tokenizer.spec, self.options.out_dir)
        write_manifest(self.options.out_dir, meta)
        delete_all_but(self.options.out_dir, files_of(read_manifest(self.options.out_dir)))
        return meta

    def _no_training_rows(self) -> SourceError:
        rows = sum(ledger.rows for ledger in self.ledgers.values())
        read = sum(ledger.tokens_read for ledger in self.ledgers.values())
        if rows == 0:
            return SourceError(
                f"not one full row: the source gave {read:,} tokens in {self.documents:,} documents, a row takes "
                f"{self.options.row_tokens:,}; give more text, or a smaller --seq_len with --fresh"
            )
        return SourceError(
            f"no rows are left for training: all {rows:,} went into val (--val_shards {self.options.val_by_shards} of "
            f"{self.options.rows_per_shard:,} rows each); "
            "give --val_fraction 0.01 or a smaller --shard_rows, with --fresh"
        )


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Turn off Python's search for reference cycles; `checkpoint` runs it from time to time.

    The packer makes many small objects and no cycles, and the search would take a tenth of its time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
