"""A head alone: steps a second from states that are computed once, and through the backbone in every step."""

import statistics
import time
from functools import partial
from unittest.mock import patch

from benchmarks.setting import (
    NUM_CLASSES,
    alternate,
    choose_size,
    find_device,
    load_data,
    median_ratio,
    parse_arguments,
    print_ratios,
    print_table,
)
from xpe_core.backbones.backbone import load_backbone
from xpe_core.config import RunConfig
from xpe_core.data.tokens import TokenisedData
from xpe_core.pack import Pack
from xpe_core.training.training import Training
from xpe_core.tunings.none.tuning import NoTuning

SIZES = (1, 10)
TIMED_SHARE = 0.8
"""Of the steps: the first ones take memory and read caches."""


def main() -> None:
    """Print steps a second of packs of 1 and 10 heads, and how long the states of the texts took."""
    arguments = parse_arguments(__doc__ or "", precision=("float32", "float32 or bfloat16"))
    (few, many), num_rounds = choose_size(arguments, ((10, 400), 5), ((5, 200), 3), ((3, 5), 1))
    config = RunConfig(
        backbone=arguments.backbone,
        dataset=arguments.dataset,
        source_set="enarzho",
        tuning="none",
        pooling="mean",
        learning_rate=2e-3,
        optimizer="adamw",
        precision=arguments.precision,
    )
    data = load_data(config)
    started = time.perf_counter()
    measure(config, data, 1, 1, 0)
    print(
        f"states of {len(data.select(data.resolve(config.data.source_set), 'train')):,} texts, read or computed in "
        f"{time.perf_counter() - started:.1f} s"
    )

    def through_backbone(size: int, number: int) -> float:
        with patch.object(NoTuning, "inserts", True):
            return measure(config, data, size, few, number)

    def from_states(size: int, number: int) -> float:
        return measure(config, data, size, many, number)

    contestants = {f"states, {size} runs": partial(from_states, size) for size in SIZES}
    contestants |= {f"backbone, {size} runs": partial(through_backbone, size) for size in SIZES}
    found = alternate(contestants, num_rounds)
    rows = [(name, statistics.median(rates)) for name, rates in found.items()]
    print_table(f"a head alone, {arguments.precision}", ("contestant", "steps / s"), rows)
    ratios = {
        f"head_only_{size}": median_ratio(found[f"states, {size} runs"], found[f"backbone, {size} runs"])
        for size in SIZES
    }
    print_ratios(ratios)


def measure(config: RunConfig, data: TokenisedData, size: int, num_steps: int, number: int) -> float:
    """Return steps a second of a pack of heads, evaluations not counted."""
    longer = config.with_values(max_steps=num_steps + 1, eval_steps=num_steps + 1)
    configs = [longer.with_seed(number * size + seed) for seed in range(1, size + 1)]
    training = Training(Pack(load_backbone(config.backbone, find_device()), configs, NUM_CLASSES), data)
    warm_up = max(1, round(num_steps * (1 - TIMED_SHARE)))
    for _ in range(warm_up):
        training.advance(0)
    started, first = time.perf_counter(), training.step
    for _ in range(num_steps - warm_up):
        training.advance(0)
    return (training.step - first) / max(time.perf_counter() - started, 1e-9)


if __name__ == "__main__":
    main()
