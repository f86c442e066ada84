"""The one scorer: token sequences in, the log-probability of each scored token out, on every rank.

Promise: each sequence is scored once, by one rank; how batches are made depends on the sequences and
`batch_size` alone, so 1, 2 or 4 ranks give the same numbers. Sums are kept in float64. Cost: sequences that begin alike
are merged into a tree of prefixes and every token of the tree is computed once, so the context of an item is computed
once for all its choices. The output layer, which is most of a small model, runs only where a token is scored, in tiles
of states by words that fit into the caches; a whole row of logits is never made.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from bosrow.distributed.world import World
from bosrow.evals.prefix_tree import PrefixTree, fill_rows, lay_out

# A tile of logits, states by words: on a CPU 8 MB in fp32, up to twice as fast as whole rows of 50,257; else 256 MB.
TILES = {"cpu": (1024, 2048)}
TILE_ELSE = (1024, 1 << 16)
TREE_TOKENS = 384  # of a merged row; attention costs more the longer it is, and four endings with their context fit

Track = Callable[[list["ScoringBatch"]], Iterable["ScoringBatch"]]


class LanguageModel(Protocol):
    """A function from tokens to logits in two halves, so that the second runs only where it is needed.

    `logits(hidden(tokens, None)[b, t], words)` are the logits of `words` to come after `tokens[b, : t + 1]`.
    """

    context_tokens: int  # the longest input
    vocab_size: int
    device: torch.device
    takes_trees: bool  # whether `hidden` honours its second argument

    def hidden(self, tokens: torch.Tensor, tree: "Tree | None") -> torch.Tensor:
        """States (B, T, C) for int64 `tokens` (B, T)."""

    def logits(self, hidden: torch.Tensor, words: slice) -> torch.Tensor:
        """Logits (N, number of words) for a stretch of words and `hidden` (N, C); the caller may change it."""


@dataclass(frozen=True)
class Tree:
    """Rows that hold several sequences with common beginnings.

    `positions` (B, T), int64: each token's place in its own sequence. `visible` (B, T, T), bool: whether
    token i sees token j, which it does if j stands before it in its own sequence, or is i.
    """

    positions: torch.Tensor
    visible: torch.Tensor


@dataclass(frozen=True)
class ScoredSequence:
    """Tokens of which those from index `start` on are scored, each given all before it.

    The very first token has nothing before it, hence no probability, and is never scored.
    """

    tokens: list[int]
    start: int

    @property
    def scored(self) -> int:
        """How many tokens get a log-probability."""
        return len(self.tokens) - max(self.start, 1)


def fit(sequence: ScoredSequence, context_tokens: int) -> ScoredSequence:
    """The sequence's last tokens, as many as the model can use: `context_tokens` inputs and a last target.

    A BOS at the front goes with the rest of what is cut.
    """
    excess = len(sequence.tokens) - (context_tokens + 1)
    if excess <= 0:
        return sequence
    return ScoredSequence(sequence.tokens[excess:], max(sequence.start - excess, 0))


@dataclass(frozen=True)
class ScoringBatch:
    """Rows that go through the model together; `sequences` are the numbers of their sequences, row by row."""

    layouts: list[PrefixTree]
    sequences: list[list[int]]

    @property
    def width(self) -> int:
        """Tokens of the longest row."""
        return max(len(layout.tokens) for layout in self.layouts)


def make_batches(sequences: list[ScoredSequence], *, batch_tokens: int, merge: bool) -> list[ScoringBatch]:
    """Batches of at most `batch_tokens` tokens with padding (or one row), longest rows first.

    With `merge`, sequences share rows as trees; without, each is a row of its own. One that has no scored
    token is left out.
    """
    numbers = [number for number, sequence in enumerate(sequences) if sequence.scored > 0]
    inputs = [sequences[number].tokens[:-1] for number in numbers]
    rows = fill_rows(inputs, TREE_TOKENS) if merge else [[place] for place in range(len(inputs))]
    laid = [(lay_out([inputs[place] for place in row]), [numbers[place] for place in row]) for row in rows]
    laid.sort(key=lambda row: -len(row[0].tokens))
    batches = []
    first = 0
    while first < len(laid):
        last = first + max(1, batch_tokens // len(laid[first][0].tokens))
        batches.append(ScoringBatch([layout for layout, _ in laid[first:last]], [row for _, row in laid[first:last]]))
        first = last
    return batches


def token_scores(
    model: LanguageModel,
    sequences: list[ScoredSequence],
    *,
    world: World,
    batch_size: int,
    track: Track | None = None,
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """This rank's share: (number of the sequence, log-probabilities of its scored tokens), in any order.

    Sequences must fit the model (`fit`). `batch_size` counts rows of the model's full length; of shorter
    ones as many are taken as have the same number of tokens.
    """
    batch_tokens = batch_size * model.context_tokens
    batches = make_batches(sequences, batch_tokens=batch_tokens, merge=model.takes_trees)[world.rank :: world.size]
    for batch in batches if track is None else track(batches):
        yield from _score_batch(model, batch, sequences)


@torch.no_grad()
def _score_batch(
    model: LanguageModel, batch: ScoringBatch, sequences: list[ScoredSequence]
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    width = batch.width
    tokens = _padded([layout.tokens for layout in batch.layouts], width).to(model.device)
    tree = _tree(batch, model.device) if any(len(numbers) > 1 for numbers in batch.sequences) else None
    numbers: list[int] = []
    counts: list[int] = []
    places: list[int] = []  # of the state that predicts each scored token
    targets: list[int] = []
    for row, (layout, members) in enumerate(zip(batch.layouts, batch.sequences, strict=True)):
        for nodes, number in zip(layout.nodes, members, strict=True):
            sequence = sequences[number]
            start = max(sequence.start, 1)
            places += [row * width + node for node in nodes[start - 1 :]]
            targets += sequence.tokens[start:]
            numbers.append(number)
            counts.append(len(sequence.tokens) - start)
    hidden = model.hidden(tokens, tree).flatten(0, 1)  # (B * T, C)
    values = _log_probabilities(model, hidden, np.array(places, np.int64), np.array(targets, np.int64))
    yield from zip(numbers, np.split(values, np.cumsum(counts)[:-1]), strict=True)


def _padded(rows: list[list[int]], width: int) -> torch.Tensor:
    """(B, width), int64. Padding comes last, where no real token sees it."""
    return torch.tensor([row + [0] * (width - len(row)) for row in rows])


def _tree(batch: ScoringBatch, device: torch.device) -> Tree:
    width = batch.width
    positions = _padded([layout.positions for layout in batch.layouts], width).to(device)
    ends = _padded([layout.ends for layout in batch.layouts], width).to(device)
    index = torch.arange(width, device=device)
    later = index[:, None] >= index  # (T, T)
    visible = later & (index[:, None] < ends[:, None, :])  # (B, T, T)
    visible |= torch.eye(width, dtype=torch.bool, device=device)  # padding sees itself: softmax of nothing is NaN
    return Tree(positions, visible)


def _log_probabilities(
    model: LanguageModel, hidden: torch.Tensor, places: npt.NDArray[np.int64], targets: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Log-probability of targets[i] in the state hidden[places[i]]; each state's logits are computed once."""
    states, state_of = np.unique(places, return_inverse=True)
    order = np.argsort(state_of, kind="stable")
    values = np.empty(len(targets), np.float32)
    step = TILES.get(model.device.type, TILE_ELSE)[0]
    for first in range(0, len(states), step):
        chunk = torch.from_numpy(states[first : first + step]).to(model.device)
        low, high = np.searchsorted(state_of, [first, first + step], sorter=order)
        wanted = order[low:high]
        rows = torch.from_numpy(state_of[wanted] - first).to(model.device)
        words = torch.from_numpy(targets[wanted]).to(model.device)
        values[wanted] = _in_tiles(model, hidden[chunk], rows, words).cpu().numpy()
    return values


