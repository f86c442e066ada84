"""The loss over stored rows, by position in the row and by distance from the last BOS before it.

For the comparison of each model on packed and on stream rows. Promise: all `seq_len` targets of
a row count, also those that are BOS (which a model trained on stream rows has learnt to predict, and one trained
on rows of single documents has not); the figure without them stands beside. Cost: one pass over the rows.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bosrow.dataset.rows import Rows
from bosrow.distributed.world import World
from bosrow.evals.benchmark import Result, mean_and_error
from bosrow.evals.bits_per_byte import ratio_and_error
from bosrow.evals.scoring import LanguageModel, ScoredSequence, Track, token_scores

ROWS_AT_ONCE = 1024
BINS = 32


@dataclass(frozen=True)
class RowScores:
    """The result, and for each row its number in the split and, of words and of BOS, nats and targets, (rows, 2)."""

    result: Result
    numbers: npt.NDArray[np.int64]
    nats: npt.NDArray[np.float64]
    targets: npt.NDArray[np.int64]

    def lines(self) -> list[dict[str, float | int]]:
        """One record a row, as items_rows_NAME.jsonl has them; `logprob` and `tokens` are over all targets."""
        return [
            {"row": number, "logprob": -(words + bos), "tokens": count + bos_count}
            | {"bos_logprob": 0.0 - bos, "bos_targets": bos_count}
            for number, (words, bos), (count, bos_count) in zip(
                self.numbers.tolist(), self.nats.tolist(), self.targets.tolist(), strict=True
            )
        ]


def distances(row: np.ndarray, bos_token_id: int) -> np.ndarray:
    """For each target row[1:], how many tokens before it the nearest BOS stands; 0 if none does.

    >>> distances(np.array([5, 6, 0, 7, 8]), bos_token_id=0).tolist()
    [0, 0, 1, 2]
    """
    columns = np.arange(1, len(row))
    last = np.maximum.accumulate(np.where(row[:-1] == bos_token_id, columns, 0))
    return np.where(last > 0, columns - last + 1, 0)


def row_losses(
    model: LanguageModel,
    rows: Rows,
    name: str,
    *,
    world: World,
    max_rows: int = 0,
    batch_size: int = 8,
    track: Track | None = None,
) -> RowScores:
    """Losses in nats a token over `max_rows` rows, spread evenly (0: all), over all ranks. `name` is the data set's.

    `by_position` has seq_len means. `by_distance` has one for each bin [2^k, 2^(k+1)) of the distance; its
    bin 0 is what begins a row in the middle of a document. BOS targets are left out of it.
    """
    bos = rows.manifest.bos_token_id
    count = min(max_rows, len(rows)) if max_rows else len(rows)
    chosen = np.arange(count) * len(rows) // count
    by_position = np.zeros(rows.row_tokens - 1)
    by_distance = np.zeros((2, BINS))
    by_row = np.zeros((2, count, 2))  # nats and targets of each row, of words and of BOS
    for first in range(0, count, ROWS_AT_ONCE):
        tokens = rows[chosen[first : first + ROWS_AT_ONCE]]
        sequences = [ScoredSequence(row, 1) for row in tokens.tolist()]
        for number, values in token_scores(model, sequences, world=world, batch_size=batch_size, track=track):
            losses = -values.astype(np.float64)
            is_bos = tokens[number, 1:] == bos
            by_position += losses
            by_row[:, first + number] = np.bincount(is_bos, losses, 2), np.bincount(is_bos, minlength=2)
            distance = distances(tokens[number], bos)[~is_bos]
            bins = np.where(distance > 0, 1 + np.log2(np.maximum(distance, 1)).astype(np.int64), 0)
            by_distance += [np.bincount(bins, losses[~is_bos], BINS), np.bincount(bins, minlength=BINS)]
    by_position = world.sum_array(by_position) / count
    by_distance = world.sum_array(by_distance)
    nats, targets = world.sum_array(by_row)
    loss, error = mean_and_error(nats.sum(1) / targets.sum(1))
    words, words_error = ratio_and_error(nats[:, 0], targets[:, 0])
    bos_count = int(targets[:, 1].sum())
    result: Result = {
        "task": "rows",
        "rule": f"the mean over every target of the {rows.split} rows",
        "rows_of": name,
        "policy": rows.manifest.policy,
        "rows": count,
        "loss": loss,
        "loss_stderr": error,
        "loss_without_bos_targets": words,
        "loss_without_bos_targets_stderr": words_error,
        "loss_of_bos_targets": nats[:, 1].sum() / bos_count if bos_count else None,
        "bos_targets": bos_count,
        "by_position": by_position.tolist(),
        "by_distance": [
            {"from": 2 ** (place - 1) if place else 0, "tokens": int(tokens), "loss": total / tokens}
            for place, (total, tokens) in enumerate(by_distance.T)
            if tokens
        ],
    }
    return RowScores(result, chosen, nats, targets.astype(np.int64))
