"""Are a study's claims true: made studies in which no method is better than another, and how often one is said to be.

    python -m benchmarks.made_study [--studies 2000] [--methods 7] [--trials 16] [--seeds 10] [--generator 0]

All configurations of all methods are equally good, so each winner won by luck: by its seeds and its validation
examples. `false_claims` is the share of studies in which some difference between two winners on fresh seeds is below
5 % after Holm's correction, `false_claims_baseline` the same of the family of differences to the first method over
four groups. `promised` is how much more the searches' winners promise than is true, in points, `held` the same of the
fresh seeds. `leaked` is what the winners' scores on the test languages look like on the searches' own seeds.
"""

import argparse
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from sweep.analysis.statistics import Array, holm, sign_flip

# shapes: M methods, T trials, S seeds, L languages

GROUPS = (slice(0, 4), slice(4, 8), slice(8, 16), slice(0, 16))
"""Target groups, as a study on two cores has them."""
NUM_LANGUAGES = 16
NUM_SEARCH_SEEDS = 2
OF_SEED, OF_VALIDATION, REST = 1.5, 1.0, 3.0
"""Standard deviations in points: of a run, of what only its validation shows, of a language's score."""


@dataclass(frozen=True)
class MadeStudy:
    """What one study shows, in points above the truth."""

    promised: Array
    """[M]: the winners' validation scores in the searches."""
    leaked: Array
    """[M]: their test scores with the searches' seeds."""
    fresh: Array
    """[M, S, L]: the test scores of fresh seeds."""


def make_study(generator: np.random.Generator, num_methods: int, num_trials: int, num_seeds: int) -> MadeStudy:
    """Return a study whose configurations are all equally good over all languages."""
    runs = generator.normal(0, OF_SEED, (num_methods, num_trials, NUM_SEARCH_SEEDS))
    validation = (runs + generator.normal(0, OF_VALIDATION, runs.shape)).mean(axis=2)  # [M, T]
    winners = validation.argmax(axis=1)
    methods = np.arange(num_methods)
    shape = (num_methods, num_seeds, NUM_LANGUAGES)
    fresh = generator.normal(0, OF_SEED, shape[:2])[..., None] + generator.normal(0, REST, shape)
    return MadeStudy(validation[methods, winners], runs[methods, winners].mean(axis=1), fresh)


def find_claims(study: MadeStudy) -> tuple[bool, bool]:
    """Return whether some winner is said to be better than another, and than the first in some group."""
    means = study.fresh.mean(axis=2)  # [M, S]
    duels = np.stack([means[one] - means[other] for one, other in combinations(range(len(means)), 2)])
    groups = [study.fresh[1:, :, group].mean(axis=2) - study.fresh[0, :, group].mean(axis=1) for group in GROUPS]
    families = duels, np.concatenate(groups)
    of_duels, of_baseline = (bool((holm(sign_flip(family)) <= 0.05).any()) for family in families)
    return of_duels, of_baseline


def main(arguments: list[str] | None = None) -> None:
    """Make the studies and print what they claim."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("studies", 2_000), ("methods", 7), ("trials", 16), ("seeds", 10), ("generator", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args(arguments)
    generator = np.random.default_rng(asked.generator)
    studies = [make_study(generator, asked.methods, asked.trials, asked.seeds) for _ in range(asked.studies)]
    claims = np.array([find_claims(study) for study in studies])
    print(f"{asked.studies} studies of {asked.methods} methods, {asked.trials} trials each, {asked.seeds} fresh seeds")
    print(f"false_claims {claims[:, 0].mean():.3f}, false_claims_baseline {claims[:, 1].mean():.3f}")
    promised, leaked, held = (
        np.mean([values.mean() for values in column])
        for column in (
            [study.promised for study in studies],
            [study.leaked for study in studies],
            [study.fresh for study in studies],
        )
    )
    print(f"promised {promised:+.2f}, leaked {leaked:+.2f}, held {held:+.2f} points above the truth")


if __name__ == "__main__":
    main()
