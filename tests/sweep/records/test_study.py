"""What Optuna is told of a dimension, and which values it could have proposed."""

from typing import Any

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from sweep.experiment.config import Search
from sweep.records.study import build_distribution, lies_in


def build(field: str, dimension: dict[str, Any]) -> BaseDistribution:
    return build_distribution(Search(space={field: dimension}).dimensions[field])


@pytest.mark.parametrize(
    ("field", "dimension", "expected"),
    [
        ("num_virtual_tokens", {"choice": [5, 10]}, CategoricalDistribution((5, 10))),
        ("num_virtual_tokens", {"integers": [5, 20]}, IntDistribution(5, 20)),
        ("num_virtual_tokens", {"integers": [5, 22], "step": 5}, IntDistribution(5, 20, step=5)),
        ("learning_rate", {"log_uniform": [1e-4, 1e-2]}, FloatDistribution(1e-4, 1e-2, log=True)),
        ("encoder_dropout", {"uniform": [0.1, 0.4]}, FloatDistribution(0.1, 0.4)),
        ("encoder_ratio", {"uniform": [0.0, 1.0], "step": 0.3}, FloatDistribution(0.0, 0.9, step=0.3)),
    ],
)
def test_a_dimension_is_optunas_distribution(field: str, dimension: dict[str, Any], expected: BaseDistribution) -> None:
    assert build(field, dimension) == expected


@pytest.mark.parametrize(
    ("field", "dimension", "inside", "outside"),
    [
        ("num_virtual_tokens", {"choice": [5, 10]}, (5, 10), (7,)),
        ("num_virtual_tokens", {"integers": [5, 22], "step": 5}, (5, 10, 20), (0, 7, 22, 25)),
        ("encoder_ratio", {"uniform": [0.0, 1.0], "step": 0.3}, (0.0, 0.3, 0.6, 0.9), (-0.3, 0.1, 1.0)),
        ("learning_rate", {"log_uniform": [1e-4, 1e-2]}, (1e-4, 3e-3, 1e-2), (9e-5, 0.011)),
    ],
)
def test_a_value_lies_in_a_distribution_within_its_bounds_and_on_its_steps(
    field: str, dimension: dict[str, Any], inside: tuple[float, ...], outside: tuple[float, ...]
) -> None:
    distribution = build(field, dimension)
    assert all(lies_in(distribution, value) for value in inside)
    assert not any(lies_in(distribution, value) for value in outside)
