"""The three prompts against the recipe's shapes and parameter counts."""

import pytest
import torch

from xpe_core.config import RunConfig
from xpe_core.model import ClassificationHead
from xpe_core.prompts import DualPrompt, SeededDropout, build_prompt


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def num_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("ratio", "total"), [(0.0, 1_077_255), (1.0, 1_668_615)])
def test_prompt_and_head_on_xlmr_large_have_the_published_number_of_parameters(ratio: float, total: int) -> None:
    prompt = build_prompt(RunConfig(encoder_ratio=ratio), 1024, generator())
    head = ClassificationHead(1024, 7, 0.1, generator())
    assert num_parameters(prompt) + num_parameters(head) == total


@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0])
def test_every_prompt_gives_one_embedding_a_virtual_token(ratio: float) -> None:
    prompt = build_prompt(RunConfig(encoder_ratio=ratio, num_virtual_tokens=10), 32, generator())
    assert prompt(3).shape == (3, 10, 32)


def test_the_encoders_tokens_follow_the_directly_trained_ones() -> None:
    prompt = build_prompt(RunConfig(encoder_ratio=0.3, num_virtual_tokens=10), 32, generator()).eval()
    assert isinstance(prompt, DualPrompt)
    assert torch.equal(prompt(1)[0, :7], prompt.soft.embedding.weight)
    assert torch.equal(prompt(1)[0, 7:], prompt.encoded(1)[0])


def test_the_encoder_is_an_mlp_with_relu_between_its_layers() -> None:
    config = RunConfig(encoder_ratio=1.0, num_virtual_tokens=4, encoder_hidden_size=8, encoder_num_layers=2)
    prompt = build_prompt(config, 16, generator()).eval()
    weights = dict(prompt.named_parameters())
    values: torch.Tensor = weights["embedding.weight"]
    for layer in ("0", "3"):
        values = torch.relu(values @ weights[f"encoder.{layer}.weight"].T + weights[f"encoder.{layer}.bias"])
    expected = values @ weights["encoder.6.weight"].T + weights["encoder.6.bias"]
    for example in prompt(2):
        torch.testing.assert_close(example, expected)


def test_every_example_of_a_batch_has_dropout_of_its_own_in_training_alone() -> None:
    prompt = build_prompt(RunConfig(encoder_ratio=1.0, num_virtual_tokens=4, encoder_dropout=0.5), 32, generator())
    first, second = prompt.train()(2)
    assert not torch.equal(first, second)
    first, second = prompt.eval()(2)
    assert torch.equal(first, second)


def test_the_head_starts_as_xlmrs_own() -> None:
    torch.manual_seed(0)
    head = ClassificationHead(384, 7, 0.0, generator())
    assert head.dense.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert not head.dense.bias.any() and not head.out.bias.any()


def test_dropout_follows_its_own_generator_and_keeps_the_mean() -> None:
    values = torch.ones(200, 500)
    first, second = (SeededDropout(0.2, generator(3))(values) for _ in range(2))
    torch.rand(7)  # the global generator must not matter
    assert torch.equal(first, second)
    assert first.unique().tolist() == [0.0, 1.25]
    assert abs(first.mean().item() - 1) < 0.01


def test_dropout_does_nothing_in_evaluation() -> None:
    values = torch.ones(3, 4)
    assert torch.equal(SeededDropout(0.5, generator()).eval()(values), values)
