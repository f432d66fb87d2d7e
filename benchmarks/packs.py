"""What a run costs in packs of 1, 2, 4 and 10: training and testing, a run's share of the time."""

import statistics
import time
from functools import partial

from benchmarks.setting import (
    LANGUAGES,
    NUM_CLASSES,
    alternate,
    build_config,
    choose_size,
    draw_examples,
    find_device,
    load_data,
    median_ratio,
    parse_arguments,
    print_ratios,
    print_table,
    train_pack,
)
from xpe_core.backbones.backbone import load_backbone
from xpe_core.pack import Pack
from xpe_core.training.evaluation import evaluate

SIZES = (1, 2, 4, 10)


def main() -> None:
    """Print text tokens a second over all runs, and seconds a run for testing."""
    arguments = parse_arguments(__doc__ or "", precision=("float32", "float32 or bfloat16"))
    num_steps, num_rounds, max_examples = choose_size(arguments, (4, 5, 10), (2, 5, 2), (1, 1, 1))
    config = build_config(arguments, arguments.precision, num_steps)
    data = load_data(config)

    def train_size(size: int, number: int) -> float:
        return train_pack(config, data, draw_examples(data, config, number), size).tokens_per_second

    def test_size(size: int, _: int) -> float:
        configs = [config.with_seed(seed) for seed in range(1, size + 1)]
        model = Pack(load_backbone(config.backbone, find_device()), configs, NUM_CLASSES)
        started = time.perf_counter()
        evaluate(model, data, "test", LANGUAGES, max_examples)
        return (time.perf_counter() - started) / size

    trained = alternate({str(size): partial(train_size, size) for size in SIZES}, num_rounds)
    tested = alternate({str(size): partial(test_size, size) for size in SIZES}, num_rounds)
    rows = [
        (
            size,
            statistics.median(trained[size]),
            median_ratio(trained[size], trained["1"]),
            statistics.median(tested[size]),
            median_ratio(tested["1"], tested[size]),
        )
        for size in trained
    ]
    columns = ("runs", "text tokens / s, all runs", "times one run", "test seconds a run", "times one run")
    print_table(f"packs, {arguments.precision}", columns, rows)
    print_ratios({f"pack_train_{size}": median_ratio(trained[size], trained["1"]) for size in trained})
    print_ratios({f"pack_evaluation_{size}": median_ratio(tested["1"], tested[size]) for size in tested})


if __name__ == "__main__":
    main()
