"""The three prompts against the recipe's shapes and parameter counts."""

import pytest
import torch

from tests.making.runs import make_run
from xpe_core.config import RunConfig
from xpe_core.readouts.head.head import ClassificationHead
from xpe_core.tunings.prompt.config import PromptConfig
from xpe_core.tunings.prompt.prompts import DualPrompt, build_prompt, mask_shapes

HIDDEN = 32


def num_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def draw_masks(config: PromptConfig, num_examples: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        2.0 * torch.empty(shape).bernoulli_(0.5, generator=generator)
        for shape in mask_shapes(config, num_examples, HIDDEN)
    ]


@pytest.mark.parametrize(("ratio", "total"), [(0.0, 1_077_255), (1.0, 1_668_615)])
def test_prompt_and_head_on_xlmr_large_have_the_published_number_of_parameters(ratio: float, total: int) -> None:
    assert num_parameters(make_run(RunConfig(encoder_ratio=ratio), 1024, 7)) == total


@pytest.mark.parametrize(("ratio", "num_rows"), [(0.0, 1), (0.3, 3), (1.0, 3)])
def test_every_prompt_gives_one_embedding_a_virtual_token(ratio: float, num_rows: int) -> None:
    config = PromptConfig(encoder_ratio=ratio, num_virtual_tokens=10)
    prompt = build_prompt(config, 32)
    assert prompt([]).shape == (1, 10, 32)
    assert prompt(draw_masks(config, 3)).shape == (num_rows, 10, 32)


def test_the_encoders_tokens_follow_the_directly_trained_ones() -> None:
    prompt = build_prompt(PromptConfig(encoder_ratio=0.3, num_virtual_tokens=10), 32)
    assert isinstance(prompt, DualPrompt)
    assert torch.equal(prompt([])[0, :7], prompt.soft.embedding.weight)
    assert torch.equal(prompt([])[0, 7:], prompt.encoded([])[0])


def test_the_encoder_is_an_mlp_with_relu_and_dropout_between_its_layers() -> None:
    config = PromptConfig(encoder_ratio=1.0, num_virtual_tokens=4, encoder_hidden_size=8, encoder_num_layers=2)
    prompt = build_prompt(config, 16)
    weights = dict(prompt.named_parameters())
    masks = draw_masks(config, 3)
    assert [mask.shape for mask in masks] == [(3, 4, 8)] * 2
    ones = [torch.ones(1, 4, 8)] * 2
    for given, used in ((masks, masks), ([], ones)):
        embeddings = prompt(given)
        for example in range(len(used[0])):
            values: torch.Tensor = weights["embedding.weight"]
            for layer in (0, 1):
                values = torch.relu(
                    values @ weights[f"encoder.layers.{layer}.weight"].T + weights[f"encoder.layers.{layer}.bias"]
                )
                values = values * used[layer][example]
            expected = values @ weights["encoder.out.weight"].T + weights["encoder.out.bias"]
            torch.testing.assert_close(embeddings[example], expected)


def test_every_example_of_a_batch_has_dropout_of_its_own_in_the_encoders_tokens_alone() -> None:
    config = PromptConfig(encoder_ratio=0.5, num_virtual_tokens=4)
    first, second = build_prompt(config, 32)(draw_masks(config, 2))
    assert torch.equal(first[:2], second[:2])
    assert not torch.equal(first[2:], second[2:])


def test_a_prompt_without_an_encoder_takes_no_masks() -> None:
    assert mask_shapes(PromptConfig(encoder_ratio=0.0), 3, HIDDEN) == []


def test_the_head_starts_as_xlmrs_own() -> None:
    torch.manual_seed(0)
    head = ClassificationHead(384, 7)
    assert head.dense.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert not head.dense.bias.any() and not head.out.bias.any()


def test_the_head_drops_before_both_of_its_layers() -> None:
    torch.manual_seed(0)
    head, pooled = ClassificationHead(16, 3), torch.randn(5, 16)
    first, second = (2.0 * torch.empty(5, 16).bernoulli_(0.5) for _ in range(2))
    expected = head.out(torch.tanh(head.dense(pooled * first)) * second)
    torch.testing.assert_close(head(pooled, [first, second]), expected)
    torch.testing.assert_close(head(pooled, []), head.out(torch.tanh(head.dense(pooled))))


def test_the_weights_follow_the_seed_and_leave_the_global_generator_alone() -> None:
    config = RunConfig(encoder_ratio=0.5, num_virtual_tokens=4)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = make_run(config, 16, 3)
    assert torch.equal(torch.rand(3), expected)
    second, other = make_run(config, 16, 3), make_run(config.with_seed(2), 16, 3)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
        assert name.startswith("head.") and name.endswith("bias") or not torch.equal(value, other.state_dict()[name])
