"""Train and test a pack in a process that may take little more memory, and again without that limit.

    python -m tests.making.little_memory DATASET BACKBONE

Prints a line of JSON for each: the positions of the largest pass, how often memory ran out, losses, and test counts.
"""

import json
import resource
import sys
from pathlib import Path

import torch

from xpe_core.backbones.backbone import load_backbone
from xpe_core.config import RunConfig
from xpe_core.data.tokens import load_tokens
from xpe_core.pack import Pack, count_tokens
from xpe_core.training import batches, passes
from xpe_core.training.evaluation import evaluate
from xpe_core.training.training import Training

NUM_STEPS = 3
ROOM_BYTES = 80 * 2**20
"""Beside what the process has by then; a pass over all texts takes several times as much."""


def main(dataset: str, backbone: str) -> None:
    """Take a step that fits, then the same few steps with and without a limit."""
    config = RunConfig(
        backbone=backbone,
        dataset=dataset,
        source_set="eng_Latn,deu_Latn",
        num_virtual_tokens=6,
        encoder_hidden_size=16,
        batch_size=96,
        max_length=16,
        optimizer="adamw",
        precision="float32",
        pooling="mean",
    )
    train(config, [1])  # what is loaded and cached once is in memory after it
    passes.CPU_POSITIONS = 1_000_000
    batches.BATCH_TOKENS["cpu"] = 1_000_000
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM_BYTES, hard))
    print(json.dumps(train(config, [1, 2])))
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    print(json.dumps(train(config, [1, 2])))


def train(config: RunConfig, seeds: list[int]) -> dict[str, object]:
    """Train a pack for a few steps and test it."""
    data = load_tokens(config.data.dataset, config.backbone, config.data.max_length)
    model = Pack(load_backbone(config.backbone), [config.with_seed(seed) for seed in seeds], 3)
    training = Training(model, data)
    ran_out: list[str] = []
    is_out_of_memory = passes.is_out_of_memory

    def count(error: RuntimeError | MemoryError) -> bool:
        ran_out.append(str(error))  # the error itself would hold what it had in memory
        return is_out_of_memory(error)

    passes.is_out_of_memory = batches.is_out_of_memory = count
    sizes: list[int] = []
    run = training._passes.run

    def watch(lengths, work):  # type: ignore[no-untyped-def]
        done = run(lengths, work)
        for part, _ in done:
            sizes.append((part.examples.stop - part.examples.start) * (part.width + count_tokens(config)))
        return done

    training._passes.run = watch  # type: ignore[method-assign]
    reports = [training.advance() for _ in range(NUM_STEPS)]  # an epoch is one batch: there is one every step
    scores = evaluate(model, data, "test", ["eng_Latn", "deu_Latn", "kat_Geor", "yor_Latn"])
    passes.is_out_of_memory = batches.is_out_of_memory = is_out_of_memory
    return {
        "positions": max(sizes),
        "out_of_memory": len(ran_out),
        "losses": [run.train_loss for report in reports if report for run in report.runs],
        "num_correct": [score.score_sums["accuracy"] for run_scores in scores for score in run_scores],
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
