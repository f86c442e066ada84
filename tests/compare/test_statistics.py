"""The statistics say what they promise, by simulation: 2,000 comparisons each, seeded."""

import math

import numpy as np
import pytest
from scipy import stats

from bosrow.compare import statistics

COMPARISONS = 2000
DEVIATION = 0.0013  # from seed to seed, in nats, as published for models of this size


def arms(seeds, effect=0.0, deviations=(DEVIATION, DEVIATION), comparisons=COMPARISONS, seed=0):
    """Control and treatment (comparisons, seeds) around 3.2 nats."""
    random = np.random.default_rng(seed + seeds)
    return [
        3.2 + shift + deviation * random.standard_normal((comparisons, seeds))
        for shift, deviation in zip((0.0, effect), deviations, strict=True)
    ]


@pytest.mark.parametrize("seeds", [3, 4, 5, 8])
@pytest.mark.parametrize("deviations", [(DEVIATION, DEVIATION), (DEVIATION, 2 * DEVIATION)])
def test_equal_arms_are_told_apart_in_at_most_one_case_of_twenty(seeds, deviations):
    *_, p = statistics.welch(*arms(seeds, deviations=deviations))
    assert (p < 0.05).mean() <= 0.065


@pytest.mark.parametrize("seeds", [3, 4, 6])
def test_an_interval_holds_the_truth_in_95_of_100_cases(seeds):
    _, low, high, _ = statistics.welch(*arms(seeds, effect=0.004))
    assert ((low <= 0.004) & (high >= 0.004)).mean() == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("seeds", [3, 4, 6])
def test_the_interval_of_an_arms_mean_holds_the_truth_in_95_of_100_cases(seeds):
    found = [statistics.estimate(values) for values in arms(seeds)[0]]
    assert np.mean([one.low <= 3.2 <= one.high for one in found]) == pytest.approx(0.95, abs=0.02)


def test_a_difference_of_4_millinats_is_found_with_4_seeds():
    effect, _, high, p = statistics.welch(*arms(4, effect=-0.004))
    assert (p < 0.05).mean() >= 0.8
    assert ((p < 0.05) == (high < 0)).mean() > 0.999
    assert effect.mean() == pytest.approx(-0.004, abs=1e-4)


def test_a_bootstrap_over_seeds_would_tell_equal_arms_apart_far_too_often():
    control, treatment = arms(3, comparisons=400)
    picks = np.random.default_rng(1).integers(0, 3, (2, 500, 3))
    means = treatment[:, picks[1]].mean(axis=-1) - control[:, picks[0]].mean(axis=-1)
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    assert ((low > 0) | (high < 0)).mean() > 0.12  # why seeds get Student's t


def test_holm_gives_a_false_finding_in_at_most_one_family_of_twenty():
    families, tests = COMPARISONS, 7
    control, treatment = arms(4, comparisons=families * tests, seed=5)
    *_, p = statistics.welch(control, treatment)
    adjusted = statistics.holm(p.reshape(families, tests))
    assert (adjusted < 0.05).any(axis=1).mean() <= 0.065
    assert (p.reshape(families, tests) < 0.05).any(axis=1).mean() > 0.2  # without it


def test_holm_still_finds_what_is_there():
    control, treatment = arms(4, effect=0.008, seed=9)
    noise = statistics.welch(*arms(4, comparisons=6 * COMPARISONS, seed=5))[3].reshape(COMPARISONS, 6)
    family = np.column_stack([statistics.welch(control, treatment)[3], noise])
    assert (statistics.holm(family)[:, 0] < 0.05).mean() > 0.8


def test_holm_by_hand():
    assert statistics.holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.5, 0.9]).tolist() == [1.0, 1.0]
    with_gap = statistics.holm([0.02, math.nan, 0.01])
    assert with_gap[[0, 2]].tolist() == pytest.approx([0.02, 0.02])
    assert math.isnan(with_gap[1])


def test_welch_agrees_with_scipy():
    random = np.random.default_rng(3)
    control, treatment = random.normal(3.2, 0.001, (20, 4)), random.normal(3.199, 0.003, (20, 6))
    expected = stats.ttest_ind(treatment, control, axis=-1, equal_var=False)
    effect, low, high, p = statistics.welch(control, treatment)
    bounds = expected.confidence_interval()
    assert p == pytest.approx(expected.pvalue)
    assert low == pytest.approx(bounds.low)
    assert high == pytest.approx(bounds.high)
    assert effect == pytest.approx(treatment.mean(axis=-1) - control.mean(axis=-1))


