"""Testing one prompt on twenty languages: peft under transformers' Trainer, at its best batch size, and ours."""

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from benchmarks import peft_trainer
from benchmarks.setting import (
    LANGUAGES,
    NUM_CLASSES,
    PRECISIONS,
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
from xpe_core.backbones.backbone import load_backbone
from xpe_core.pack import Pack
from xpe_core.training.evaluation import evaluate

BATCH_SIZES = (8, 16, 32, 64, 256)


def main() -> None:
    """Print seconds of both, in both precisions."""
    arguments = parse_arguments(__doc__ or "")
    max_examples, num_rounds = choose_size(arguments, (60, 7), (20, 5), (1, 1))
    data = load_data(build_config(arguments, "float32", 1))
    examples = data.select(LANGUAGES, "test", max_examples)
    rows, ratios = [], {}
    for precision in PRECISIONS:
        config = build_config(arguments, precision, 1)
        model = Pack(load_backbone(config.backbone, find_device()), [config], NUM_CLASSES)
        peer = peft_trainer.build_model(config)

        def time_peer(batch_size: int, precision: str = precision, peer: object = peer) -> float:
            trainer = peft_trainer.build_trainer(
                peer,
                build_config(arguments, precision, 1),
                data,
                examples[:32],
                per_device_eval_batch_size=batch_size,
                bf16=False,
                bf16_full_eval=precision == "bfloat16",
            )
            started = time.perf_counter()
            peft_trainer.predict(trainer, data, examples)
            return time.perf_counter() - started

        def time_ours(_: int, model: Pack = model) -> float:
            started = time.perf_counter()
            evaluate(model, data, "test", LANGUAGES, max_examples)
            return time.perf_counter() - started

        time_peer(BATCH_SIZES[0])
        by_size = {size: time_peer(size) for size in BATCH_SIZES}
        best = min(by_size, key=lambda size: by_size[size])
        measured = alternate({"peft": partial(_ignore_round, time_peer, best), "ours": time_ours}, num_rounds)
        ratios[f"evaluation_{precision}"] = median_ratio(measured["peft"], measured["ours"])
        num_tokens = int(np.sum(data.lengths[examples]))
        for name, seconds in measured.items():
            shown = f"{name}, batches of {best}" if name == "peft" else name
            rows.append((precision, shown, statistics.median(seconds), num_tokens / statistics.median(seconds)))
    title = f"{len(LANGUAGES)} languages, {len(examples)} examples, {torch.get_num_threads()} threads"
    print_table(title, ("precision", "contestant", "seconds", "text tokens / s"), rows)
    print_ratios(ratios)


def _ignore_round(time_peer: Callable[[int], float], batch_size: int, _: int) -> float:
    return time_peer(batch_size)


if __name__ == "__main__":
    main()
