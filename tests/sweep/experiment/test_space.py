"""Fields tied to others, fields that only sometimes matter, lists zipped together."""

from typing import Any

import pytest
from pydantic import ValidationError

from sweep.experiment.search import Search
from sweep.experiment.space import Dimension


def build(**values: Any) -> Search:
    return Search(**{"base": {"max_steps": 100}, "num_samples": 4, **values})


def test_a_tied_field_follows_another(backbone: str) -> None:
    space: dict[str, Any] = {
        "learning_rate": {"log_uniform": [1e-4, 1e-2]},
        "encoder_prompt_learning_rate": {"tied": "learning_rate", "times": 10},
        "encoder_hidden_size": {"tied": "hidden_size", "times": 0.25},
    }
    sweep = build(base={"max_steps": 100, "backbone": backbone}, space=space)
    config = sweep.config({"learning_rate": 3e-4})
    assert config.values["encoder_prompt_learning_rate"] == pytest.approx(3e-3)
    assert config.values["encoder_hidden_size"] == 8
    assert list(sweep.dimensions) == ["learning_rate"]


def test_a_field_may_follow_one_that_follows_another() -> None:
    space: dict[str, Any] = {
        "prompt_learning_rate": {"tied": "encoder_prompt_learning_rate", "times": 2},
        "encoder_prompt_learning_rate": {"tied": "learning_rate", "times": 2},
        "learning_rate": {"choice": [1e-3]},
    }
    assert build(space=space).config().values["prompt_learning_rate"] == pytest.approx(4e-3)


def test_fields_that_wait_for_each_other_are_refused() -> None:
    space = {"learning_rate": {"tied": "weight_decay"}, "weight_decay": {"tied": "learning_rate"}}
    with pytest.raises(ValidationError, match="learning_rate, weight_decay wait for each other"):
        build(space=space)


@pytest.mark.parametrize(
    ("condition", "searched", "not_searched"),
    [
        ("> 0", 0.5, 0.0),
        (">= 0.5", 0.5, 0.4),
        ("<0.5", 0.4, 0.5),
        ("!= 1", 0.0, 1.0),
        (0.5, 0.5, 0.4),
        ([0, 1], 1.0, 0.5),
    ],
)
def test_a_field_is_searched_only_where_its_condition_holds(
    condition: Any, searched: float, not_searched: float
) -> None:
    space = {
        "encoder_hidden_size": {"choice": [64, 128], "when": {"encoder_ratio": condition}},
        "encoder_ratio": {"uniform": [0.0, 1.0]},
    }
    sweep = build(space=space)
    sizes = [
        sweep.config({"encoder_ratio": ratio, "encoder_hidden_size": 64}).values["encoder_hidden_size"]
        for ratio in (searched, not_searched)
    ]
    assert sizes == [64, 256]


def test_zipped_lists_go_together() -> None:
    lists = {"learning_rate": [1e-3, 1e-4], "prompt_learning_rate": [5e-2, 5e-3]}
    sweep = build(zipped=[lists])
    (name,) = sweep.dimensions
    pairs = [
        (one.training.learning_rate, one.values["prompt_learning_rate"])
        for one in (sweep.config({name: place}) for place in (0, 1))
    ]
    assert pairs == [(1e-3, 5e-2), (1e-4, 5e-3)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"zipped": [{"learning_rate": [1e-3]}]}, "zipped learning_rate: needs two lists or more"),
        ({"zipped": [{"learning_rate": [1e-3], "weight_decay": [0, 1]}]}, "all of the same length"),
        ({"space": {"learning_rate": {"tied": "lerning_rate"}}}, "did you mean 'learning_rate'"),
        ({"space": {"learning_rate": {"choice": [1e-3], "when": {"ratio": 1}}}}, "when: unknown key 'ratio'"),
        ({"space": {"learning_rate": {"choice": [1e-3], "times": 2}}}, "times goes with tied"),
        ({"space": {"learning_rate": {"choice": None}}}, "needs exactly one of choice, uniform"),
    ],
)
def test_a_mistake_is_said(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        build(**values)


@pytest.mark.parametrize(
    ("dimension", "values"),
    [
        ({"choice": ["a", "b"]}, ("a", "b")),
        ({"uniform": [0.1, 1.0], "step": 0.4}, (0.1, 0.5, 0.9)),
        ({"integers": [8, 30], "step": 8}, (8, 16, 24)),
        ({"integers": [1, 3]}, (1, 2, 3)),
        ({"uniform": [0.1, 0.9]}, None),
        ({"log_uniform": [0.1, 0.9]}, None),
    ],
)
def test_all_values_of_a_dimension_are_known_where_it_has_steps(
    dimension: dict[str, Any], values: tuple[Any, ...] | None
) -> None:
    found = Dimension(**dimension)
    assert found.num_values == (None if values is None else len(values))
    for place, value in enumerate(values or ()):
        drawn = found.at((place + 0.5) / len(values or ()))
        assert drawn == (value if isinstance(value, str) else pytest.approx(value))


def test_a_small_space_has_no_more_configurations_than_points() -> None:
    tokens = {"choice": [5, 10, 20]}
    rows = [
        ({"num_virtual_tokens": tokens}, 3),
        ({"num_virtual_tokens": tokens, "encoder_ratio": {"choice": [0.0, 0.5]}}, 7),  # XPE, too
        ({"num_virtual_tokens": tokens, "learning_rate": {"log_uniform": [1e-4, 1e-3]}}, 50),
        ({"num_virtual_tokens": tokens, "max_steps": {"integers": [1, 10**12]}}, 50),  # too many to go through
    ]
    for space, expected in rows:
        (workload,) = Search(space=space, num_samples=50).workloads
        assert workload.num_configurations == expected


@pytest.mark.parametrize(
    ("dimension", "shares", "expected"),
    [
        ({"choice": ["a", "b", "c"]}, [0.0, 0.34, 0.999], ["a", "b", "c"]),
        ({"uniform": [0.0, 10.0]}, [0.0, 0.5], [0.0, 5.0]),
        ({"uniform": [0.1, 0.9], "step": 0.4}, [0.0, 0.34, 0.999], [0.1, 0.5, 0.9]),
        ({"log_uniform": [1e-4, 1e-2]}, [0.0, 0.5], [1e-4, 1e-3]),
        ({"integers": [1, 4]}, [0.0, 0.25, 0.999], [1, 2, 4]),
        ({"integers": [8, 30], "step": 8}, [0.0, 0.999], [8, 24]),
    ],
)
def test_a_share_of_the_way_is_a_value(dimension: dict[str, Any], shares: list[float], expected: list[Any]) -> None:
    for share, value in zip(shares, expected, strict=True):
        found = Dimension(**dimension).at(share)
        assert found == (pytest.approx(value) if isinstance(value, float) else value)
