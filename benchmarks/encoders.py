"""What the kinds of prompt encoders cost: training a pack of four with each, beside the MLP."""

import statistics
from functools import partial

from benchmarks.setting import (
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

KINDS = ("mlp", "lstm", "attention", "none")
NUM_RUNS = 4


def main() -> None:
    """Print text tokens a second over all runs."""
    arguments = parse_arguments(__doc__ or "", precision=("float32", "float32 or bfloat16"))
    num_steps, num_rounds = choose_size(arguments, (4, 5), (2, 3), (1, 1))
    if find_device() == "cuda":
        num_steps *= 10  # batches of a length that was not seen before take longer there
    config = build_config(arguments, arguments.precision, num_steps)
    data = load_data(config)

    def train_kind(kind: str, number: int) -> float:
        own = build_config(arguments, arguments.precision, num_steps, encoder_type=kind)
        return train_pack(own, data, draw_examples(data, own, number), NUM_RUNS).tokens_per_second

    trained = alternate({kind: partial(train_kind, kind) for kind in KINDS}, num_rounds)
    rows = [(kind, statistics.median(trained[kind]), median_ratio(trained[kind], trained["mlp"])) for kind in KINDS]
    print_table(f"encoders, {arguments.precision}", ("encoder", "text tokens / s, all runs", "times the MLP"), rows)
    print_ratios({f"encoder_{kind}": median_ratio(trained[kind], trained["mlp"]) for kind in KINDS})


if __name__ == "__main__":
    main()
