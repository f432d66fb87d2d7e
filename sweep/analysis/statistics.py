"""How sure a mean is: bootstrap intervals, exact sign-flip tests, Holm's correction, and what could have been found.

Two questions have two intervals. *For these languages*: the languages of a table are fixed and seeds are drawn, so
seeds are resampled (`seed_interval`); this is what a row of a paper's table says, and what the sign-flip test tests.
*For languages like these*: the languages are a sample, too (`crossed_interval`). Drawing languages anew within every
drawn seed (a nested bootstrap) answers neither: languages are crossed with seeds, so its variance has a language's own
effect divided by the number of seeds, which is too much for the first question and too little for the second.

Both intervals are BCa's (bias-corrected and accelerated, Efron 1987), stretched about the mean: with ten seeds BCa
alone covers 90 % instead of 95 % (with six 85 %), as a resampled variance is (n - 1) / n of an unbiased one and normal
percentiles know nothing of degrees of freedom. Stretched they cover 93.7 to 96.6 % with ten seeds and 46 languages,
93.3 to 96.4 % with six (five languages: 92.9 to 96.8 %), 92 to 96 % with three: `benchmarks/coverage.py`, 2,000
simulated experiments in each of eight settings, among them accuracies of 50 and 204 examples, languages near chance.

What no interval of ten seeds can know is a part of their distribution that they seldom show. Where most seeds are a
little above their mean and a few far below (an exponential), it covers 91 to 93 %, with six 90 to 92 %. Where a tenth
of all seeds collapses, none of ten does in a third of the experiments: 66 to 68 % (six: 56 %); where a third
does, 97 to 98 % (six: 91 to 92 %).
"""

# shapes: C cells (of a table), S seeds, L languages, B resamples

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]

LEVEL = 0.95
NUM_RESAMPLES = 9_999
MAX_EXACT_SEEDS = 20
"""Up to here every one of the 2^n sign patterns is gone through; beyond, NUM_SIGN_PATTERNS of them are drawn."""
NUM_SIGN_PATTERNS = 2**20
ROUNDING = 1e-9
"""Two sums of the same numbers in another order may differ by this share of their size, and are still equal."""
MIN_SEEDS = 6
"""With fewer no two-sided sign-flip test reaches 5 %: 2 / 2^5 = 0.0625."""
MIN_INTERVAL_SEEDS = 3
"""Of two seeds a 95 % interval is 13 times as wide as their distance, and says nothing."""
POWER = 0.8
MAX_SIMULATED_SEEDS = 10
NUM_SIMULATED = 10_000
"""Experiments, by which a power of 80 % is known to 0.4 %."""
POOLED_BELOW = 1.2
"""Seeds and languages are taken to have no effects of their own up to so many times the rest's variance of a mean."""


def seed_interval(
    values: Array, level: float = LEVEL, num_resamples: int = NUM_RESAMPLES, stretched: bool = True
) -> tuple[Array, Array]:
    """Return the ends of the intervals for the means of `values` [C, S] over seeds; NaN below MIN_INTERVAL_SEEDS.

    BCa (Efron 1987; Efron and Tibshirani 1993, section 14.3; equal to `scipy.stats.bootstrap`'s), then stretched about
    the mean by t / z x sqrt(S / (S - 1)), t and z being the percentiles of Student's (S - 1 degrees of freedom) and of
    the normal distribution: Hesterberg's correction for narrowness (2015, arXiv:1411.5279, section 3.2), by width.
    """
    num_cells, num_seeds = values.shape
    if num_seeds < MIN_INTERVAL_SEEDS:
        return np.full(num_cells, np.nan), np.full(num_cells, np.nan)
    weights = draw_weights(num_seeds, num_resamples, 0)
    means = values.mean(axis=1)
    low, high = np.empty(num_cells), np.empty(num_cells)
    factor = _stretch(num_seeds - 1, level) * np.sqrt(num_seeds / (num_seeds - 1)) if stretched else 1.0
    for start in range(0, num_cells, 512):  # what is sorted at once is small enough for the cache
        part = slice(start, start + 512)
        influences = values[part] - means[part, None]  # [C, S]
        low[part], high[part] = _bca(values[part] @ weights.T, means[part], influences / num_seeds, level)
    return means + factor * (low - means), means + factor * (high - means)


