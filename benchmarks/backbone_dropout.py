"""What the backbone's own dropout costs in training: times of a step with it and without, in both precisions."""

import statistics
from functools import partial

from benchmarks.setting import (
    PRECISIONS,
    alternate,
    build_config,
    choose_size,
    draw_examples,
    load_data,
    median_ratio,
    parse_arguments,
    print_ratios,
    print_table,
    train_pack,
)

RATES = (0.0, 0.1)
"""Of the backbone's dropout: none, and the published one."""


def main() -> None:
    """Print seconds a step with and without dropout, and their ratio."""
    arguments = parse_arguments(__doc__ or "", runs=(1, "runs in the pack"))
    num_steps, num_rounds = choose_size(arguments, (6, 9), (4, 5), (1, 1))
    configs = {
        (precision, rate): build_config(arguments, precision, num_steps, backbone_dropout=rate)
        for precision in PRECISIONS
        for rate in RATES
    }
    data = load_data(next(iter(configs.values())))

    def measure(precision: str, rate: float, number: int) -> float:
        config = configs[precision, rate]
        examples = draw_examples(data, config, number)
        return train_pack(config, data, examples, arguments.runs).seconds / num_steps

    contestants = {f"{precision}, {rate:g}": partial(measure, precision, rate) for precision, rate in configs}
    seconds = alternate(contestants, num_rounds)
    rows = [(name, statistics.median(values)) for name, values in seconds.items()]
    print_table("dropout of the backbone", ("precision, rate", "seconds a step"), rows)
    without, with_it = ([f"{precision}, {rate:g}" for precision in PRECISIONS] for rate in RATES)
    ratios = [median_ratio(seconds[one], seconds[other]) for one, other in zip(with_it, without, strict=True)]
    print_ratios({f"dropout_{precision}": ratio for precision, ratio in zip(PRECISIONS, ratios, strict=True)})


if __name__ == "__main__":
    main()
