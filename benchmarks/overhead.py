"""What a trial costs beside its training: a search of trials of one step, and Ray Tune with trials that do nothing.

Also the start of a trial in a process that has run one before, from its configuration to its first step.
"""

import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune

from benchmarks.setting import (
    NUM_CLASSES,
    alternate,
    build_config,
    choose_size,
    find_device,
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
from xpe_core.backbones.backbone import load_backbone
from xpe_core.pack import Pack


class _Stub(tune.Trainable):
    """A trial that reports once and is done."""

    def setup(self, config: dict[str, Any]) -> None:
        """Take anything."""

    def step(self) -> dict[str, Any]:
        """Report a number."""
        return {"accuracy": 0.5, "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start again in the same process."""
        return True


def main() -> None:
    """Print seconds a trial."""
    arguments = parse_arguments(__doc__ or "")
    num_rounds, num_trials = choose_size(arguments, (5, 16), (5, 16), (1, 3))
    config = build_config(arguments, "float32", 1, source_set="eng_Latn", batch_size=1)
    values = config.without("seed", "learning_rate")
    sweep = make_sweep(
        kind="search",
        base=values,
        space={"learning_rate": {"log_uniform": [1e-4, 1e-2]}},
        num_samples=num_trials,
        seeds=[1],
        scheduler={"grace_period": 1},
        evaluation={"languages": ["eng_Latn"], "max_examples": 1},
    )
    data = load_data(config)

    def start_warm(number: int) -> float:
        started = time.perf_counter()
        loaded = load_data(config)
        backbone = load_backbone(config.backbone, find_device())
        Pack(backbone, [config.with_seed(number + seed) for seed in range(2)], NUM_CLASSES)
        assert loaded is data
        return time.perf_counter() - started

    def run_ours(number: int) -> float:
        with tempfile.TemporaryDirectory(prefix="xpe-bench-") as storage:
            plan = prepare("overhead", sweep)
            started = time.perf_counter()
            run_experiment(plan, Path(storage))
            return (time.perf_counter() - started) / num_trials

    warm = alternate({"start of a warm trial": start_warm}, num_rounds)
    with start_ray():
        searches = alternate(
            {"Ray Tune, stub": partial(_run_stubs, num_trials), "ours": run_ours}, num_rounds, not arguments.toy
        )
    rows = [(name, statistics.median(seconds)) for name, seconds in {**warm, **searches}.items()]
    print_table(f"{num_trials} trials of one step on one example", ("", "seconds a trial"), rows)
    print_ratios({"overhead": median_ratio(searches["ours"], searches["Ray Tune, stub"])})


def _run_stubs(num_trials: int, _: int) -> float:
    with tempfile.TemporaryDirectory(prefix="xpe-bench-") as storage:
        started = time.perf_counter()
        tune.run(_Stub, num_samples=num_trials, reuse_actors=True, storage_path=storage, verbose=0)
        return (time.perf_counter() - started) / num_trials


if __name__ == "__main__":
    main()
