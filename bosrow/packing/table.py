"""Packing: lengths of documents in, rows of exactly `row_tokens` tokens out; one class per policy.

Promise: pure (no I/O, no clock, no chance), so the same lengths give the same rows on every machine, and a
policy restored from `state()` goes on exactly as if it had never stopped. A document's length counts its own
BOS. Documents are known by their numbers, which increase. `finish()` ends the source; what is then in
`unfilled` is the tail, which no row holds.

Cost: placing a document takes the same few microseconds whatever the buffer holds. The lengths that wait are
one Python integer used as a set of bits (bit n: some waiting document has exactly n tokens), so "the largest
that fits" and "all pairs that fill this gap" are a shift and a mask over row_tokens bits.

    policy = make_policy("crop", row_tokens=8, buffer_docs=2, buffer_tokens=1 << 26)
    policy.add(0, 5)   # []
    policy.add(1, 3)   # []: document 0, the largest that fits, is placed; the row has 3 tokens left
    policy.add(2, 4)   # [Row(pieces=[Piece(0, 0, 5, False), Piece(1, 0, 3, False)], done=[0, 1])]
"""

from bosrow.packing.crop import Crop, CropLongFirst
from bosrow.packing.keep import Keep
from bosrow.packing.policy import Policy
from bosrow.packing.stream import Stream

POLICIES: dict[str, type[Policy]] = {policy.name: policy for policy in (Crop, CropLongFirst, Keep, Stream)}
"""All policies, by name. A new one is known everywhere once it stands here."""


def make_policy(name: str, *, row_tokens: int, buffer_docs: int, buffer_tokens: int) -> Policy:
    """The policy called `name`, new and empty.

    `stream` has no buffer, and only `keep` heeds `buffer_tokens`: of a document that waits, the crop policies
    need no more than the first `row_tokens` tokens.
    """
    if name not in POLICIES:
        raise ValueError(f"there is no policy {name!r}; there are: {', '.join(POLICIES)}")
    return POLICIES[name](row_tokens, buffer_docs, buffer_tokens)


LOSSLESS = tuple(name for name, policy in POLICIES.items() if not policy.lossy)
