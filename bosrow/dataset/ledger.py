"""The ledger: where every token and every document went.

    tokens read        = placed + cropped + tail + dropped + held
    rows x row_tokens  = placed + added BOS + repeated
    documents read     = whole + split + cropped + dropped + held

Read and written are counted at two ends of the packer, so a balance is evidence, not a definition.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from bosrow.errors import BosrowError
from bosrow.files import whole_number


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
    documents_split: int = 0  # whole, in several pieces
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

    def as_json(self, tokens_held: int = 0, documents_held: int = 0) -> dict[str, Any]:
        """The ledger as it stands in meta.json and in the state file."""
        return {
            "tokens_read": self.tokens_read,
            "tokens_placed": self.tokens_placed,
            "tokens_cropped": self.tokens_cropped,
            "tokens_cropped_long": self.tokens_cropped_long,
            "tokens_cropped_fit": self.tokens_cropped_fit,
            "tokens_tail": self.tokens_tail,
            "tokens_dropped": dict(sorted(self.tokens_dropped.items())),
            "tokens_held": tokens_held,
            "added_bos": self.added_bos,
            "tokens_repeated": self.tokens_repeated,
            "rows": self.rows,
            "cuts": self.cuts,
            "documents_read": self.documents_read,
            "documents_whole": self.documents_whole,
            "documents_split": self.documents_split,
            "documents_cropped": self.documents_cropped,
            "documents_dropped": dict(sorted(self.documents_dropped.items())),
            "documents_held": documents_held,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Ledger":
        """The ledger that `as_json` wrote. Raises KeyError, TypeError, ValueError or AttributeError for another."""
        derived = ("tokens_cropped", "tokens_held", "documents_held")
        by_reason = ("tokens_dropped", "documents_dropped")
        counts = {name: whole_number(count) for name, count in value.items() if name not in derived + by_reason}
        dropped = {
            name: Counter({reason: whole_number(count) for reason, count in value[name].items()}) for name in by_reason
        }
        return cls(**counts, **dropped)  # type: ignore[arg-type]
