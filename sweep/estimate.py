"""What an experiment costs before it is run: runs, steps, tokens, operations, and hours at a measured or a stated rate.

Nothing is known of what early stopping saves, so a search's figures are upper bounds.
"""

from dataclasses import dataclass

import numpy as np

from sweep.plan import Plan
from xpe_core.backbones import load_backbone, read_config
from xpe_core.config import RunConfig
from xpe_core.meter import count_operations
from xpe_core.model import PromptClassifier
from xpe_core.tokens import TokenisedData
from xpe_core.training import Training

CALIBRATION_STEPS = 3


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
    sweep, corners = plan.sweep, plan.sweep.corners
    parts = [_cost(plan, corner) for corner in corners]
    share = plan.num_configurations / len(corners)
    size = sweep.resources.seeds_per_trial or len(sweep.seeds)
    packs = -(-len(sweep.seeds) // size) if sweep.kind != "search" else 1
    num_runs = plan.num_configurations * len(sweep.seeds)
    steps, tokens, operations = (len(sweep.seeds) * share * sum(values) for values in zip(*parts, strict=True))
    return Estimate(plan.num_configurations * packs, num_runs, round(steps), round(tokens), operations)


def _cost(plan: Plan, config: RunConfig) -> tuple[float, float, float]:
    """Return steps, text tokens and operations of one run."""
    data, shape = plan.data, read_config(config.backbone)
    only_first = config.pooling == "first"

    def forward(languages: tuple[str, ...], split: str, max_examples: int | None = None) -> tuple[int, float, float]:
        """Return examples, mean tokens, and operations of a forward pass over them."""
        lengths = data.lengths[data.select(languages, split, max_examples)]
        width = round(float(np.mean(lengths))) + config.num_virtual_tokens
        operations = count_operations(shape, 1, width, only_first)
        return len(lengths), float(np.mean(lengths)), operations * len(lengths)

    sources = data.resolve(config.source_set)
    num_examples, mean_tokens, once = forward(sources, "train")
    seen = config.max_steps * min(config.batch_size, num_examples)
    eval_steps = config.eval_steps or max(1, num_examples // config.batch_size)
    _, _, validation = forward(
        _union(data, sources, plan.selection_languages), "validation", config.max_validation_examples
    )
    _, _, test = forward(plan.target_languages, "test", plan.sweep.evaluation.max_examples)
    operations = 2 * once * seen / num_examples + validation * -(-config.max_steps // eval_steps) + test
    return config.max_steps, seen * mean_tokens, operations


def _union(data: TokenisedData, *groups: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(language for group in groups for language in group))


def measure_rate(plan: Plan, device: str) -> float:
    """Return operations a second of a few training steps of the first configuration on this machine's `device`."""
    config = plan.sweep.corners[0]
    values = {**config.model_dump(), "max_steps": CALIBRATION_STEPS + 1, "eval_steps": None, "warmup_ratio": 0.0}
    short = RunConfig(**values)
    backbone = load_backbone(short.backbone, device)
    model = PromptClassifier(backbone, [short], len(plan.data.label_names))
    training = Training(model, plan.data)
    training.advance(0)  # the first step takes memory and reads caches
    before = training.work
    while training.step <= CALIBRATION_STEPS - 1:
        training.advance(0)
    after = training.work
    return (after.num_operations - before.num_operations) / (after.seconds - before.seconds)
