"""The contents of a state file, with the types of all fields."""

from typing import Annotated, Any

from msgspec import Meta

from bosrow.dataset.ledger import LedgerRecord
from bosrow.dataset.provenance_writer import DocumentLogState
from bosrow.prepare.packer import PackerState
from bosrow.sources.source import Source
from bosrow.strict_json import Count, Record


class Ledgers(Record):
    """The ledger of each split."""

    train: LedgerRecord
    val: LedgerRecord


class RunState(Record):
    """Where a run is. The tokens of the documents that its packers hold are stored separately."""

    identity: dict[str, Any]
    source: Source
    position: tuple[Count, Count, Count]
    taken: Count  # documents of the unit at `position` that are packed already
    share: Annotated[float, Meta(ge=0, le=1)]
    documents: Count
    text_bytes: Count
    seconds: Annotated[float, Meta(ge=0, lt=float(1 << 62))]
    engines: dict[str, str]
    bad_rows_bytes: Count
    ledgers: Ledgers
    packers: dict[str, PackerState]
    document_log: DocumentLogState | None
    empty_texts: Count = 0  # older states do not have it
