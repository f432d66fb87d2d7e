"""Intervals and p-values beside SciPy's and plain loops, and what they promise in simulated experiments."""

import itertools

import numpy as np
import pytest
from scipy import stats

from benchmarks.coverage import SETTINGS, Effects, count_false_positives, cover
from sweep.analysis.statistics import (
    crossed_interval,
    draw_weights,
    holm,
    seed_interval,
    seeds_for,
    sign_flip,
    smallest_detectable,
    smallest_p,
    two_way_variance,
)

GENERATOR = np.random.default_rng(5)
VALUES = GENERATOR.gamma(2.0, 1.0, (4, 10))
CROSSED = GENERATOR.gamma(2.0, 1.0, (8, 1)) + GENERATOR.normal(0, 1, (8, 15))


def test_an_interval_over_seeds_is_scipys_bca_where_it_is_not_stretched() -> None:
    low, high = seed_interval(VALUES, num_resamples=999, stretched=False)
    for row, values in enumerate(VALUES):
        expected = stats.bootstrap(
            (values,), np.mean, n_resamples=999, method="BCa", rng=np.random.default_rng(0), vectorized=True
        ).confidence_interval
        assert (low[row], high[row]) == pytest.approx((expected.low, expected.high))


def test_an_interval_over_seeds_is_stretched_to_students_width() -> None:
    low, high = seed_interval(VALUES, num_resamples=999, stretched=False)
    wide_low, wide_high = seed_interval(VALUES, num_resamples=999)
    factor = stats.t.ppf(0.975, 9) / stats.norm.ppf(0.975) * np.sqrt(10 / 9)
    means = VALUES.mean(axis=1)
    assert wide_low == pytest.approx(means + factor * (low - means))
    assert wide_high == pytest.approx(means + factor * (high - means))


def test_an_interval_over_seeds_and_languages_is_a_plain_loops() -> None:
    seeds, languages = draw_weights(8, 500, 0) * 8, draw_weights(15, 500, 1) * 15
    resampled = []
    for of_seed, of_language in zip(seeds.round().astype(int), languages.round().astype(int), strict=True):
        rows, columns = np.repeat(np.arange(8), of_seed), np.repeat(np.arange(15), of_language)
        resampled.append(CROSSED[rows][:, columns].mean())
    mean = CROSSED.mean()
    bias = stats.norm.ppf(np.mean(np.array(resampled) < mean))
    influences = [*(CROSSED.mean(axis=1) - mean) / 8, *(CROSSED.mean(axis=0) - mean) / 15]
    acceleration = sum(i**3 for i in influences) / (6 * sum(i**2 for i in influences) ** 1.5)
    ends = []
    for z in (stats.norm.ppf(0.025), stats.norm.ppf(0.975)):
        share = stats.norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))
        ends.append(np.percentile(resampled, 100 * share))
    assert crossed_interval(CROSSED, num_resamples=500, stretched=False) == pytest.approx(tuple(ends))


def test_the_variance_of_a_two_way_layout_is_that_of_its_mean_squares() -> None:
    mean, by_seed, by_language = CROSSED.mean(), CROSSED.mean(axis=1), CROSSED.mean(axis=0)
    rest = sum((CROSSED[s, c] - by_seed[s] - by_language[c] + mean) ** 2 for s in range(8) for c in range(15)) / (
        7 * 14
    )
    expected = by_seed.var(ddof=1) / 8 + by_language.var(ddof=1) / 15 - rest / (8 * 15)
    variance, freedom = two_way_variance(CROSSED)
    assert variance == pytest.approx(expected)
    assert 7 <= freedom < 8 * 15


def test_seeds_and_languages_without_effects_of_their_own_are_pooled_with_the_rest() -> None:
    noise = CROSSED - CROSSED.mean(axis=0) - CROSSED.mean(axis=1, keepdims=True) + CROSSED.mean()
    rest = (noise**2).sum() / (7 * 14)  # the mean squares of seeds and languages are 0
    effects = np.linspace(-1, 1, 8)[:, None]
    effects /= effects.std(ddof=1)
    for excess, pooled in ((0.0, True), (1.19, True), (1.21, False), (5.0, False)):
        values = noise + effects * np.sqrt((1 + excess) * rest / 15)  # a mean square 1 + excess times the rest's
        variance, freedom = two_way_variance(values)
        if pooled:
            assert variance == pytest.approx(values.var(ddof=1) / 120)
            assert freedom == 119
        else:
            assert variance == pytest.approx(excess * rest / 120)
            assert freedom < 8
        low, high = crossed_interval(values, num_resamples=500)
        assert low < values.mean() < high


