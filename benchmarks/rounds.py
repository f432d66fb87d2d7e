"""Trains a round of steps for every line of the standard input: the process of a version that `versions` starts.

What is imported here is the version of the folder that PYTHONPATH names; any that has these four functions will do.
"""

import sys
from argparse import Namespace

from benchmarks.setting import build_config, draw_examples, load_data, train_pack


def main() -> None:
    """Print a round's text tokens a second for every precision and number that are read; the number draws examples."""
    dataset, backbone, num_steps, num_runs = sys.argv[1:]
    for line in sys.stdin:
        precision, number = line.split()
        config = build_config(Namespace(dataset=dataset, backbone=backbone), precision, int(num_steps))
        data = load_data(config)
        examples = draw_examples(data, config, int(number))
        print(train_pack(config, data, examples, int(num_runs)).tokens_per_second, flush=True)


if __name__ == "__main__":
    main()
