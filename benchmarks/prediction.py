"""Classifying 10,000 sentences with one trained adapter: transformers' pipeline on stock peft, and ours.

The adapter is trained here for a few steps, so that its probabilities are not all alike, and exported by `write_peft`;
both contestants get the same list of texts, tokenise it and return labels with probabilities. The pipeline runs at its
default batch size, 1, and at the size that is best on a part of the texts. Beside the same precision on both sides, it
is compared as either comes: the pipeline in float32, ours in the precision that `xpe_core.load` chooses.
"""

import os
import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, pipeline
from transformers.utils import logging

import xpe_core
from benchmarks.setting import (
    NUM_CLASSES,
    PRECISIONS,
    alternate,
    build_config,
    draw_examples,
    find_device,
    load_data,
    median_ratio,
    parse_arguments,
    print_ratios,
    print_table,
    take,
)
from xpe_core.adapters import Adapter, take_adapter, write_peft
from xpe_core.backbones import load_backbone, load_tokenizer
from xpe_core.checkpoints import find_checkpoint
from xpe_core.data import load_dataset
from xpe_core.model import PromptClassifier
from xpe_core.training import train

BATCH_SIZES = (2, 4, 8, 16, 32, 64)

Contestant = Callable[[Sequence[str]], np.ndarray]
"""Probabilities [N, C] of texts."""


def main() -> None:
    """Print sentences a second of all, how far their answers agree, and the ratios."""
    arguments = parse_arguments(__doc__ or "")
    num_texts, num_rounds, num_steps = (1_000, 3, 30) if arguments.quick else (10_000, 3, 60)
    texts = draw_texts(arguments, num_texts)
    adapter = train_adapter(arguments, num_steps)
    contestants: dict[str, Contestant] = {}
    with tempfile.TemporaryDirectory(prefix="xpe-adapter-") as folder:
        write_peft(adapter, folder)
        for precision in PRECISIONS:
            stock = load_stock(adapter, folder, precision)
            speeds = {size: _time(stock(size), texts[: num_texts // 5]) for size in BATCH_SIZES}
            best = min(speeds, key=lambda size: speeds[size])
            contestants[f"pipeline {precision}"] = stock(1)
            contestants[f"pipeline {precision}, batches of {best}"] = stock(best)
            contestants[f"ours {precision}"] = xpe_core.load(adapter, find_device(), precision).probabilities
    found: dict[str, np.ndarray] = {}
    measured = alternate(
        {name: _build_round(name, contestant, texts, found) for name, contestant in contestants.items()}, num_rounds
    )
    _print(texts, measured, found)
    chosen = xpe_core.load(adapter, find_device()).precision
    ratios = {}
    for name, seconds in measured.items():
        precision, size = name.removeprefix("pipeline ").partition(",")[::2]
        if name.startswith("pipeline"):
            kind = "best" if size else "default"
            ratios[f"prediction_{precision}_{kind}"] = median_ratio(seconds, measured[f"ours {precision}"])
            if precision == "float32":
                ratios[f"prediction_as_it_comes_{kind}"] = median_ratio(seconds, measured[f"ours {chosen}"])
    print_ratios(ratios)


def draw_texts(arguments: Namespace, num_texts: int) -> list[str]:
    """Return sentences of all languages and splits, drawn at random."""
    examples = load_dataset(arguments.dataset).examples
    places = np.random.default_rng(0).permutation(len(examples))[:num_texts]
    return [examples[place].text for place in places]


def train_adapter(arguments: Namespace, num_steps: int) -> Adapter:
    """Return an adapter of the benchmarks' task whose head reads the first position, which stock classes can do."""
    config = build_config(arguments, "bfloat16", num_steps, pooling="first", learning_rate=5e-3)
    data = load_data(config)
    model = PromptClassifier(load_backbone(config.backbone, find_device()), [config], NUM_CLASSES)
    for _ in train(model, take(data, draw_examples(data, config, 1))):
        pass
    return take_adapter(model, 0, data.label_names)


def load_stock(adapter: Adapter, folder: str, precision: str) -> Callable[[int], Contestant]:
    """Return what makes a contestant of a batch size, as the exported folder's README loads it."""
    logging.set_verbosity_error()
    names = dict(enumerate(adapter.label_names))
    base = AutoModelForSequenceClassification.from_pretrained(
        find_checkpoint(adapter.config.backbone),
        num_labels=len(names),
        id2label=names,
        label2id={name: number for number, name in names.items()},
        dtype=torch.float32,
    )
    model = PeftModel.from_pretrained(base, folder).eval().to(getattr(torch, precision))
    tokenizer = load_tokenizer(adapter.config.backbone)
    classify: Any = pipeline("text-classification", model=model, tokenizer=tokenizer, device=find_device())

    def build(batch_size: int) -> Contestant:
        def answer(texts: Sequence[str]) -> np.ndarray:
            rows = classify(
                list(texts), batch_size=batch_size, truncation=True, max_length=adapter.config.max_length, top_k=None
            )
            by_name = [{entry["label"]: entry["score"] for entry in row} for row in rows]
            return np.array([[row[name] for name in adapter.label_names] for row in by_name])

        return answer

    return build


def _time(contestant: Contestant, texts: Sequence[str]) -> float:
    started = time.perf_counter()
    contestant(texts)
    return time.perf_counter() - started


def _build_round(
    name: str, contestant: Contestant, texts: Sequence[str], found: dict[str, np.ndarray]
) -> Callable[[int], float]:
    def measure(number: int) -> float:
        part = texts if number else texts[:100]  # the warm-up
        started = time.perf_counter()
        found[name] = contestant(part)
        return time.perf_counter() - started

    return measure


def _print(texts: Sequence[str], measured: dict[str, list[float]], found: dict[str, np.ndarray]) -> None:
    reference = next(iter(found.values()))
    rows = []
    for name, seconds in measured.items():
        median = statistics.median(seconds)
        same = float((found[name].argmax(-1) == reference.argmax(-1)).mean())
        rows.append((name, median, len(texts) / median, same, float(np.abs(found[name] - reference).max())))
    columns = ("contestant", "seconds", "sentences / s", "labels as the first", "largest difference")
    print_table(f"{len(texts)} sentences, {torch.get_num_threads()} threads, {os.cpu_count()} cores", columns, rows)


if __name__ == "__main__":
    main()