def test_one_value_over_and_over_has_an_interval_of_no_width_and_one_seed_has_none() -> None:
    low, high = seed_interval(np.full((1, 6), 0.25))
    assert (low[0], high[0]) == pytest.approx((0.25, 0.25))
    assert crossed_interval(np.full((6, 3), 0.25)) == pytest.approx((0.25, 0.25))
    assert all(np.isnan(end).all() for end in seed_interval(np.ones((2, 1))))
    assert np.isnan(crossed_interval(np.ones((6, 1)))).all()


def test_a_small_difference_is_tested_alike_beside_a_large_one() -> None:
    small = np.array([0.01, 0.02, 0.015, 0.01, 0.03, -0.005, 0.02])
    alone = sign_flip(small[None])[0]
    assert 1 / 2**6 <= alone < 0.1
    assert sign_flip(np.array([small, 1e12 * small[::-1]])) == pytest.approx([alone, alone])


def test_three_seeds_have_an_interval_and_two_have_none() -> None:
    values = np.random.default_rng(0).normal(size=(3, 4))
    low, high = crossed_interval(values, num_resamples=500)
    assert low < values.mean() < high
    assert np.isnan(crossed_interval(values[:2])).all()
    (low,), (high,) = seed_interval(values[:, 0][None], num_resamples=500)
    assert low < values[:, 0].mean() < high
    assert all(np.isnan(end).all() for end in seed_interval(values[:2, 0][None]))


@pytest.mark.parametrize("num_seeds", [1, 3, 6, 11])
def test_a_sign_flip_test_is_scipys_exact_permutation_test(num_seeds: int) -> None:
    values = np.random.default_rng(num_seeds).normal(0.4, 1, (3, num_seeds))
    for found, row in zip(sign_flip(values), values, strict=True):
        patterns = itertools.product((1, -1), repeat=num_seeds)
        sums = [abs(sum(s * v for s, v in zip(signs, row, strict=True))) for signs in patterns]
        assert found == pytest.approx(np.mean([total >= abs(row.sum()) - 1e-12 for total in sums]))
        if num_seeds > 1:
            expected = stats.permutation_test(
                (row, np.zeros(num_seeds)),
                lambda x, y, axis: np.mean(x - y, axis=axis),
                permutation_type="samples",
                n_resamples=np.inf,
                vectorized=True,
            )
            assert found == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("num_seeds", [16, 20])
def test_up_to_twenty_seeds_every_pattern_is_counted_once(num_seeds: int) -> None:
    ones, largest = np.ones(num_seeds), np.array([num_seeds + 1.0] + [1.0] * (num_seeds - 1))
    but_one = np.array([-1.0] + [1.0] * (num_seeds - 1))
    # all signs alike; one seed outweighs all others; as far are all alike, and one of the others' signs turned
    expected = [2 / 2**num_seeds, 2 * 1 / 2**num_seeds, 2 * (1 + num_seeds) / 2**num_seeds]
    assert sign_flip(np.array([ones, largest, but_one])).tolist() == expected


def test_beyond_twenty_seeds_the_pattern_that_was_seen_is_counted_too() -> None:
    assert sign_flip(np.eye(1, 21))[0] == 1.0  # the only difference is as far in every pattern
    assert sign_flip(np.ones((1, 40)))[0] == 1 / (2**20 + 1)  # no drawn pattern of 2^40 is as far
    assert sign_flip(np.ones((1, 21)))[0] in [count / (2**20 + 1) for count in (1, 2, 3, 4)]  # not 2 / 2^21


def test_resamples_that_all_lie_on_one_side_of_the_mean_give_an_interval() -> None:
    values = np.random.default_rng(0).normal(size=(50, 4))
    resampled = values @ draw_weights(4, 2, 0).T < values.mean(axis=1, keepdims=True)
    assert {tuple(row) for row in resampled.tolist()} >= {(True, True), (False, False)}
    assert all(np.isfinite(ends).all() for ends in seed_interval(values, num_resamples=2))


def test_many_cells_are_as_each_is_alone() -> None:
    values = np.random.default_rng(0).normal(0.3, 1, (600, 7))
    some = [0, 255, 256, 511, 512, 599]
    together, alone = seed_interval(values, num_resamples=99), seed_interval(values[some], num_resamples=99)
    for every, few in zip(together, alone, strict=True):
        assert every[some].tolist() == pytest.approx(few.tolist())
    assert sign_flip(values)[some].tolist() == sign_flip(values[some]).tolist()


def test_equal_differences_tie_in_spite_of_rounding() -> None:
    assert sign_flip(np.array([[0.1, 0.2, 0.3, 0.1, 0.2, 0.3]]))[0] == 2 / 2**6
    assert sign_flip(np.array([[0.1, 0.2, -0.3]]))[0] == 1.0
    assert sign_flip(np.zeros((1, 6)))[0] == 1.0


