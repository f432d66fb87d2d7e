"""A search as a user writes it with Ray Tune alone: a function that trains one seed with peft under Trainer.

The seed is a grid over every sampled configuration, ASHA stops single trials, and as many trials run side by side as
there are cores. `python -m benchmarks.ray_peer SEARCH.yaml` runs the search that the file describes for `sweep/run.py`,
less what only that has (packs, Optuna, tables); with `--reuse-actors` a process trains one trial after another.
"""

import os
import sys
import tempfile
from functools import partial
from typing import Any

import numpy as np
import ray
import torch
from ray import tune
from transformers import TrainerCallback

from benchmarks import peft_trainer
from sweep.experiment.files import load_experiment
from sweep.experiment.search import Search
from xpe_core.config import RunConfig
from xpe_core.data.tokens import load_tokens


class _Reporter(TrainerCallback):
    """Reports the validation accuracy to Tune at every evaluation."""

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **others: Any) -> None:
        tune.report({"accuracy": metrics["eval_accuracy"], "step": state.global_step})


def train_trial(values: dict[str, Any], base: dict[str, Any], languages: list[str], max_examples: int | None) -> None:
    """Train one configuration with one seed, and test it on the target languages when it was not stopped."""
    torch.set_num_threads(1)
    config = RunConfig(**{**base, **values})
    data = load_tokens(config.data.dataset, config.backbone, config.data.max_length)
    source = data.resolve(config.data.source_set)
    trainer = peft_trainer.build_trainer(
        peft_trainer.build_model(config),
        config,
        data,
        data.select(source, "train"),
        [_Reporter()],
        data.select(source, "validation"),
        eval_strategy="steps",
        eval_steps=config.training.eval_steps,
        per_device_eval_batch_size=32,
    )
    trainer.train()
    examples = data.select(languages, "test", max_examples)
    correct = peft_trainer.predict(trainer, data, examples) == data.labels[examples]
    tune.report({"accuracy": 0.0, "step": config.training.max_steps, "test_accuracy": float(np.mean(correct))})


def search(sweep: Search, reuse_actors: bool) -> int:
    """Run the search and return how many trials were tested to their end."""
    base = sweep.config().values
    samplers: dict[str, Any] = {"seed": tune.grid_search(list(sweep.seeds))}
    for name, dimension in sweep.space.items():
        if dimension.choice is not None:
            samplers[name] = tune.choice(list(dimension.choice))
        else:
            sample = tune.loguniform if dimension.log_uniform else tune.uniform
            samplers[name] = sample(*dimension.bounds)
    languages = list(sweep.evaluation.languages)
    results = tune.Tuner(
        tune.with_resources(
            partial(train_trial, base=base, languages=languages, max_examples=sweep.evaluation.max_examples),
            {"cpu": 1},
        ),
        param_space=samplers,
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=sweep.num_samples,
            reuse_actors=reuse_actors,
            scheduler=tune.schedulers.ASHAScheduler(
                time_attr="step",
                max_t=sweep.config().training.max_steps + 1,
                grace_period=sweep.scheduler.grace_period,
                reduction_factor=sweep.scheduler.reduction_factor,
            ),
        ),
        run_config=tune.RunConfig(storage_path=tempfile.mkdtemp(prefix="xpe-peer-"), verbose=0),
    ).fit()
    return sum("test_accuracy" in result.metrics for result in results)


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = os.getcwd()
    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    _, sweep = load_experiment(sys.argv[1])
    assert isinstance(sweep, Search)
    print(f"{search(sweep, '--reuse-actors' in sys.argv)} trials tested")
    ray.shutdown()
