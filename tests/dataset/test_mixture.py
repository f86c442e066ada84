"""Several data sets in one order: exact shares, each row once an epoch, the same for every number of ranks."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import write_data_set

from bosrow.dataset.mixture import MixedOrder, Mixture, shares_of, weighted_paths
from bosrow.dataset.order import positions_of_step
from bosrow.errors import OptionError
from bosrow.train import make_dataloader


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 9)), min_size=2, max_size=4),
    st.integers(0, 99),
    st.integers(1, 60),
)
def test_every_block_holds_the_exact_shares_and_every_epoch_each_row_once(sets, seed, blocks):
    rows, shares = zip(*sets, strict=True)
    order = MixedOrder(rows=rows, shares=shares, seed=seed)
    positions = np.arange(blocks * sum(shares))
    number, places = order.places_at(positions)
    found = order.rows_at(positions)
    firsts = np.cumsum((0, *rows))
    for each, share in enumerate(shares):
        assert ((number == each).reshape(blocks, -1).sum(axis=1) == share).all()
        own = np.argsort(places[number == each])
        assert np.array_equal(places[number == each][own], np.arange(blocks * share))  # each place once, none left out
        local = found[number == each][own] - firsts[each]
        epochs = local[: len(local) // rows[each] * rows[each]].reshape(-1, rows[each])
        assert (np.sort(epochs, axis=1) == np.arange(rows[each])).all()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**12), st.integers(1, 50))
def test_a_position_gives_the_same_row_whatever_else_is_asked_for(first, count):
    order = MixedOrder(rows=(1000, 77), shares=(200, 56), seed=3)
    together = order.rows_at(np.arange(first, first + count))
    alone = [int(order.rows_at(np.array([position]))[0]) for position in range(first, first + count)]
    assert together.tolist() == alone


@pytest.mark.parametrize("world_size", [2, 3, 4, 8])
def test_the_rows_of_a_step_are_the_same_for_every_world_size(world_size):
    order = MixedOrder(rows=(1000, 77), shares=(200, 56), seed=3)
    for step in range(20):
        shares = [order.rows_at(positions_of_step(step, 48, rank, world_size)) for rank in range(world_size)]
        assert np.array_equal(np.stack(shares, axis=1).ravel(), order.rows_at(positions_of_step(step, 48)))


@pytest.mark.parametrize("world_size", [2, 3, 4, 8])
def test_no_rank_gets_more_of_one_data_set(world_size):
    """The limit is 4.9 standard deviations of a fair share, one false alarm in a million, and the seed is fixed."""
    order = MixedOrder(rows=(5000, 3000), shares=(192, 64), seed=42)
    number, _ = order.places_at(np.arange(256 * 400))
    for rank in range(world_size):
        mine = number[rank::world_size]
        assert abs(float(mine.mean()) - 0.25) < 4.9 * (0.25 * 0.75 / len(mine)) ** 0.5


def test_data_sets_of_one_size_do_not_go_in_step():
    order = MixedOrder(rows=(5000, 5000), shares=(128, 128), seed=42)
    number, places = order.places_at(np.arange(39 * 256))
    found = order.rows_at(np.arange(39 * 256)) % 5000
    first, second = (found[number == each][np.argsort(places[number == each])] for each in (0, 1))
    assert len(first) == len(second) == 39 * 128
    assert (first == second).sum() < 12  # Poisson with mean 1: fewer than one in 10**8 beyond


def test_weights_are_fractions_and_a_folder_with_a_colon_is_a_folder(tmp_path):
    assert shares_of([Fraction("0.7"), Fraction("0.3")]) == (182, 78)
    assert shares_of([Fraction(2), Fraction(1)]) == (172, 86)
    assert shares_of([Fraction(1)]) == (256,)
    (tmp_path / "web:2").mkdir()
    assert weighted_paths((f"{tmp_path}/web:2", "books:0.5", "code:1/3", "plain")) == [
        (tmp_path / "web:2", Fraction(1)),
        (Path("books"), Fraction(1, 2)),
        (Path("code"), Fraction(1, 3)),
        (Path("plain"), Fraction(1)),
    ]


def test_weights_that_cannot_be_exact_or_are_nothing_are_refused():
    with pytest.raises(OptionError, match=r"blocks of 1,000,001 rows to be exact, at most 65,536"):
        shares_of([Fraction(1), Fraction(1_000_000)])
    with pytest.raises(OptionError, match=r"books:0.0: the weight is 0"):
        weighted_paths(("web:1", "books:0.0"))


def test_a_single_data_set_is_what_it_was_without_mixtures(tmp_path):
    data_dir = write_data_set(tmp_path / "data")
    mixture = Mixture((f"{data_dir}:5",), seq_len=16)
    assert mixture.fingerprint == mixture.manifest.fingerprint
    (x, _), (y, _) = (next(iter(make_dataloader(path, "train", 64, 16))) for path in (data_dir, [f"{data_dir}:5"]))
    assert np.array_equal(x, y)


def test_a_loader_of_a_mixture_reads_the_rows_that_it_names(tmp_path):
    web = write_data_set(tmp_path / "web", train_rows=64, seed=1)
    books = write_data_set(tmp_path / "books", train_rows=40, seed=2)
    batches = iter(make_dataloader([f"{web}:3", f"{books}:1"], "train", 128, 16, with_meta=True))
    for _ in range(2):  # two batches of 128 are a block of 256
        seen: dict[str, int] = {}
        for _ in range(2):
            x, _, meta = next(batches)
            for tokens, (shard, row) in zip(x.numpy(), meta.places, strict=True):
                stored = np.fromfile(shard, "<u2").reshape(-1, 17)[row]
                assert np.array_equal(tokens, stored[:-1])
                folder = str(Path(shard).parent)
                seen[folder] = seen.get(folder, 0) + 1
        assert seen == {str(web): 192, str(books): 64}


def test_what_cannot_be_mixed_is_refused(tmp_path):
    web = write_data_set(tmp_path / "web")
    other = write_data_set(tmp_path / "other", vocab_size=50)
    with pytest.raises(OptionError, match=r"one tokenizer.*\n  .*web: \('synthetic', 61.*\n  .*other: .* 50"):
        Mixture((str(web), str(other)), seq_len=16)
    short = write_data_set(tmp_path / "short", seq_len=8)
    with pytest.raises(OptionError, match=r"seq_len 16 was asked for, but .*short"):
        Mixture((str(web), str(short)), seq_len=16)
    for arguments in ({"split": "val"}, {"split": "train", "epochs": 1}):
        with pytest.raises(OptionError, match="mixed in split 'train' and without `epochs`"):
            make_dataloader([str(web), str(web)], batch_size=4, seq_len=16, **arguments)