def crossed_interval(
    values: Array, level: float = LEVEL, num_resamples: int = NUM_RESAMPLES, stretched: bool = True
) -> tuple[float, float]:
    """Return the ends of the interval for the mean of `values` [S, L] where seeds and languages are both drawn.

    Resampled are seeds, and languages as one draw for all seeds (the pigeonhole bootstrap: Owen 2007,
    doi:10.1214/07-AOAS122); BCa with the influences of both. Stretched by sqrt(V / V*) x t / z: V* is the resampled
    variance, V the unbiased one of a two-way layout, MS_s / SL + MS_l / SL - MS_e / SL, and t has Satterthwaite's
    degrees of freedom for it (Satterthwaite 1946; for languages as a sample: Clark 1973's quasi-F), or both are pooled:
    `two_way_variance`. NaN below MIN_INTERVAL_SEEDS, and for a single language.
    """
    num_seeds, num_languages = values.shape
    if num_seeds < MIN_INTERVAL_SEEDS or num_languages < 2:
        return np.nan, np.nan
    of_seeds = draw_weights(num_seeds, num_resamples, 0)
    of_languages = draw_weights(num_languages, num_resamples, 1)
    resampled = np.einsum("bl,bl->b", of_seeds @ values, of_languages)
    mean = values.mean()
    by_seed, by_language = values.mean(axis=1) - mean, values.mean(axis=0) - mean
    influences = np.concatenate([by_seed / num_seeds, by_language / num_languages])
    low, high = _bca(resampled[None], np.array([mean]), influences[None], level)
    if not stretched or resampled.std() == 0:
        return float(low[0]), float(high[0])
    variance, freedom = two_way_variance(values)
    factor = np.sqrt(variance / resampled.var()) * _stretch(freedom, level)
    return float(mean + factor * (low[0] - mean)), float(mean + factor * (high[0] - mean))


def two_way_variance(values: Array) -> tuple[float, float]:
    """Return the variance of the mean of `values` [S, L], both drawn, and its degrees of freedom (Satterthwaite).

    The unbiased difference of mean squares, unless it exceeds what the rest alone would give by less than a fifth: then
    nothing says that seeds or languages have effects of their own, and it is that of S x L independent values, with
    S x L - 1 degrees of freedom instead of the few of seeds or languages. (Sometimes pooling, as Bozivich, Bancroft and
    Hartley 1956. Never pooled, the interval covers 98 % where there are no such effects; pooled up to half above the
    rest, 93 % where they are small. With a fifth, 96 to 97 and 94 to 95 %.)
    """
    num_seeds, num_languages = values.shape
    mean = values.mean()
    by_seed, by_language = values.mean(axis=1) - mean, values.mean(axis=0) - mean
    rest = values - mean - by_seed[:, None] - by_language[None]
    freedoms = np.array([num_seeds - 1, num_languages - 1, (num_seeds - 1) * (num_languages - 1)], float)
    sums = np.array([num_languages * (by_seed**2).sum(), num_seeds * (by_language**2).sum(), (rest**2).sum()])
    parts = sums / freedoms / values.size
    variance = parts[0] + parts[1] - parts[2]
    if variance <= POOLED_BELOW * parts[2]:
        return float(sums.sum() / freedoms.sum() / values.size), float(freedoms.sum())
    freedom = variance**2 / (parts**2 / freedoms).sum()
    return float(variance), float(max(freedom, freedoms[:2].min()))


