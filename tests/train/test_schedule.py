"""Batch arithmetic and learning rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bosrow.dataset.batch_plan import plan_batch
from bosrow.errors import OptionError
from bosrow.train.schedule import learning_rate


def test_the_default_step_on_one_gpu_is_48_micro_batches_of_10_rows():
    plan = plan_batch(total_batch_tokens=491520, micro_batch_size=10, seq_len=1024, world_size=1)
    assert (plan.micro_batch_size, plan.grad_accum_steps, plan.rows_per_step) == (10, 48, 480)


def test_a_micro_batch_that_does_not_divide_the_share_becomes_the_next_smaller_that_does():
    plan = plan_batch(total_batch_tokens=491520, micro_batch_size=11, seq_len=1024, world_size=8)
    assert (plan.micro_batch_size, plan.grad_accum_steps) == (10, 6)


@given(st.integers(1, 10**6), st.integers(1, 100), st.integers(1, 2048), st.integers(1, 16))
def test_a_step_has_exactly_the_tokens_asked_for_or_is_refused(total, micro, seq_len, ranks):
    try:
        plan = plan_batch(total_batch_tokens=total, micro_batch_size=micro, seq_len=seq_len, world_size=ranks)
    except OptionError:
        assert total % (seq_len * ranks)
        return
    assert plan.tokens_per_step == total
    assert 1 <= plan.micro_batch_size <= micro
    larger = range(plan.micro_batch_size + 1, min(micro, plan.rows_per_rank) + 1)
    assert all(plan.rows_per_rank % size for size in larger)


@pytest.mark.parametrize(
    ("total", "ranks", "nearest"),
    [(500000, 1, "499712 or 500736"), (491520, 7, "487424 or 494592"), (1000, 1, "1024"), (3000, 4, "4096")],
)
def test_tokens_that_cannot_be_shared_are_refused_with_the_nearest_that_can(total, ranks, nearest):
    with pytest.raises(OptionError, match=rf"on each of {ranks} ranks?; the nearest that is: {nearest}$"):
        plan_batch(total_batch_tokens=total, micro_batch_size=8, seq_len=1024, world_size=ranks)


def test_halving_the_micro_batch_keeps_the_tokens_of_a_step():
    plan = plan_batch(total_batch_tokens=480 * 8, micro_batch_size=10, seq_len=8, world_size=2)
    sizes = []
    while plan is not None:
        assert plan.tokens_per_step == 480 * 8
        sizes.append(plan.micro_batch_size)
        plan = plan.with_smaller_micro_batch()
    assert sizes == [10, 5, 2, 1]


def test_the_learning_rate_rises_in_a_line_and_falls_in_a_cosine():
    rates = [
        learning_rate(step, peak=1.0, warmup_steps=4, total_steps=12, final_fraction=0.1)
        for step in (0, 1, 3, 4, 8, 12, 99)
    ]
    assert rates == pytest.approx([0.25, 0.5, 1.0, 1.0, 0.55, 0.1, 0.1])


def test_a_warm_up_longer_than_the_run_is_no_error():
    assert learning_rate(5, peak=1.0, warmup_steps=10, total_steps=6, final_fraction=0.0) == pytest.approx(0.6)
