"""Bits per byte of held-out documents, each scored alone, from its own BOS: independent of any packing.

A document longer than the model is read in windows of the model's length that begin `stride` tokens
apart; each token is scored once, by the first window that reaches it, so all but those of the first window
have at least length - stride tokens before them. BOS is never a target. Bits are those of the tokens, bytes
those of the text, so models with other tokenizers compare too. Cost: length / stride passes over a long document.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bosrow.distributed.world import World
from bosrow.errors import OptionError, UserError
from bosrow.evals.benchmark import Result
from bosrow.evals.scoring import LanguageModel, ScoredSequence, Track, token_scores

DOCUMENTS_AT_ONCE = 1024  # as token lists; a document's ids are small before and a float after


@dataclass(frozen=True)
class HeldOutDocument:
    """A held-out document: its number, its token ids without BOS (integers), and the bytes of its text in UTF-8."""

    number: int
    tokens: npt.NDArray[np.integer]
    bytes: int


@dataclass(frozen=True)
class DocumentScores:
    """For each document its number, nats, scored tokens and bytes, and the result over all of them."""

    result: Result
    numbers: list[int]
    nats: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.int64]
    bytes: npt.NDArray[np.int64]

    def lines(self) -> list[dict[str, float | int | None]]:
        """One record a document, as items_bits_per_byte.jsonl has them."""
        return [
            {"document": number, "logprob": -nats if math.isfinite(nats) else None, "tokens": tokens, "bytes": size}
            for number, nats, tokens, size in zip(
                self.numbers, self.nats.tolist(), self.tokens.tolist(), self.bytes.tolist(), strict=True
            )
        ]


def windows(tokens: list[int], length: int, stride: int) -> list[ScoredSequence]:
    """Sequences of at most `length` inputs that together score every token but the first exactly once.

    >>> [(window.tokens, window.start) for window in windows([9, 1, 2, 3, 4, 5], 3, 2)]
    [([9, 1, 2, 3], 1), ([2, 3, 4, 5], 2)]
    """
    result = []
    begin, scored = 0, 1  # tokens before `scored` have been scored, or are the BOS
    while scored < len(tokens):
        window = tokens[begin : begin + length + 1]
        result.append(ScoredSequence(window, scored - begin))
        scored = begin + len(window)
        begin += stride
    return result


def bits_per_byte(
    model: LanguageModel,
    documents: Iterable[HeldOutDocument],
    bos_token_id: int,
    *,
    world: World,
    stride: int = 0,
    batch_size: int = 8,
    track: Track | None = None,
) -> DocumentScores:
    """Score `documents` over all ranks, which must all be given the same; every rank gets the same scores.

    `stride` 0 is half the model's length. `bits_per_byte` pools all documents, so a long one weighs as its bytes do
    (the standard error is that of a ratio over documents); `document_bits_per_byte` is the mean of each document's own
    figure, so all that have any text weigh the same. Under `by_distance` stands the loss by distance from the
    document's start, in nats a token, in bins [2^k, 2^(k+1)).
    """
    length = model.context_tokens
    stride = stride or max(1, length // 2)
    if not 1 <= stride <= length:
        raise OptionError(f"the stride is {stride} tokens; 1 to {length}, the model's length, is possible")
    chosen = list(documents)
    if not chosen:
        raise UserError("there are no held-out documents; a data set with a val split was required")
    nats = np.zeros(len(chosen))
    by_distance = np.zeros((2, 64))  # nats and tokens of each bin
    for first in range(0, len(chosen), DOCUMENTS_AT_ONCE):
        sequences: list[ScoredSequence] = []
        owners: list[tuple[int, int]] = []  # of each window: its document, and the first scored token's distance
        for index, document in enumerate(chosen[first : first + DOCUMENTS_AT_ONCE], first):
            distance = 1
            for window in windows([bos_token_id, *document.tokens.tolist()], length, stride):
                sequences.append(window)
                owners.append((index, distance))
                distance += window.scored
        for number, values in token_scores(model, sequences, world=world, batch_size=batch_size, track=track):
            index, distance = owners[number]
            losses = -values.astype(np.float64)
            nats[index] += losses.sum()
            bins = np.log2(np.arange(distance, distance + len(losses))).astype(np.int64)
            by_distance += np.bincount(bins, losses, 64), np.bincount(bins, minlength=64)
    nats = world.sum_array(nats)
    by_distance = world.sum_array(by_distance)
    sizes = np.array([document.bytes for document in chosen])
    counts = np.array([len(document.tokens) for document in chosen])
    bits, error = ratio_and_error(nats / math.log(2), sizes)
    loss, loss_error = ratio_and_error(nats, counts)
    alone = nats[sizes > 0] / math.log(2) / sizes[sizes > 0]
    document_bits, document_error = ratio_and_error(alone, np.ones(len(alone)))
    result: Result = {
        "task": "bits_per_byte",
        "rule": f"each document from its own BOS, windows of {length} tokens, {stride} apart",
        "bos": True,
        "documents": len(chosen),
        "tokens": int(counts.sum()),
        "bytes": int(sizes.sum()),
        "bits_per_byte": bits,
        "bits_per_byte_stderr": error,
        "document_bits_per_byte": document_bits,
        "document_bits_per_byte_stderr": document_error,
        "loss_per_token": loss,
        "loss_per_token_stderr": loss_error,
        "window": length,
        "stride": stride,
        "by_distance": [
            {"from": 2**place, "tokens": int(tokens), "loss": total / tokens}
            for place, (total, tokens) in enumerate(by_distance.T)
            if tokens
        ],
    }
    return DocumentScores(result, [document.number for document in chosen], nats, counts, sizes)


def ratio_and_error(
    numerators: npt.NDArray[np.floating], denominators: npt.NDArray[np.integer | np.floating]
) -> tuple[float, float]:
    """sum / sum, and its standard error over independent pairs (Cochran 1977, section 2.11); NaN for a single pair."""
    count, total = len(numerators), float(denominators.sum())
    if not total:
        return math.nan, math.nan
    ratio = float(numerators.sum()) / total
    if count < 2:
        return ratio, math.nan
    residuals = numerators - ratio * denominators
    return ratio, math.sqrt(count / (count - 1) * float((residuals**2).sum())) / total