@pytest.mark.parametrize(("seeds", "effect"), [(4, 0.004), (8, 0.0025)])
def test_the_minimum_detectable_effect_is_found_in_80_of_100_cases(seeds, effect):
    freedom = 2 * seeds - 2
    detectable = statistics.noncentrality(freedom) * DEVIATION * math.sqrt(2 / seeds)
    assert detectable < effect
    pooled = stats.ttest_ind(*reversed(arms(seeds, effect=detectable, seed=20)), axis=-1)
    assert (pooled.pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.025)


def test_seeds_needed_are_the_fewest_that_suffice():
    needed = statistics.seeds_needed(0.002, DEVIATION, DEVIATION)
    assert needed is not None
    powers = [(statistics.welch(*arms(n, effect=0.002, seed=40))[3] < 0.05).mean() for n in (needed - 1, needed)]
    assert powers[0] < 0.82
    assert powers[1] > 0.78
    assert statistics.seeds_needed(0.004, DEVIATION, DEVIATION) == 3
    assert statistics.seeds_needed(1e-9, DEVIATION, DEVIATION) is None
    assert statistics.seeds_needed(0.0, DEVIATION, DEVIATION) is None


def test_pairing_by_seed_needs_a_correlation_to_find_more():
    control, treatment = arms(4, effect=0.004)
    found = [statistics.paired_by_seed(*pair) for pair in zip(control, treatment, strict=True)]
    paired_power = np.mean([one.low > 0 for one in found])
    assert paired_power < (statistics.welch(control, treatment)[3] < 0.05).mean()


def test_a_verdict_needs_three_seeds_an_arm_and_an_interval_without_zero():
    far = ([3.2, 3.2001, 3.2002], [3.1, 3.1001, 3.1002])
    assert statistics.verdict(statistics.compare(*far)) == "better"
    assert statistics.verdict(statistics.compare(*far), lower_is_better=False) == "worse"
    assert statistics.verdict(statistics.compare(far[1], far[0])) == "worse"
    assert statistics.verdict(statistics.compare(far[0], far[1][:2])) == "inconclusive"
    assert statistics.verdict(statistics.compare(far[0], far[0])) == "inconclusive"
    assert statistics.verdict(statistics.compare([], far[0])) == "inconclusive"


def test_values_that_do_not_vary_give_an_effect_and_no_certainty():
    found = statistics.compare([3.2, 3.2, 3.2], [3.1, 3.1, 3.1])
    assert found.effect == pytest.approx(-0.1)
    assert math.isnan(found.low)
    assert math.isnan(found.minimum_detectable)
    assert statistics.verdict(found) == "inconclusive"


def test_steps_needed_follow_a_gap_that_grows_with_the_log_of_steps():
    steps = np.array([100, 200, 400, 800, 1600])
    assert statistics.steps_needed(steps, -0.001 * np.log(steps), 0.01) == pytest.approx(math.exp(10), rel=1e-3)
    assert statistics.steps_needed(steps, np.full(5, -0.001), 0.01) is None
    assert statistics.steps_needed(steps, -0.01 / np.log(steps), 0.01) is None
    assert statistics.steps_needed(steps[:2], [-0.001, -0.002], 0.01) is None


def test_a_bootstrap_over_documents_holds_the_truth_in_95_of_100_cases():
    random = np.random.default_rng(8)
    inside = 0
    for _ in range(200):
        sizes = random.integers(200, 4000, 150)
        nats = sizes * random.normal(0.01, 0.05, 150)
        found = statistics.bootstrap_ratio(nats, sizes)
        inside += found.low <= 0.01 <= found.high
    assert inside / 200 == pytest.approx(0.94, abs=0.035)


def test_a_bootstrap_is_the_same_each_time_and_keeps_pairs_together():
    sizes = np.arange(1, 100)
    exact = statistics.bootstrap_ratio(3 * sizes, sizes)
    assert (exact.value, exact.low, exact.high, exact.items) == (3, 3, 3, 99)
    values = np.random.default_rng(0).normal(size=50)
    assert statistics.bootstrap_mean(values) == statistics.bootstrap_mean(values)
    assert math.isnan(statistics.bootstrap_mean([1.0]).low)
    assert math.isnan(statistics.bootstrap_mean([]).value)
