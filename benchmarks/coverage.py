"""Do the report's statistics hold: how often 95 % intervals hold the truth, and how often tests see what is not there.

    python -m benchmarks.coverage [--experiments 2000] [--seeds 10] [--languages 46] [--generator 0]

An experiment is a table of paired differences of two arms, in points of accuracy (`Effects`) or in shares of examples
(`Accuracies`). `coverage_seeds` is of the interval for these languages (their effects are part of the truth),
`coverage_crossed` of the one for languages like these, `coverage_plain_bca` of the first without what corrects it for
few seeds. `false_positives` is the share of experiments without any difference in which some difference of the table is
below 5 % after Holm's correction.
"""

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sweep.analysis.statistics import Array, crossed_interval, holm, seed_interval, sign_flip

# shapes: S seeds, L languages

NUM_LANGUAGES = 46
"""Of the low-performing group."""
GROUPS = (slice(0, 46), slice(0, 113), slice(113, 198), slice(0, 198))
"""Target groups, as large and as nested as the published table's."""
NUM_ARMS = 3
NUM_RESAMPLES = 1_999
CHANCE = 1 / 7
"""SIB-200 has seven topics."""
NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(60)


@dataclass(frozen=True)
class Effects:
    """Differences made of effects of seed and language and the rest, in points; their true mean is 0."""

    of_seed: float
    """Standard deviations, all three."""
    of_language: float
    rest: float
    skewed: bool = False
    """Whether most seeds are a little above their mean and a few far below (an exponential, its skewness is -2)."""

    @property
    def truth(self) -> float:
        """The true mean for languages like these."""
        return 0.0

    def draw(self, generator: np.random.Generator, num_seeds: int, num_languages: int) -> tuple[Array, float]:
        """Return the differences of an experiment [S, L], and their true mean for its languages."""
        languages = generator.normal(0, self.of_language, num_languages)
        if self.skewed:
            seeds = self.of_seed * (1 - generator.exponential(1, (num_seeds, 1)))
        else:
            seeds = generator.normal(0, self.of_seed, (num_seeds, 1))
        values = seeds + languages + generator.normal(0, self.rest, (num_seeds, num_languages))
        return values, float(languages.mean())


@dataclass(frozen=True)
class Accuracies:
    """Shares of examples that two arms get right: everything acts on the logit of what is above chance.

    Seeds are the arms' own. What they do to a language's accuracy depends on the language: little near chance.
    """

    num_examples: int
    level: float = 0.5
    """Of the languages: mean and standard deviation."""
    levels: float = 1.0
    gain: float = 0.2
    """Of the better arm, by language: mean and standard deviation."""
    gains: float = 0.2
    of_seed: float = 0.15
    rest: float = 0.2
    collapse: float = 0.0
    """With which probability a seed of the better arm stays at chance in every language."""

    @property
    def truth(self) -> float:
        """The true mean for languages like these."""
        before = _share(np.array([self.level]), np.hypot(self.levels, self._noise))
        after = _share(np.array([self.level + self.gain]), np.hypot(np.hypot(self.levels, self.gains), self._noise))
        return float((self._mixed(after) - before)[0])

    def draw(self, generator: np.random.Generator, num_seeds: int, num_languages: int) -> tuple[Array, float]:
        """Return the differences of an experiment [S, L], and their true mean for its languages."""
        before = generator.normal(self.level, self.levels, num_languages)
        after = before + generator.normal(self.gain, self.gains, num_languages)
        collapsed = generator.random((num_seeds, 1)) < self.collapse
        better = self._count(generator, after, collapsed)
        worse = self._count(generator, before, np.zeros((num_seeds, 1), bool))
        truth = self._mixed(_share(after, self._noise)) - _share(before, self._noise)
        return better - worse, float(truth.mean())

    @property
    def _noise(self) -> float:
        return float(np.hypot(self.of_seed, self.rest))

    def _mixed(self, shares: Array) -> Array:
        return (1 - self.collapse) * shares + self.collapse * CHANCE

    def _count(self, generator: np.random.Generator, levels: Array, collapsed: NDArray[np.bool_]) -> Array:
        shape = (len(collapsed), len(levels))
        logits = levels + generator.normal(0, self.of_seed, (shape[0], 1)) + generator.normal(0, self.rest, shape)
        shares = np.where(collapsed, CHANCE, CHANCE + (1 - CHANCE) * special.expit(logits))
        return generator.binomial(self.num_examples, shares) / self.num_examples


