"""What an experiment costs before it is run: runs, steps, tokens, operations, and hours at a measured or a stated rate.

Nothing is known of what early stopping saves, so a search's figures are upper bounds.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from transformers import PreTrainedConfig

from sweep.cluster.capacity import Share, is_up
from sweep.experiment.workload import Workload
from sweep.planning.panel import Panel
from sweep.planning.plan import Plan
from sweep.records.runs import RunKey
from xpe_core.backbones.backbone import load_backbone, read_config
from xpe_core.config import RunConfig
from xpe_core.data.tokens import TokenisedData
from xpe_core.errors import InputError
from xpe_core.locations import use_locations
from xpe_core.pack import Pack, count_tokens, find_parts, reads, trains_on_states
from xpe_core.training.frozen_states import compute_states
from xpe_core.training.meter import count_operations, count_passes
from xpe_core.training.training import Training

CALIBRATION_STEPS = 3
"""Measured training steps at most, after a first one that is not."""
CALIBRATION_SECONDS = 20.0
"""Time after which no other step is begun."""

Measure = Callable[[tuple[str, ...], str, int | None], tuple[int, float]]
"""Takes languages, a split and a limit; returns how many examples there are, and their mean length in tokens."""
Costs = NDArray[np.float64]
"""Steps, text tokens and operations."""


@dataclass(frozen=True)
class Estimate:
    """Upper bounds for a whole experiment."""

    num_trials: int
    num_runs: int
    num_steps: int
    """Optimizer steps of all runs."""
    num_tokens: int
    """Text tokens trained on, by all runs."""
    num_operations: float
    """Floating-point operations: training, validation at every evaluation, and the test."""

    def hours(self, rate: float) -> float:
        """Return hours on one device that does `rate` operations a second."""
        return self.num_operations / rate / 3600


def estimate(plan: Plan) -> Estimate:
    """Return what all of the experiment's trials take if none is stopped early.

    Of a search the configurations are not known yet: the corners of its space stand for them.
    """
    steps, tokens, operations = np.sum([_estimate_panel(panel) for panel in plan.panels], axis=0).tolist()
    return Estimate(plan.num_trials, plan.num_runs, round(steps), round(tokens), operations)


def _estimate_panel(panel: Panel) -> Costs:
    """Return steps, text tokens and operations of all runs on one backbone and data set."""
    shape = read_config(panel.config.backbone)

    @cache
    def measure(languages: tuple[str, ...], split: str, max_examples: int | None) -> tuple[int, float]:
        """Return how many examples there are, and their mean length."""
        lengths = panel.data.lengths[panel.data.select(languages, split, max_examples)]
        return len(lengths), float(np.mean(lengths))

    totals = np.zeros(3)
    for workload in panel.workloads:
        costs = [_cost(panel, config, shape, measure, workload) for config in workload.configs]
        totals += workload.num_runs * np.mean(costs, axis=0)
    return totals


def _cost(
    panel: Panel, config: RunConfig, shape: PreTrainedConfig, measure: Measure, workload: Workload
) -> tuple[float, float, float]:
    """Return steps, text tokens and operations of one run."""
    only_first, keys = reads(config) == "first", find_parts(config)[0].num_keys(config, shape.num_hidden_layers)

    def forward(languages: tuple[str, ...], split: str, max_examples: int | None) -> tuple[int, float, float]:
        """Return examples, mean tokens, and operations of a forward pass over them."""
        num_examples, mean_tokens = measure(languages, split, max_examples)
        width = round(mean_tokens) + count_tokens(config)
        return num_examples, mean_tokens, num_examples * count_operations(shape, 1, width, only_first, keys)

    target = workload.adapted_to
    sources = panel.data.sources(config.data.source_set) if target is None else (target,)
    tested = panel.target_languages if target is None else (target,)
    num_examples, mean_tokens, once = forward(sources, "train", config.data.max_train_examples)
    seen = config.training.max_steps * min(config.training.batch_size, num_examples)
    eval_steps = config.training.eval_steps or max(1, num_examples // config.training.batch_size)
    validated = tuple(dict.fromkeys([*sources, *(panel.selection_languages if target is None else ())]))
    _, _, validation = forward(validated, "validation", config.training.max_validation_examples)
    test = forward(tested, "test", panel.sweep.evaluation.max_examples)[2] if workload.is_tested else 0.0
    if not find_parts(config)[1].trains:
        return 0.0, 0.0, validation + test
    if trains_on_states(config):  # every text goes through the backbone once, whatever is trained on it
        return config.training.max_steps, seen * mean_tokens, once + validation + test
    operations = (
        count_passes(config) * once * seen / num_examples
        + validation * -(-config.training.max_steps // eval_steps)
        + test
    )
    return config.training.max_steps, seen * mean_tokens, operations


def measure_rate(plan: Plan, share: Share) -> float:
    """Return operations a second of a few training steps of the first configuration, on a GPU with a trial's runs.

    They are run where a trial would be, with a trial's `share` of a node. InputError where no node that is up can hold
    one: a dry run starts none.
    """
    if not is_up(share):
        raise InputError(
            "no node that is up can hold a trial, so nothing can be measured: state a rate with --tflops, such as "
            "--tflops 60 for half of what an A100 does in float16"
        )
    config = min(plan.sweep.corners, key=trains_on_states)  # the first that needs the backbone in a step
    runs = plan.runs[: plan.pack_size if share.gpus else 1]  # one run fills a CPU
    data = ray.put(plan.panel_of(config).data.in_memory())
    remote = _measure_rate.options(num_cpus=share.cpus, num_gpus=share.gpus)
    return float(ray.get(remote.remote(config.values, runs, data, share, plan.places)))


@ray.remote(max_calls=1)
def _measure_rate(
    values: Mapping[str, object], runs: Sequence[RunKey], data: TokenisedData, share: Share, places: Mapping[str, str]
) -> float:
    use_locations(places)
    torch.set_num_threads(share.cpus)
    short = RunConfig(**{**values, "max_steps": CALIBRATION_STEPS + 2, "eval_steps": None, "warmup_ratio": 0.0})
    backbone = load_backbone(short.backbone, "cuda" if share.gpus else "cpu")
    packed = [short.with_seed(run.seed) for run in runs]
    pack = Pack(backbone, packed, len(data.label_names))
    if trains_on_states(short):
        return _measure_states(pack, data, share)
    training = Training(pack, data)
    training.advance(0)  # the first step takes memory and reads caches
    before, started = training.work.num_operations, _now(share)
    training.advance(0)
    while training.step <= CALIBRATION_STEPS and _now(share) - started < CALIBRATION_SECONDS:
        training.advance(0)
    return (training.work.num_operations - before) / (_now(share) - started)


def _now(share: Share) -> float:
    """Return seconds, when the device has done what it was given."""
    if share.gpus:
        torch.cuda.synchronize()
    return time.perf_counter()


def _measure_states(pack: Pack, data: TokenisedData, share: Share) -> float:
    """Return operations a second where texts go through the backbone once and no step does."""
    config = pack.configs[0]
    rows = data.select(data.sources(config.data.source_set), "train")[: CALIBRATION_STEPS * config.training.batch_size]
    shape, only_first = pack.backbone.model.config, pack.reads_first
    operations = sum(count_operations(shape, 1, int(length), only_first) for length in data.lengths[rows])
    compute_states(pack, data, rows[:1])  # the first pass takes memory
    started = _now(share)
    compute_states(pack, data, rows)
    return operations / (_now(share) - started)
