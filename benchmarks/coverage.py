"""Do the report's statistics hold: how often 95 % intervals hold the truth, and how often tests see what is not there.

    python -m benchmarks.coverage [--experiments 2000]

An experiment's paired differences are made of an effect of the seed, an effect of the language, and the rest, in points
of accuracy. `coverage_seeds` is of the interval for these languages (their effects are part of the truth),
`coverage_crossed` of the one for languages like these. `false_positives` is the share of experiments without any
difference in which some difference of the table is below 5 % after Holm's correction.
"""

import argparse

import numpy as np

from sweep.analysis.statistics import Array, crossed_interval, holm, seed_interval, sign_flip

Sizes = tuple[float, float, float]

SETTINGS = {
    "seeds_differ": (2.0, 0.5, 3.0),
    "languages_differ": (0.5, 3.0, 3.0),
    "both_differ": (1.0, 1.0, 3.0),
    "only_noise": (0.0, 0.0, 3.0),
}
"""Standard deviations of the effects of seed and language, and of the rest."""
NUM_LANGUAGES = 46
"""Of the low-performing group."""
GROUPS = (slice(0, 46), slice(0, 113), slice(113, 198), slice(0, 198))
"""Target groups, as large and as nested as the published table's."""
NUM_ARMS = 3
NUM_RESAMPLES = 1_999


def draw(
    generator: np.random.Generator, sizes: tuple[float, float, float], shape: tuple[int, int]
) -> tuple[Array, Array]:
    """Return paired differences [seeds, languages] whose true mean is 0, and the languages' own effects."""
    of_seed, of_language, rest = sizes
    languages = generator.normal(0, of_language, shape[1])
    return generator.normal(0, of_seed, (shape[0], 1)) + languages + generator.normal(0, rest, shape), languages


def cover(sizes: Sizes, num_seeds: int, num_experiments: int, seed: int = 0) -> dict[str, float]:
    """Return the shares of experiments whose intervals hold the truth."""
    generator = np.random.default_rng(seed)
    means, truths, crossed = [], [], 0
    for _ in range(num_experiments):
        values, languages = draw(generator, sizes, (num_seeds, NUM_LANGUAGES))
        means.append(values.mean(axis=1))
        truths.append(languages.mean())
        low, high = crossed_interval(values, num_resamples=NUM_RESAMPLES)
        crossed += low <= 0 <= high
    lows, highs = seed_interval(np.array(means), num_resamples=NUM_RESAMPLES)
    held = (lows <= np.array(truths)) & (np.array(truths) <= highs)
    plain_lows, plain_highs = seed_interval(np.array(means), num_resamples=NUM_RESAMPLES, stretched=False)
    plain = (plain_lows <= np.array(truths)) & (np.array(truths) <= plain_highs)
    return {"seeds": held.mean(), "crossed": crossed / num_experiments, "plain_bca": plain.mean()}


def count_false_positives(num_seeds: int, num_experiments: int, seed: int = 0) -> dict[str, float]:
    """Return how often a table of NUM_ARMS times GROUPS claims something where there is nothing."""
    generator = np.random.default_rng(seed)
    before, after = 0.0, 0
    for _ in range(num_experiments):
        cells = []
        baseline = draw(generator, (1.0, 0.0, 3.0), (num_seeds, 198))[0]
        for _ in range(NUM_ARMS):
            values = draw(generator, (1.0, 0.0, 3.0), (num_seeds, 198))[0] - baseline
            cells += [values[:, group].mean(axis=1) for group in GROUPS]
        p_values = sign_flip(np.array(cells))
        before += float((p_values <= 0.05).mean())
        after += bool((holm(p_values) <= 0.05).any())
    return {"one_comparison": before / num_experiments, "after_holm": after / num_experiments}


def main() -> None:
    """Print one figure a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=2_000)
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    print(f"{arguments.experiments} simulated experiments of {arguments.seeds} seeds and {NUM_LANGUAGES} languages")
    for name, sizes in SETTINGS.items():
        for interval, share in cover(sizes, arguments.seeds, arguments.experiments).items():
            print(f"coverage_{interval} {name} {share:.4f}")
    for name, share in count_false_positives(arguments.seeds, arguments.experiments).items():
        print(f"false_positives {name} {share:.4f}")


if __name__ == "__main__":
    main()
