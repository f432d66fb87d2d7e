"""RunConfig: strict, frozen, and an identity that can be relied on."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.tunings.prompt.config import PromptConfig
from xpe_core.validation import build_config


def test_defaults_are_the_published_recipe() -> None:
    config = RunConfig()
    recipe = {
        "backbone": "FacebookAI/xlm-roberta-large",
        "num_virtual_tokens": 20,
        "encoder_hidden_size": 256,
        "encoder_num_layers": 2,
        "encoder_dropout": 0.1,
        "learning_rate": 5e-5,
        "prompt_learning_rate": 5e-3,
        "weight_decay": 0.01,
        "prompt_weight_decay": 0.0,
        "optimizer": "adafactor",
        "schedule": "cosine_with_restarts",
        "num_cycles": 2,
        "warmup_ratio": 0.1,
        "max_grad_norm": 1.0,
        "batch_size": 32,
        "max_steps": 24_000,
        "patience": 20,
        "early_stopping_after": 0.5,
        "max_length": 164,
        "precision": "bfloat16",
        "pooling": "first",
    }
    assert {name: config.values[name] for name in recipe} == recipe


@pytest.mark.parametrize(
    ("ratio", "tokens", "method", "encoded"),
    [
        (0.0, 20, "spt", 0),
        (1.0, 20, "xpe", 20),
        (0.3, 20, "dual", 6),
        (0.7, 20, "dual", 14),
        (0.7, 10, "dual", 7),
        (0.7, 90, "dual", 63),  # as floats, the product falls a rounding error short of it
        (0.29, 100, "dual", 29),
        (0.6999, 10, "dual", 6),
        (0.01, 20, "dual", 1),
        (0.99, 20, "dual", 19),
        (0.9, 2, "dual", 1),
        (1.0, 1, "xpe", 1),
    ],
)
def test_the_ratio_says_the_method_and_how_many_tokens_are_encoded(
    ratio: float, tokens: int, method: str, encoded: int
) -> None:
    prompt = PromptConfig(encoder_ratio=ratio, num_virtual_tokens=tokens)
    assert (prompt.method, prompt.num_encoder_tokens) == (method, encoded)


def test_a_single_token_cannot_be_shared_by_two_halves() -> None:
    with pytest.raises(InputError, match="num_virtual_tokens=1 with encoder_ratio=0.3 leaves no token for one half"):
        build_config(RunConfig, {"num_virtual_tokens": 1, "encoder_ratio": 0.3}, "here")


def test_an_unknown_key_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="file.yaml: unknown key 'lerning_rate'; did you mean 'learning_rate'"):
        build_config(RunConfig, {"lerning_rate": 1e-3}, "file.yaml")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("encoder_ratio", 1.1),
        ("encoder_ratio", -0.1),
        ("learning_rate", 0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("num_virtual_tokens", 0),
        ("num_virtual_tokens", 2.5),
        ("num_virtual_tokens", True),
        ("optimizer", "sgd"),
        ("warmup_ratio", 1.0),
        ("seed", -1),
        ("backbone", ""),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_key(key: str, value: object) -> None:
    with pytest.raises(InputError, match=f"^here: {key}="):
        build_config(RunConfig, {key: value}, "here")


def test_the_declared_type_decides_what_yaml_meant() -> None:
    assert RunConfig(learning_rate="5e-5").training.learning_rate == 5e-5


def test_a_list_of_source_languages_is_one_value() -> None:
    config = RunConfig(source_set=["eng_Latn", "kat_Geor"])
    assert config == RunConfig(source_set="eng_Latn,kat_Geor")


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        RunConfig().seed = 2  # type: ignore[misc]


def test_the_seed_is_in_the_runs_identity_and_not_in_the_configurations() -> None:
    first, second = RunConfig(seed=1), RunConfig(seed=2)
    assert first.config_id == second.config_id
    assert first.run_id != second.run_id
    assert first.with_seed(2) == second


def test_rounding_errors_of_a_sampler_do_not_make_another_run() -> None:
    assert RunConfig(encoder_ratio=0.1 + 0.2).run_id == RunConfig(encoder_ratio=0.3).run_id
    assert RunConfig(encoder_ratio=0.3000001).run_id != RunConfig(encoder_ratio=0.3).run_id


def test_a_run_id_is_the_same_in_every_process() -> None:
    command = "from xpe_core.config import RunConfig; print(RunConfig(seed=7).run_id)"
    ids = {
        subprocess.run(
            [sys.executable, "-c", command], capture_output=True, text=True, env={"PYTHONHASHSEED": seed}
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert ids == {RunConfig(seed=7).run_id}
