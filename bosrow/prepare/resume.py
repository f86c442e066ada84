"""Resumes a preparation from its state file. The state is taken over and checked before any file is changed.

Promise: a state that bosrow did not write, or that no longer fits the files, is refused with one message, and nothing
is changed. Any other error is a defect of bosrow and is reported as one.
"""

from pathlib import Path
from typing import Any

import numpy as np

from bosrow.dataset.ledger import Ledger
from bosrow.dataset.state_file import STATE, State
from bosrow.errors import BosrowError, DataSetError
from bosrow.files import AppendFile
from bosrow.prepare.manifest_content import identity
from bosrow.prepare.out_folder import BAD_ROWS, delete_all_but
from bosrow.prepare.prepare_options import PrepareOptions
from bosrow.prepare.run import Run
from bosrow.prepare.run_state import RunState
from bosrow.prepare.same_run import check_same, upgraded_identity, with_recorded_split
from bosrow.sources.source import HubSource, upgraded_source
from bosrow.sources.unit import Position
from bosrow.strict_json import Invalid, typed
from bosrow.tokenizers.spec import KEPT_FILES
from bosrow.tokenizers.token_ids import TokenArray


def parse_state(options: PrepareOptions, saved: State) -> RunState:
    """The state as a RunState. Raises DataSetError if a field is missing or wrong, or if it read CSV by older rules."""
    folder = options.out_dir
    try:
        state = typed(_upgraded(saved.value), RunState, "state")
        state.identity = upgraded_identity(state.identity, options)
        with_recorded_split(options, state.identity)
    except Invalid as error:
        raise _damaged(folder, error) from None
    if state.source.format == "csv" and '"rules"' not in state.source.settings:
        raise DataSetError(
            "this preparation was begun by an older bosrow, which read CSV by the rules of pandas and lost text; "
            "start over with --fresh, or go on with the version of bosrow that began it"
        )
    return state


def _upgraded(state: dict[str, Any]) -> dict[str, Any]:
    """A state in the present form."""
    source = state.get("source")
    return state | {"source": upgraded_source(source)} if isinstance(source, dict) else state


def source_on_hub(folder: Path, state: RunState, options: PrepareOptions) -> HubSource:
    """The source that the run was begun with, so that a data set on the Hub keeps its revision."""
    source = state.source
    try:
        if not isinstance(source, HubSource) or source.dataset != options.dataset:
            raise Invalid(f"its source is {source.origin['dataset']}, but {options.dataset} was asked for")
        "".join(file.path + file.name for file in source.files).encode()
    except (Invalid, UnicodeEncodeError) as error:
        raise _damaged(folder, error) from None
    return source


def resume(run: Run, state: RunState, tokens: bytes) -> None:
    """Make the new `run` go on from `state`. `tokens` are those of the held documents.

    Raises DataSetError if the state is damaged, or has other options, another source or another tokenizer.
    """
    folder = run.options.out_dir
    now = identity(run.options, run.source, run.tokenizer)
    check_same(folder, state.identity, now, state.source, run.source)
    try:
        _take_over(run, state, tokens)
        _check(run, state)
    except Invalid as error:
        raise _damaged(folder, error) from None
    _reopen(run, state)


def _damaged(folder: Path, error: Exception) -> DataSetError:
    return DataSetError(f"{folder / STATE} is damaged or was edited ({error}); --fresh starts over")


def _take_over(run: Run, state: RunState, tokens: bytes) -> None:
    run.position, run.taken, run.share = Position(*state.position), state.taken, state.share
    run.documents, run.empty_texts = state.documents, state.empty_texts
    run.text_bytes, run.seconds = state.text_bytes, state.seconds
    run.engines = state.engines | run.engines
    run.ledgers["train"].replace_by(Ledger.of(state.ledgers.train))
    run.ledgers["val"].replace_by(Ledger.of(state.ledgers.val))
    if state.packers.keys() != run.packers.keys():
        raise Invalid(f"it has packers of {', '.join(state.packers)}, not of {', '.join(run.packers)}")
    dtype = run.tokenizer.dtype
    if len(tokens) % dtype.itemsize:
        raise Invalid(f"its {len(tokens)} bytes of tokens are no whole number of {dtype.name}")
    held: TokenArray = np.frombuffer(tokens, dtype)
    for split, packer in run.packers.items():
        held = packer.restore(state.packers[split], held)
    if len(held):
        raise Invalid("it holds tokens that belong to no document")
    if (run.document_log is None) != (state.document_log is None):
        raise Invalid("it has provenance and --no_provenance was given, or the other way round")
    if run.document_log and state.document_log:
        run.document_log.restore(state.document_log, run.documents)


def _check(run: Run, state: RunState) -> None:
    """Raise Invalid unless the counts, packers and ledgers in the state agree with each other."""
    left, size = len(run.source.files) - run.position.file, run.source.size
    if left < 0 or (left == 0 and run.share < min(1, size)):
        raise Invalid(f"its position is {list(run.position)}, {run.share} of the source")
    held = [document for packer in run.packers.values() for document in packer.held]
    read = sum(ledger.documents_read for ledger in run.ledgers.values())
    dropped = sum(ledger.documents_dropped.total() for ledger in run.ledgers.values())
    if run.documents != read - dropped or run.taken > read or max(held, default=-1) >= run.documents:
        raise Invalid(f"{run.documents} documents, {run.taken} of the last unit, do not fit {read} read")
    if run.source.format == "rows" and run.position.part + run.taken != read:
        raise Invalid(f"its position is document {run.position.part + run.taken}, but {read} were read")
    if (dropped > 0) != (state.bad_rows_bytes > 0):
        raise Invalid(f"{state.bad_rows_bytes} bytes describe {dropped} bad rows")
    try:
        run.check_ledgers()
    except BosrowError as error:
        raise Invalid(str(error).partition(";")[0]) from None


def _reopen(run: Run, state: RunState) -> None:
    """Truncate the open files to what the state counts, and delete files that it does not name."""
    folder = run.options.out_dir
    if state.bad_rows_bytes:
        run.bad_rows = AppendFile(folder / BAD_ROWS, state.bad_rows_bytes)
    for split, packer in run.packers.items():
        packer.reopen(state.packers[split])
    if run.document_log and state.document_log:
        run.document_log.reopen(state.document_log)
    shards = {name for packer in run.packers.values() for name in packer.writer.files}
    logged = {name for log in run.logs() for name in log.files}
    delete_all_but(folder, shards | logged | ({BAD_ROWS} if run.bad_rows else set()) | {STATE, *KEPT_FILES})