def test_many_seeds_are_tested_by_drawn_patterns_the_same_every_time() -> None:
    values = np.random.default_rng(1).normal(0.3, 1, (1, 24))
    found = sign_flip(values)[0]
    assert found == sign_flip(values)[0]
    assert found == pytest.approx(stats.ttest_1samp(values[0], 0).pvalue, rel=0.2)


def test_holm_multiplies_the_smallest_most_and_keeps_the_order() -> None:
    found = holm(np.array([0.04, 0.01, np.nan, 0.03]))
    assert found[[0, 1, 3]] == pytest.approx([0.06, 0.03, 0.06])  # 0.01 x 3, 0.03 x 2, and 0.04 x 1 is below that
    assert np.isnan(found[2])


def test_holm_leaves_no_p_value_above_one_or_below_a_smaller_ones() -> None:
    assert holm(np.array([0.9, 0.5])).tolist() == [1.0, 1.0]
    assert holm(np.array([0.04, 0.5, 0.04])).tolist() == pytest.approx([0.12, 0.5, 0.12])


def test_five_seeds_cannot_show_anything() -> None:
    assert smallest_p(5) == 0.0625
    assert np.isnan(smallest_detectable(np.ones((1, 5)))).all()
    assert smallest_p(6) == sign_flip(np.arange(1.0, 7.0)[None])[0]
    assert (seeds_for(1), seeds_for(36), seeds_for(1, alpha=0.25)) == (6, 11, 3)
    assert [smallest_p(num_seeds) for num_seeds in (0, 1, 2)] == [1.0, 1.0, 0.5]


@pytest.mark.parametrize("num_seeds", [6, 7, 10, 12])
def test_what_can_be_shown_is_shown_by_the_test_in_use_with_the_promised_probability(num_seeds: int) -> None:
    noise = np.random.default_rng(3).normal(0, 1, (10_000, num_seeds))
    ratio = smallest_detectable(noise[:1])[0] / noise[0].std(ddof=1)
    assert (sign_flip(noise + ratio) <= 0.05).mean() == pytest.approx(0.8, abs=0.015)


def test_what_many_pairs_can_show_is_what_students_test_shows() -> None:
    noise = np.random.default_rng(3).normal(0, 1, (20_000, 25))
    detectable = smallest_detectable(noise[:2])
    ratios = detectable / noise[:2].std(axis=1, ddof=1)
    assert ratios[0] == pytest.approx(ratios[1])
    found = stats.ttest_1samp(noise + ratios[0], 0, axis=1).pvalue
    assert (found <= 0.05).mean() == pytest.approx(0.8, abs=0.012)  # four standard errors
    assert smallest_detectable(noise[:1], power=0.5)[0] < detectable[0] < smallest_detectable(noise[:1], power=0.9)[0]


def test_with_six_pairs_all_signs_must_agree_which_takes_more_than_students_test() -> None:
    noise = np.random.default_rng(3).normal(0, 1, (1, 6))
    ratio = smallest_detectable(noise)[0] / noise[0].std(ddof=1)
    # all six above 0 with probability 0.8 (all below has none): each with 0.8^(1/6)
    assert ratio == pytest.approx(stats.norm.ppf(0.8 ** (1 / 6)), abs=0.02)


# standard errors: 0.012; the skewness of a few seeds cannot be seen, and ten of them may hide that a tenth collapses
COVERED = dict.fromkeys(SETTINGS, (0.92, 0.98)) | {
    "skewed_seeds": (0.88, 0.96),
    "a_third_collapses": (0.95, 1.0),
    "a_tenth_collapses": (0.55, 0.8),
}


@pytest.mark.parametrize("setting", sorted(SETTINGS))
def test_intervals_hold_the_truth_as_often_as_they_say(setting: str) -> None:
    found = cover(SETTINGS[setting], 10, 300, seed=1)
    low, high = COVERED[setting]
    assert low < found["seeds"] < high
    assert low < found["crossed"] < high
    assert found["plain_bca"] < found["seeds"]


@pytest.mark.parametrize("setting", sorted(SETTINGS))
def test_the_truth_of_simulated_differences_is_their_mean_over_very_many(setting: str) -> None:
    made = SETTINGS[setting]
    close = 0.06 if isinstance(made, Effects) else 0.004  # points, and shares: four standard errors and more
    values, of_these = made.draw(np.random.default_rng(2), 20_000, 3)
    assert values.mean() == pytest.approx(of_these, abs=close)
    assert made.draw(np.random.default_rng(3), 2, 40_000)[1] == pytest.approx(made.truth, abs=close)


def test_nothing_is_claimed_where_there_is_nothing() -> None:
    found = count_false_positives(10, 500, seed=1)
    assert found["after_holm"] < 0.055
    assert found["one_comparison"] == pytest.approx(0.05, abs=0.02)
