"""Classifying 10,000 sentences with one trained adapter: transformers' pipeline on stock peft, and ours.

The adapter is trained here for a few steps, so that its probabilities are not all alike, and exported by `write_peft`;
both contestants get the same list of texts, tokenise it and return labels with probabilities. The pipeline runs at its
default batch size, 1, and at the size that is best on a part of the texts. Beside the same precision on both sides, it
is compared as either comes: the pipeline in float32, ours in the precision that `xpe_core.load` chooses.
"""

import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, pipeline
from transformers.utils import logging

import xpe_core
from benchmarks.setting import (
    NUM_CLASSES,
    PRECISIONS,
    alternate,
    build_config,
    choose_size,
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
from xpe_core.backbones.backbone import load_backbone, load_tokenizer
from xpe_core.backbones.files import find_folder
from xpe_core.data import load_dataset
from xpe_core.pack import Pack
from xpe_core.training.training import train

BATCH_SIZES = (2, 4, 8, 16, 32, 64)

Contestant = Callable[[Sequence[str]], np.ndarray]
"""Probabilities [N, C] of texts."""


def main() -> None:
    """Print sentences a second of all, how far their answers agree, and the ratios."""
    arguments = parse_arguments(__doc__ or "", rounds=(3, "times that every contestant takes its turn"))
    num_texts, num_steps = choose_size(arguments, (10_000, 60), (1_000, 30), (20, 1))
    texts = draw_texts(arguments, num_texts)
    part = texts[: num_texts // 5]
    adapter = train_adapter(arguments, num_steps)
    found: dict[str, np.ndarray] = {}
    rounds: dict[str, Callable[[int], float]] = {}
    with tempfile.TemporaryDirectory(prefix="xpe-adapter-") as folder:
        write_peft(adapter, folder)
        for precision in PRECISIONS:
            stock = load_stock(adapter, folder, precision)
            speeds = {size: _measure(stock(size), part[:400], {}, "") for size in BATCH_SIZES}
            best = max(speeds, key=lambda size: speeds[size])
            ours = xpe_core.load(adapter, find_device(), precision).probabilities
            # one by one, what is slow is as slow on a part of the texts
            for name, contestant, given in (
                (f"{precision}: pipeline", stock(1), part),
                (f"{precision}: pipeline, batches of {best}", stock(best), texts),
                (f"{precision}: ours", ours, texts),
            ):
                rounds[name] = _build_round(name, contestant, given, found)
    measured = alternate(rounds, arguments.rounds)
    print_speeds(num_texts, measured, found)
    print_ratios(find_ratios(measured, xpe_core.load(adapter, find_device()).precision))


def find_ratios(measured: Mapping[str, Sequence[float]], chosen: str) -> dict[str, float]:
    """Return how many times as fast ours is as the pipeline at its default batch size and at its best.

    In each precision, and as either comes: the pipeline in float32, ours in the precision that is `chosen`.
    """
    ratios = {}
    for name, speeds in measured.items():
        precision, _, contestant = name.partition(": ")
        if contestant == "ours":
            continue
        kind = "best" if "batches" in contestant else "default"
        ratios[f"prediction_{precision}_{kind}"] = median_ratio(measured[f"{precision}: ours"], speeds)
        if precision == "float32":
            ratios[f"prediction_as_they_come_{kind}"] = median_ratio(measured[f"{chosen}: ours"], speeds)
    return ratios


def draw_texts(arguments: Namespace, num_texts: int) -> list[str]:
    """Return sentences of all languages and splits, drawn at random."""
    examples = load_dataset(arguments.dataset).examples
    places = np.random.default_rng(0).permutation(len(examples))[:num_texts]
    return [examples[place].text for place in places]


def train_adapter(arguments: Namespace, num_steps: int) -> Adapter:
    """Return an adapter of the benchmarks' task whose head reads the first position, which stock classes can do."""
    config = build_config(arguments, "bfloat16", num_steps, pooling="first", learning_rate=5e-3)
    data = load_data(config)
    model = Pack(load_backbone(config.backbone, find_device()), [config], NUM_CLASSES)
    for _ in train(model, take(data, draw_examples(data, config, 1))):
        pass
    return take_adapter(model, 0, data.label_names)


def load_stock(adapter: Adapter, folder: str, precision: str) -> Callable[[int], Contestant]:
    """Return what makes a contestant of a batch size, as the exported folder's README loads it."""
    from peft import PeftModel  # comes with the extra `bench` only

    logging.set_verbosity_error()
    names = dict(enumerate(adapter.label_names))
    base = AutoModelForSequenceClassification.from_pretrained(
        find_folder(adapter.config.backbone),
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
                list(texts),
                batch_size=batch_size,
                truncation=True,
                max_length=adapter.config.data.max_length,
                top_k=None,
            )
            by_name = [{entry["label"]: entry["score"] for entry in row} for row in rows]
            return np.array([[row[name] for name in adapter.label_names] for row in by_name])

        return answer

    return build


def print_speeds(num_texts: int, measured: Mapping[str, Sequence[float]], found: Mapping[str, np.ndarray]) -> None:
    """Print sentences a second, and how far the answers are from the first contestant's on what both have answered."""
    reference = next(iter(found.values()))
    rows = []
    for name, speeds in measured.items():
        own = found[name][: len(reference)]
        same = float((own.argmax(-1) == reference.argmax(-1)).mean())
        rows.append((name, statistics.median(speeds), same, float(np.abs(own - reference).max())))
    columns = ("contestant", "sentences / s", "labels as the first", "largest difference of a probability")
    print_table(f"{num_texts} sentences, {torch.get_num_threads()} threads", columns, rows)


def _build_round(
    name: str, contestant: Contestant, texts: Sequence[str], found: dict[str, np.ndarray]
) -> Callable[[int], float]:
    return lambda number: _measure(contestant, texts if number else texts[:100], found, name)


def _measure(contestant: Contestant, texts: Sequence[str], found: dict[str, np.ndarray], name: str) -> float:
    """Return sentences a second, and keep the answers under the contestant's name."""
    started = time.perf_counter()
    found[name] = contestant(texts)
    return len(texts) / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
