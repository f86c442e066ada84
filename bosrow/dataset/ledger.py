"""The ledger: where every token and every document went.

    tokens read        = placed + cropped + tail + dropped + held
    rows x row_tokens  = placed + added BOS + repeated
    documents read     = whole + split + cropped + dropped + held

What is read is counted when documents enter the packer, what is written when rows leave it. The two counts are
independent, so an error in one of them shows.
"""

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

from bosrow.errors import BosrowError
from bosrow.strict_json import Count, Record, typed


class LedgerRecord(Record, kw_only=True):
    """A ledger as stored in meta.json and in the state file."""

    tokens_read: Count = 0
    tokens_placed: Count = 0
    tokens_cropped: Count = 0  # the sum of the next two
    tokens_cropped_long: Count = 0
    tokens_cropped_fit: Count = 0
    tokens_tail: Count = 0
    tokens_dropped: dict[str, Count]  # by reason
    tokens_held: Count = 0
    added_bos: Count = 0
    tokens_repeated: Count = 0
    rows: Count = 0
    cuts: Count = 0
    documents_read: Count = 0
    documents_whole: Count = 0
    documents_split: Count = 0
    documents_cropped: Count = 0
    documents_dropped: dict[str, Count]  # by reason
    documents_held: Count = 0


@dataclass
class Ledger:
    """Counts of one split, in tokens (BOS counted), documents and rows."""

    tokens_read: int = 0
    tokens_placed: int = 0
    tokens_cropped_long: int = 0  # of documents longer than a row
    tokens_cropped_fit: int = 0  # of documents that a row could have held, cropped to close one
    tokens_tail: int = 0  # of the unfilled last row
    tokens_dropped: Counter[str] = field(default_factory=Counter)  # by reason
    added_bos: int = 0
    tokens_repeated: int = 0
    rows: int = 0
    cuts: int = 0
    documents_read: int = 0
    documents_whole: int = 0  # in one piece
    documents_split: int = 0  # complete, in several pieces
    documents_cropped: int = 0  # some tokens are in no row: cropped, or in the tail
    documents_dropped: Counter[str] = field(default_factory=Counter)  # by reason

    @property
    def tokens_cropped(self) -> int:
        """Tokens of documents cropped by the policy; no row holds them."""
        return self.tokens_cropped_long + self.tokens_cropped_fit

    @property
    def crop_fraction(self) -> float:
        """Cropped, as a share of cropped + placed."""
        return self.tokens_cropped / max(1, self.tokens_cropped + self.tokens_placed)

    def check(self, row_tokens: int, tokens_held: int, documents_held: int) -> None:
        """Raise BosrowError unless everything balances."""
        kept = self.tokens_placed + self.tokens_cropped + self.tokens_tail + tokens_held
        kept += self.tokens_dropped.total()
        in_rows = self.tokens_placed + self.added_bos + self.tokens_repeated
        documents = self.documents_whole + self.documents_split + self.documents_cropped + documents_held
        for what, one, other in (
            ("tokens read", self.tokens_read, kept),
            ("tokens in rows", self.rows * row_tokens, in_rows),
            ("documents read", self.documents_read, documents + self.documents_dropped.total()),
        ):
            if one != other:
                raise BosrowError(f"the ledger does not balance: {what}: {one:,} against {other:,}; a defect of bosrow")

    def record(self) -> LedgerRecord:
        """The ledger as stored in meta.json and in the state file."""
        counts = {one.name: getattr(self, one.name) for one in fields(self)}
        counts["tokens_cropped"] = self.tokens_cropped
        counts["tokens_dropped"] = dict(sorted(self.tokens_dropped.items()))
        counts["documents_dropped"] = dict(sorted(self.documents_dropped.items()))
        return LedgerRecord(**counts)

    def replace_by(self, other: "Ledger") -> None:
        """Take over all counts of `other`."""
        for one in fields(self):
            setattr(self, one.name, getattr(other, one.name))

    @classmethod
    def of(cls, record: LedgerRecord) -> "Ledger":
        """The inverse of `record()`."""
        counts = {one.name: getattr(record, one.name) for one in fields(cls)}
        counts["tokens_dropped"] = Counter(record.tokens_dropped)
        counts["documents_dropped"] = Counter(record.documents_dropped)
        return cls(**counts)

    @classmethod
    def from_json(cls, value: Any) -> "Ledger":
        """A ledger from parsed JSON. Raises Invalid if it is not one."""
        return cls.of(typed(value, LedgerRecord, "ledger"))