def _share(levels: Array, spread: float) -> Array:
    """Return the mean accuracies of logits with these means and this standard deviation (Gauss-Hermite)."""
    inside = special.expit(levels[:, None] + spread * NODES) @ NODE_WEIGHTS / NODE_WEIGHTS.sum()
    return CHANCE + (1 - CHANCE) * inside


SETTINGS: dict[str, Effects | Accuracies] = {
    "seeds_differ": Effects(2.0, 0.5, 3.0),
    "languages_differ": Effects(0.5, 3.0, 3.0),
    "both_differ": Effects(1.0, 1.0, 3.0),
    "both_differ_a_little": Effects(0.3, 0.5, 3.0),
    "only_noise": Effects(0.0, 0.0, 3.0),
    "of_204_examples": Accuracies(204),
    "of_50_examples": Accuracies(50),
    "many_near_chance": Accuracies(204, level=-2.0, levels=1.5),
    "skewed_seeds": Effects(2.0, 0.5, 3.0, skewed=True),
    "a_third_collapses": Accuracies(204, collapse=0.33),
    "a_tenth_collapses": Accuracies(204, collapse=0.1),
}


def cover(
    setting: Effects | Accuracies,
    num_seeds: int,
    num_experiments: int,
    num_languages: int = NUM_LANGUAGES,
    seed: int = 0,
) -> dict[str, float]:
    """Return the shares of experiments whose intervals hold the truth."""
    generator = np.random.default_rng(seed)
    means, truths, crossed = [], [], 0
    for _ in range(num_experiments):
        values, truth = setting.draw(generator, num_seeds, num_languages)
        means.append(values.mean(axis=1))
        truths.append(truth)
        low, high = crossed_interval(values, num_resamples=NUM_RESAMPLES)
        crossed += low <= setting.truth <= high
    found = {"crossed": crossed / num_experiments}
    for name, stretched in (("seeds", True), ("plain_bca", False)):
        lows, highs = seed_interval(np.array(means), num_resamples=NUM_RESAMPLES, stretched=stretched)
        found[name] = float(((lows <= np.array(truths)) & (np.array(truths) <= highs)).mean())
    return found


def count_false_positives(num_seeds: int, num_experiments: int, seed: int = 0) -> dict[str, float]:
    """Return how often a table of NUM_ARMS times GROUPS claims something where there is nothing."""
    generator = np.random.default_rng(seed)
    before, after = 0.0, 0
    arm = Effects(1.0, 0.0, 3.0)
    for _ in range(num_experiments):
        cells = []
        baseline = arm.draw(generator, num_seeds, 198)[0]
        for _ in range(NUM_ARMS):
            values = arm.draw(generator, num_seeds, 198)[0] - baseline
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
    parser.add_argument("--languages", type=int, default=NUM_LANGUAGES)
    parser.add_argument("--generator", type=int, default=0, help="seed of the simulation")
    arguments = parser.parse_args()
    count, seeds, languages = arguments.experiments, arguments.seeds, arguments.languages
    print(f"{count} simulated experiments of {seeds} seeds and {languages} languages")
    for name, setting in SETTINGS.items():
        for interval, share in cover(setting, seeds, count, languages, arguments.generator).items():
            print(f"coverage_{interval} {name} {share:.4f}")
    for name, share in count_false_positives(seeds, count, arguments.generator).items():
        print(f"false_positives {name} {share:.4f}")


if __name__ == "__main__":
    main()