def _in_tiles(model: LanguageModel, hidden: torch.Tensor, rows: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    """Log-probability (k,) of each of `words` (k,) in the state hidden[rows[i]] of `hidden` (n, C)."""
    width = TILES.get(model.device.type, TILE_ELSE)[1]
    chosen = torch.empty(len(words), dtype=torch.float32, device=model.device)
    sums = []
    for first in range(0, model.vocab_size, width):
        tile = slice(first, min(first + width, model.vocab_size))
        logits = model.logits(hidden, tile).float()  # (n, words of the tile)
        inside = ((words >= tile.start) & (words < tile.stop)).nonzero()[:, 0]
        chosen[inside] = logits[rows[inside], words[inside] - first]
        top = logits.amax(1, keepdim=True)
        sums.append(logits.sub_(top).exp_().sum(1).log() + top[:, 0])
    return chosen - torch.stack(sums, 1).logsumexp(1)[rows]


def score(
    model: LanguageModel, sequences: list[ScoredSequence], *, world: World, batch_size: int, track: Track | None = None
) -> npt.NDArray[np.float64]:
    """Summed log-probability of each sequence's scored tokens, in nats, the same array on every rank."""
    totals = np.zeros(len(sequences))
    for number, values in token_scores(model, sequences, world=world, batch_size=batch_size, track=track):
        totals[number] = values.sum(dtype=np.float64)
    return world.sum_array(totals)


class TransformerModel:
    """A GPT-2 with `transformer` (tokens to states) and an output layer tied to `transformer.wte`.

    `autocast` is the dtype for matrix products, or None for the parameters' own.
    """

    takes_trees = True

    def __init__(self, model: Any, *, autocast: torch.dtype | None = None) -> None:
        self.transformer = model.transformer
        self.context_tokens: int = model.config.seq_len
        self.vocab_size: int = model.config.vocab_size
        self.device: torch.device = self.transformer.wte.weight.device
        self.autocast = autocast

    def hidden(self, tokens: torch.Tensor, tree: Tree | None) -> torch.Tensor:
        """States (B, T, C). By `forward`, since a compiled module would be compiled anew for every shape."""
        with self._autocast():
            if tree is None:
                return self.transformer.forward(tokens)
            return self.transformer.forward(tokens, tree.positions, tree.visible)

    def logits(self, hidden: torch.Tensor, words: slice) -> torch.Tensor:
        """Logits (N, number of words)."""
        with self._autocast():
            return torch.nn.functional.linear(hidden, self.transformer.wte.weight[words])

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=self.autocast, enabled=self.autocast is not None)
