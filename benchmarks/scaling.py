"""The same search with 1 to N workers of a local Ray, one core each."""

import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.setting import (
    alternate,
    build_config,
    choose_size,
    load_data,
    median_ratio,
    parse_arguments,
    print_ratios,
    print_table,
)
from sweep.cluster.start import start_ray
from sweep.driver.tuner import run_experiment
from sweep.experiment.config import make_sweep
from sweep.planning.plan import prepare


def main() -> None:
    """Print seconds and how many times faster than one worker."""
    arguments = parse_arguments(__doc__ or "", workers=(os.cpu_count() or 1, "most workers"))
    trials_a_worker, num_steps, num_rounds = choose_size(arguments, (4, 6, 5), (2, 2, 5), (1, 1, 1))
    num_trials = trials_a_worker * arguments.workers
    config = build_config(arguments, "float32", num_steps, source_set="eng_Latn", batch_size=16)
    load_data(config)

    def run_search(num_workers: int, _: int) -> float:
        sweep = make_sweep(
            kind="search",
            base=config.without("seed", "learning_rate"),
            space={"learning_rate": {"log_uniform": [1e-4, 1e-2]}},
            num_samples=num_trials,
            seeds=[1, 2],
            scheduler={"grace_period": num_steps},
            evaluation={"languages": ["eng_Latn"], "max_examples": 20},
            resources={"cpus_per_trial": 1, "max_concurrent_trials": num_workers},
        )
        with tempfile.TemporaryDirectory(prefix="xpe-bench-") as storage:
            started = time.perf_counter()
            run_experiment(prepare("scaling", sweep), Path(storage))
            return time.perf_counter() - started

    counts = sorted({1, *(2**power for power in range(1, 10) if 2**power < arguments.workers), arguments.workers})
    with start_ray(num_cpus=arguments.workers):
        seconds = alternate({str(count): partial(run_search, count) for count in counts}, num_rounds, not arguments.toy)
    rows = [(count, statistics.median(times), median_ratio(seconds["1"], times)) for count, times in seconds.items()]
    print_table(f"{num_trials} trials, 2 runs each", ("workers", "seconds", "times one worker"), rows)
    print_ratios({f"scaling_{count}": median_ratio(seconds["1"], times) for count, times in seconds.items()})


if __name__ == "__main__":
    main()