def sign_flip(values: Array) -> Array:
    """Return the two-sided p-values of the means of paired differences `values` [C, S]: are they symmetric about 0?

    The share of the 2^S sign patterns whose mean is as far from 0 as the one seen, exactly (Fisher 1935, section 21;
    `scipy.stats.permutation_test` with `permutation_type="samples"`). Beyond MAX_EXACT_SEEDS so many patterns are drawn
    with a fixed seed, the one seen counted among them (Phipson and Smyth 2010). 1 where there is no difference at all.
    """
    num_cells, num_seeds = values.shape
    seen = np.abs(values.sum(axis=1)) - ROUNDING * np.abs(values).sum(axis=1)  # [C]
    counts = np.zeros(num_cells)
    if num_seeds <= MAX_EXACT_SEEDS:
        # the first seed's sign is kept: the other half of the patterns are these ones' mirror images
        num_patterns, first = 2 ** max(num_seeds - 1, 0), 0
        for start in range(0, num_patterns, 2**14):
            numbers = np.arange(start, min(start + 2**14, num_patterns))
            counts += _count_as_far(values, _signs(numbers, num_seeds), seen)
    else:
        num_patterns, first = NUM_SIGN_PATTERNS + 1, 1
        generator = np.random.default_rng(0)
        for _ in range(NUM_SIGN_PATTERNS // 2**14):
            signs = generator.integers(0, 2, (2**14, num_seeds)).astype(np.float64)
            counts += _count_as_far(values, 2 * signs - 1, seen)
    return (counts + first) / num_patterns


def smallest_p(num_seeds: int) -> float:
    """Return the smallest two-sided p-value that a sign-flip test of so many pairs can have."""
    return min(2.0 / 2**num_seeds, 1.0)


def seeds_for(num_comparisons: int, alpha: float = 1 - LEVEL) -> int:
    """Return how many pairs of seeds the smallest p-value of so many comparisons needs to survive Holm's correction."""
    return int(np.ceil(np.log2(2 * num_comparisons / alpha)))


def holm(p_values: Array) -> Array:
    """Return p-values corrected for their number, valid under any dependence (Holm 1979): reject where <= alpha.

    The k-th smallest of m is multiplied with m - k + 1, and none is below a smaller one's. NaN is no comparison.
    """
    adjusted = np.full(len(p_values), np.nan)
    indices = np.flatnonzero(~np.isnan(p_values))
    order = indices[np.argsort(p_values[indices], kind="stable")]
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return adjusted


def smallest_detectable(values: Array, alpha: float = 1 - LEVEL, power: float = POWER) -> Array:
    """Return the true mean difference that pairs as noisy as `values` [C, S] show at `alpha` with probability `power`.

    By the sign-flip test, of one comparison alone, in the unit of the values: MAX_SIMULATED_SEEDS and fewer pairs by
    NUM_SIMULATED normal experiments, more by the two-sided paired t test (noncentral t; Cohen 1988, section 2.2), from
    which the sign-flip test hardly differs there. With six pairs it does: all six signs must agree. NaN where there are
    fewer than MIN_SEEDS pairs: then nothing could have been shown.
    """
    num_cells, num_seeds = values.shape
    if num_seeds < MIN_SEEDS:
        return np.full(num_cells, np.nan)
    return _detectable_ratio(num_seeds, alpha, power) * values.std(axis=1, ddof=1)


@cache
def draw_weights(size: int, num_resamples: int, stream: int) -> Array:
    """Return how large a share each of `size` things has in every resample [B, size]; the same for all cells."""
    generator = np.random.default_rng([0, stream]) if stream else np.random.default_rng(0)
    drawn = generator.integers(0, size, (num_resamples, size)) + size * np.arange(num_resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=num_resamples * size).reshape(num_resamples, size) / size


def _bca(resampled: Array, means: Array, influences: Array, level: float) -> tuple[Array, Array]:
    """Return BCa's ends, from resampled means [C, B], the means [C] and what each observation adds to them [C, N]."""
    num_cells, num_resamples = resampled.shape
    margin = ROUNDING * np.abs(influences).sum(axis=1, keepdims=True)
    distance = resampled - means[:, None]
    below = ((distance < -margin).sum(axis=1) + (distance <= margin).sum(axis=1)) / 2
    bias = special.ndtri(np.clip(below / num_resamples, 1 / num_resamples, 1 - 1 / num_resamples))
    squares = (influences**2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        acceleration = np.where(squares > 0, (influences**3).sum(axis=1) / (6 * squares**1.5), 0.0)
    resampled = np.sort(resampled, axis=1)
    ends = []
    for share in ((1 - level) / 2, (1 + level) / 2):
        shifted = bias + special.ndtri(share)
        position = special.ndtr(bias + shifted / (1 - acceleration * shifted)) * (num_resamples - 1)
        before = np.minimum(position.astype(int), num_resamples - 2)
        rows = np.arange(num_cells)
        lower, upper = resampled[rows, before], resampled[rows, before + 1]
        ends.append(lower + (position - before) * (upper - lower))
    return ends[0], ends[1]


def _stretch(freedom: float, level: float) -> float:
    return float(special.stdtrit(freedom, (1 + level) / 2) / special.ndtri((1 + level) / 2))


def _signs(numbers: NDArray[np.int64], num_seeds: int) -> Array:
    """Return the sign patterns [len(numbers), S] whose binary digits these numbers are; the first seed's is +."""
    digits = (numbers[:, None] >> np.arange(max(num_seeds - 1, 0))) & 1
    return np.concatenate([np.ones((len(numbers), 1)), 1.0 - 2.0 * digits], axis=1)


def _count_as_far(values: Array, signs: Array, seen: Array) -> Array:
    """Return how many of the patterns [P, S] give each cell a sum as far from 0 as the one seen."""
    counts = np.empty(len(values))
    for start in range(0, len(values), 256):
        part = slice(start, start + 256)
        counts[part] = (np.abs(values[part] @ signs.T) >= seen[part, None]).sum(axis=1)
    return counts


@cache
def _detectable_ratio(num_seeds: int, alpha: float, power: float) -> float:
    """Return the detectable mean in standard deviations of the differences."""
    from scipy import optimize, stats  # as slow to import as all else that reads results

    critical = stats.t.ppf(1 - alpha / 2, num_seeds - 1)
    noise = np.random.default_rng(0).normal(size=(NUM_SIMULATED, num_seeds))

    def shortfall(ratio: float) -> float:
        if num_seeds <= MAX_SIMULATED_SEEDS:
            return float((sign_flip(noise + ratio) <= alpha).mean() - power)
        shift = ratio * np.sqrt(num_seeds)
        found = stats.nct.sf(critical, num_seeds - 1, shift) + stats.nct.cdf(-critical, num_seeds - 1, shift)
        return float(found - power)

    # far beyond the answer the noncentral t is not a number
    largest = 2 * (critical + stats.norm.ppf(power)) / np.sqrt(num_seeds)
    return float(optimize.brentq(shortfall, 1e-6, largest, xtol=1e-3))
