"""The order of training: exhaustive for small data sets, statistical for larger ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bosrow.dataset.order import RowOrder, positions_of_step


@pytest.mark.parametrize("rows", [*range(1, 70), 255, 256, 257, 1000])
def test_each_epoch_holds_each_row_exactly_once(rows):
    order = RowOrder(rows=rows, seed=42)
    seen = order.rows_at(np.arange(3 * rows)).reshape(3, rows)
    assert (np.sort(seen, axis=1) == np.arange(rows)).all()


@pytest.mark.parametrize("world_size", range(1, 9))
@pytest.mark.parametrize("rows", [1, 2, 7, 30, 840, 1001])
def test_the_rows_of_a_step_are_the_same_for_every_world_size(rows, world_size):
    order = RowOrder(rows=rows, seed=1)
    rows_per_step = 840  # divisible by 1 to 8; with few rows a step spans many epochs
    for step in range(3):
        alone = order.rows_at(positions_of_step(step, rows_per_step))
        shares = [positions_of_step(step, rows_per_step, rank, world_size) for rank in range(world_size)]
        assert len({len(share) for share in shares}) == 1
        assert np.array_equal(order.rows_at(np.stack(shares, axis=1).ravel()), alone)


@given(st.integers(1, 1 << 62), st.integers(0, 1 << 63), st.integers(0, 3), st.data())
def test_every_row_leads_back_to_its_position(rows, seed, epoch, data):
    order = RowOrder(rows=rows, seed=seed)
    last_position = min(4 * rows, (1 << 63) - rows) - 1
    positions = np.array(data.draw(st.lists(st.integers(0, last_position), min_size=1, max_size=20)))
    found = order.rows_at(positions)
    assert ((found >= 0) & (found < rows)).all()
    assert np.array_equal(order.positions_of(found, positions // rows), positions)


def test_the_order_never_changes_between_versions():
    """A checkpoint of today must see the same rows tomorrow."""
    assert RowOrder(rows=10, seed=42).rows_at(np.arange(20)).tolist() == [
        8,
        7,
        1,
        6,
        4,
        3,
        5,
        0,
        9,
        2,
        5,
        1,
        0,
        4,
        7,
        3,
        8,
        2,
        6,
        9,
    ]
    assert RowOrder(rows=10**9, seed=0).rows_at(np.arange(3)).tolist() == [166619208, 927832575, 109976984]


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's, times sqrt(n): standard normal for unrelated values."""
    return float(np.corrcoef(a, b)[0, 1] * np.sqrt(len(a)))


# The limits below are 4.9 standard deviations: one false alarm in a million for each figure, and the seeds are
# fixed, so a test that passes today passes always. A linear or unkeyed round function fails them at once.
LIMIT = 4.9


@pytest.mark.parametrize("rows", [10_000, 65_536, 99_991])
@pytest.mark.parametrize("seed", [0, 1, 42])
def test_neighbours_in_the_order_are_unrelated(rows, seed):
    found = RowOrder(rows=rows, seed=seed).rows_at(np.arange(rows))
    for lag in (1, 2, 3, 4, 8, 16, 480, int(rows**0.5)):
        assert abs(correlation(found[:-lag], found[lag:])) < LIMIT
        steps = (found[lag:] - found[:-lag]) % rows  # a constant stride would pile up in few bins
        counts = np.bincount(steps * 100 // rows, minlength=100)
        assert abs(chi_square_score(counts)) < LIMIT


def chi_square_score(counts: np.ndarray) -> float:
    """Wilson and Hilferty's normal score of a chi-square test for equal counts."""
    expected, freedom = counts.mean(), len(counts) - 1
    ratio = float(((counts - expected) ** 2 / expected).sum()) / freedom
    return (ratio ** (1 / 3) - (1 - 2 / (9 * freedom))) / (2 / (9 * freedom)) ** 0.5


@pytest.mark.parametrize("rows", [10_000, 65_536, 99_991])
@pytest.mark.parametrize("seed", [0, 1, 42])
def test_epochs_and_seeds_are_unrelated(rows, seed):
    order = RowOrder(rows=rows, seed=seed)
    epochs = order.rows_at(np.arange(3 * rows)).reshape(3, rows)
    other_seed = RowOrder(rows=rows, seed=seed + 1).rows_at(np.arange(rows))
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert abs(correlation(epochs[a], epochs[b])) < LIMIT
        same = int((epochs[a] == epochs[b]).sum())
        assert same < 12  # Poisson with mean 1: fewer than one in 10**8 beyond
    assert abs(correlation(epochs[0], other_seed)) < LIMIT
    assert abs(correlation(np.arange(rows), epochs[0])) < LIMIT


@pytest.mark.parametrize("rows", [10_000, 65_536, 99_991])
@pytest.mark.parametrize("world_size", [2, 3, 4, 5, 8])
def test_no_rank_gets_rows_of_its_own_kind(rows, world_size):
    """Where a row stands in the data set, and its number modulo any small cycle, say nothing about its rank."""
    found = RowOrder(rows=rows, seed=42).rows_at(np.arange(rows))
    rank = np.arange(rows) % world_size
    assert abs(correlation(found, rank)) < LIMIT
    for cycle in (2, 3, 4, 8, world_size, 16):
        table = np.bincount(rank * cycle + found % cycle, minlength=world_size * cycle)
        expected = np.outer(np.bincount(rank), np.bincount(found % cycle)).ravel() / rows
        freedom = (world_size - 1) * (cycle - 1)
        ratio = float(((table - expected) ** 2 / expected).sum()) / freedom
        score = (ratio ** (1 / 3) - (1 - 2 / (9 * freedom))) / (2 / (9 * freedom)) ** 0.5
        assert score < LIMIT


def test_a_rank_outside_the_world_and_an_uneven_share_are_refused():
    with pytest.raises(ValueError, match="rank 2 of 2"):
        positions_of_step(0, 4, rank=2, world_size=2)
    with pytest.raises(ValueError, match="share of 5 rows"):
        positions_of_step(0, 5, rank=0, world_size=2)
