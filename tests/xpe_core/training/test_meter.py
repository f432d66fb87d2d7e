"""What training cost: counts against torch's own counter and by hand."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from xpe_core.backbones.backbone import Backbone, load_backbone
from xpe_core.backbones.insertion import Insertion, KeysValues
from xpe_core.config import RunConfig
from xpe_core.pack import Pack
from xpe_core.training import meter
from xpe_core.training.meter import Work, count_operations, measure_peak


@pytest.fixture
def encoder(backbone: str) -> Iterator[Backbone]:
    """Give the tiny XLM-R with attention as plain matrix products, which torch counts."""
    loaded = load_backbone(backbone)
    before = loaded.model.config._attn_implementation
    loaded.model.set_attn_implementation("eager")
    yield loaded
    loaded.model.set_attn_implementation(before)


@pytest.mark.parametrize(("num_sequences", "width"), [(1, 1), (3, 7), (8, 24), (2, 90)])
def test_operations_are_those_that_torch_counts_in_transformers(
    encoder: Backbone, num_sequences: int, width: int
) -> None:
    embeddings = torch.randn(num_sequences, width, 32)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder.model(inputs_embeds=embeddings)
    counted = counter.get_total_flops()
    assert counted > 0
    assert count_operations(encoder.model.config, num_sequences, width, only_first=False) == pytest.approx(
        counted, rel=0.02
    )


@pytest.mark.parametrize("only_first", [False, True])
@pytest.mark.parametrize("width", [7, 24])
def test_operations_are_those_that_torch_counts_in_the_own_encoder(
    encoder: Backbone, width: int, only_first: bool
) -> None:
    embeddings = torch.randn(3, width, 32)
    in_place = {torch.ops.aten.addmm_: lambda _, left, right, **__: 2 * left[0] * left[1] * right[1]}  # not in torch's
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        encoder(embeddings, None, only_first=only_first)
    counted = counter.get_total_flops()
    assert count_operations(encoder.model.config, 3, width, only_first) == pytest.approx(counted, rel=0.02)


@pytest.mark.parametrize("only_first", [False, True])
@pytest.mark.parametrize("keys", [(5, 5), (0, 5)])
def test_keys_before_the_texts_own_are_counted_where_they_are_attended_to(
    encoder: Backbone, keys: tuple[int, ...], only_first: bool
) -> None:
    before = {layer: KeysValues(*torch.randn(2, 1, num, 32)) for layer, num in enumerate(keys) if num}
    embeddings = torch.randn(3, 12, 32)
    in_place = {torch.ops.aten.addmm_: lambda _, left, right, **__: 2 * left[0] * left[1] * right[1]}  # not in torch's
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        encoder(embeddings, None, only_first=only_first, insertion=Insertion(keys_values=before))
    without = count_operations(encoder.model.config, 3, 12, only_first)
    counted = count_operations(encoder.model.config, 3, 12, only_first, keys)
    queries = (12, 1 if only_first else 12)
    assert counted - without == sum(2 * 3 * 2 * 32 * num * number for num, number in zip(keys, queries, strict=True))
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_the_backward_pass_takes_about_as_many_operations_as_the_forward_pass(encoder: Backbone) -> None:
    # but for attention's two products, which have two gradients each: they are counted once, as documented
    embeddings = torch.randn(3, 10, 32, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        encoder.model(inputs_embeds=embeddings).last_hidden_state.sum().backward()
    attention = 2 * 2.0 * 3 * 10 * 10 * 2 * 32
    counted = counter.get_total_flops() - attention
    assert 2 * count_operations(encoder.model.config, 3, 10, only_first=False) == pytest.approx(counted, rel=0.02)


def test_work_by_hand(encoder: Backbone, dataset: str) -> None:
    config = RunConfig(backbone=encoder.name, dataset=dataset, num_virtual_tokens=4, max_length=16, pooling="mean")
    pack, work = Pack(encoder, [config], 3), Work()
    work.count(pack, np.array([[5, 3], [6, 2]]))
    assert (work.num_tokens, work.num_positions, work.num_padding) == (16, 4 * (6 + 4), 1 + 3 + 0 + 4)
    assert work.padding_share == pytest.approx(8 / 40)
    once = 2 * count_operations(encoder.model.config, 4, 10, only_first=False)
    assert work.num_operations == once
    work.count(pack, np.array([[10]]))
    assert (work.num_tokens, work.num_positions, work.num_padding) == (26, 54, 8)
    assert work.num_operations == once + 2 * count_operations(encoder.model.config, 1, 14, only_first=False)
    work.seconds = 2.0
    assert work.tokens_per_second == 13
    assert work.peak_share(work.num_operations) == pytest.approx(0.5)


def test_a_pack_that_reads_the_first_position_alone_counts_less(encoder: Backbone, dataset: str) -> None:
    config = RunConfig(backbone=encoder.name, dataset=dataset, num_virtual_tokens=4, max_length=16, pooling="first")
    pack, work = Pack(encoder, [config], 3), Work()
    work.count(pack, np.array([[6, 6]]))
    assert work.num_operations == 2 * count_operations(encoder.model.config, 2, 10, only_first=True)
    assert work.num_operations < 2 * count_operations(encoder.model.config, 2, 10, only_first=False)


def test_nothing_done_yet_divides_by_nothing() -> None:
    assert (Work().tokens_per_second, Work().padding_share, Work().peak_share(1e9)) == (0, 0, 0)


def test_the_peak_is_measured_once_for_each_precision(encoder: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    meter._measure_product.cache_clear()
    peaks = {precision: measure_peak(encoder, precision) for precision in ("float32", "bfloat16")}
    assert all(1e6 < peak < 1e16 for peak in peaks.values())

    def fail() -> float:
        raise AssertionError("measured again")

    monkeypatch.setattr(meter.time, "perf_counter", fail)
    assert {precision: measure_peak(encoder, precision) for precision in peaks} == peaks


def test_the_peak_is_that_of_the_median_of_five_products(encoder: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    meter._measure_product.cache_clear()
    clock = iter([0, 9, 10, 11, 20, 24, 30, 32, 40, 43])  # 9, 1, 4, 2 and 3 seconds
    monkeypatch.setattr(meter.time, "perf_counter", lambda: float(next(clock)))
    wide = encoder.model.config.intermediate_size
    assert measure_peak(encoder, "float32") == 2 * 2048 * 32 * wide / 3
    meter._measure_product.cache_clear()


def test_short_products_are_measured_for_a_fifth_of_a_second(
    encoder: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter._measure_product.cache_clear()
    clock = itertools.count(0, 1 / 64)
    monkeypatch.setattr(meter.time, "perf_counter", lambda: next(clock))
    measure_peak(encoder, "float32")
    assert next(clock) == 2 * 13 / 64  # twelve are 0.1875 s
    meter._measure_product.cache_clear()


def test_without_the_backbone_only_the_texts_count(encoder: Backbone) -> None:
    config = RunConfig(backbone=encoder.name, tuning="none", max_length=16)
    work = Work()
    work.count(Pack(encoder, [config], 3), np.array([[5, 3], [6, 2]]), through_backbone=False)
    assert work == Work(num_tokens=16)
