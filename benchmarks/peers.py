"""The same prompt, data, seeds and steps by the tools people have, and by ours.

(a) peft's prompt encoder under transformers' Trainer, one seed at a time; (b) that inside a plain Ray Tune function;
(c) ours, a pack of runs; (d) where `--micm COMMAND` says how to start it, micm-nlp 0.5.1, the authors' framework, by
its own command line. `--parts accuracy` trains (a) and (c) for six seeds and compares what was learnt.
"""

import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from functools import partial
from pathlib import Path

import numpy as np
import yaml

from benchmarks import peft_trainer
from benchmarks.micm import run_micm
from benchmarks.setting import (
    LANGUAGES,
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
    train_pack,
)
from xpe_core.backbones.backbone import load_backbone
from xpe_core.backbones.files import find_folder
from xpe_core.config import RunConfig
from xpe_core.data.tokens import TokenisedData
from xpe_core.pack import Pack
from xpe_core.tasks.scores import mean_score
from xpe_core.training.evaluation import evaluate
from xpe_core.training.training import train

PARTS = ("training", "search", "accuracy")


def main() -> None:
    """Print tables and ratios of the parts that were asked for."""
    arguments = parse_arguments(
        __doc__ or "",
        parts=("training,search", f"what to measure, of {','.join(PARTS)}"),
        runs=(2, "runs in our pack"),
        precision=("bfloat16", "of the search, for all: float32 where a CPU has no bfloat16 products"),
        micm=("", "how to start micm-nlp's command line, such as 'PYTHON -m micm_nlp'"),
    )
    parts = arguments.parts.split(",")
    if unknown := sorted(set(parts) - set(PARTS)):
        sys.exit(f"--parts: {unknown[0]!r} is none of {', '.join(PARTS)}")
    ratios: dict[str, float] = {}
    if "training" in parts:
        for precision in PRECISIONS:
            ratios[f"train_{precision}"] = compare_training(arguments, precision)
    if "accuracy" in parts:
        compare_accuracy(arguments)
    if "search" in parts:
        ratios |= compare_search(arguments)
    print_ratios(ratios)


def compare_training(arguments: Namespace, precision: str) -> float:
    """Print text tokens a second of all contestants and return ours over the best peer's.

    A round is one epoch over examples drawn for it, the same for all. It is long enough that a first step, in which
    memory is taken and which under Trainer has the longest texts, is of little weight.
    """
    num_steps, num_rounds = choose_size(arguments, (60, 7), (20, 5), (2, 1))
    config = build_config(arguments, precision, num_steps)
    data = load_data(config)

    def train_ours(number: int) -> float:
        return train_pack(config, data, draw_examples(data, config, number), arguments.runs).tokens_per_second

    def train_peft(number: int) -> float:
        examples = draw_examples(data, config, number)
        return peft_trainer.train_peer(config.with_seed(number), data, examples).tokens_per_second

    def train_micm(number: int) -> float:
        examples = draw_examples(data, config, number)
        with tempfile.TemporaryDirectory(prefix="xpe-peer-") as scratch:
            folder = Path(scratch)
            write_subset(data, Path(arguments.dataset), examples, folder / "data")
            result = run_micm(
                shlex.split(arguments.micm),
                find_folder(config.backbone),
                folder / "data",
                folder / "work",
                seed=number,
                max_steps=num_steps,
                precision=config.precision,
                languages=["eng_Latn"],
                eval_batch_size=32,
            )
        return int(data.lengths[examples].sum()) / result.train_seconds

    contestants = {"(a) peft, Trainer": train_peft, f"(c) ours, {arguments.runs} runs": train_ours}
    if arguments.micm:
        contestants["(d) micm-nlp"] = train_micm
    measured = alternate(contestants, num_rounds, warm_up=False)
    ours = next(name for name in measured if name.startswith("(c)"))
    best = max((name for name in measured if name != ours), key=lambda name: statistics.median(measured[name]))
    rows = [(name, statistics.median(rates), median_ratio(measured[ours], rates)) for name, rates in measured.items()]
    title = f"training, {precision}: {num_steps} steps of {config.training.batch_size}, {num_rounds} rounds"
    print_table(title, ("contestant", "text tokens / s", "ours is faster by"), rows)
    return median_ratio(measured[ours], measured[best])


def write_subset(data: TokenisedData, dataset: Path, examples: np.ndarray, folder: Path) -> None:
    """Write SIB-200's layout with these training examples, and a few test examples."""
    first = {language: int(data.select([language], "train")[0]) for language in data.resolve("enarzho")}
    for language, start in first.items():
        own = examples[data.language_ids[examples] == data.languages.index(language)] - start
        (folder / language).mkdir(parents=True)
        for split in ("train", "dev", "test"):
            header, *lines = (dataset / language / f"{split}.tsv").read_text(encoding="utf-8").splitlines()
            kept = [lines[row] for row in own] if split == "train" else lines[:8]
            (folder / language / f"{split}.tsv").write_text("\n".join([header, *kept, ""]), encoding="utf-8")
        names = (dataset / language / "labels.txt").read_text(encoding="utf-8")
        (folder / language / "labels.txt").write_text(names, encoding="utf-8")


def compare_accuracy(arguments: Namespace) -> None:
    """Print the mean test accuracy of (a) and (c) over seeds, with standard errors."""
    num_steps, num_seeds, max_examples = choose_size(arguments, (150, 6, 204), (60, 6, 50), (2, 2, 2))
    found: dict[str, list[float]] = {}
    data = load_data(build_config(arguments, "float32", num_steps))
    for precision in PRECISIONS:
        config = build_config(arguments, precision, num_steps)
        configs = [config.with_seed(seed) for seed in range(1, num_seeds + 1)]
        model = Pack(load_backbone(config.backbone, find_device()), configs, NUM_CLASSES)
        # one evaluation, at the end: the checkpoint is the last one, as under Trainer
        for _ in train(model, data):
            pass
        scores = evaluate(model, data, "test", LANGUAGES, max_examples)
        found[f"(c) ours, {precision}"] = [mean_score(run) for run in scores]
        found[f"(a) peft, {precision}"] = [score_peft(one, data, max_examples) for one in configs]
    rows = [
        (name, statistics.mean(values), statistics.stdev(values) / len(values) ** 0.5, len(values))
        for name, values in found.items()
    ]
    title = f"accuracy on {len(LANGUAGES)} languages after {num_steps} steps"
    print_table(title, ("contestant", "mean", "standard error", "seeds"), rows)


def score_peft(config: RunConfig, data: TokenisedData, max_examples: int) -> float:
    """Train one seed the usual way and return its mean test accuracy over the languages."""
    examples = data.select(data.resolve(config.data.source_set), "train")
    trainer = peft_trainer.build_trainer(
        peft_trainer.build_model(config), config, data, examples, per_device_eval_batch_size=16
    )
    trainer.train()
    tested = data.select(LANGUAGES, "test", max_examples)
    correct = peft_trainer.predict(trainer, data, tested) == data.labels[tested]
    names = np.array(data.languages)[data.language_ids[tested]]
    return float(np.mean([correct[names == language].mean() for language in LANGUAGES]))


def compare_search(arguments: Namespace) -> dict[str, float]:
    """Print the time of a search of short trials from its command to its end, and return the peers' over ours.

    The peer starts a process a trial, as Ray Tune does with functions unless it is told to reuse them, and reuses them.
    """
    num_rounds, num_trials = choose_size(arguments, (5, 16), (1, 16), (1, 2))
    base = build_config(arguments, arguments.precision, 6, source_set="eng_Latn", batch_size=16, eval_steps=2)
    values = {
        "kind": "search",
        "base": base.without("seed", "learning_rate", "num_virtual_tokens"),
        "space": {
            "learning_rate": {"log_uniform": [5e-4, 5e-3]},
            "num_virtual_tokens": {"choice": [10, 20]},
        },
        "num_samples": num_trials,
        "seeds": [1, 2],
        "scheduler": {"grace_period": 2, "reduction_factor": 3},
        "evaluation": {"languages": LANGUAGES[::4], "max_examples": 20},
    }

    def time_command(command: tuple[str, ...], _: int) -> float:
        with tempfile.TemporaryDirectory(prefix="xpe-peer-") as scratch:
            file = Path(scratch) / "short.yaml"
            file.write_text(yaml.safe_dump(values), encoding="utf-8")
            filled = [word.format(file=file, storage=scratch) for word in command]
            started = time.perf_counter()
            subprocess.run([sys.executable, "-m", *filled], check=True, stdout=subprocess.DEVNULL)
            return time.perf_counter() - started

    load_data(base)  # tokenised before anybody's time is taken
    commands = {
        "(b) peft, Ray Tune": ("benchmarks.ray_peer", "{file}"),
        "(b) with reused actors": ("benchmarks.ray_peer", "{file}", "--reuse-actors"),
        "(c) ours": ("sweep.run", "search", "{file}", "--storage", "{storage}"),
    }
    contestants = {name: partial(time_command, command) for name, command in commands.items()}
    measured = alternate(contestants, num_rounds, warm_up=False)
    plain, reused, ours = measured.values()
    rows = [(name, statistics.median(seconds)) for name, seconds in measured.items()]
    print_table(f"search: {num_trials} trials, 2 seeds, ASHA, {arguments.precision}", ("contestant", "seconds"), rows)
    return {"search": median_ratio(plain, ours), "search_reused": median_ratio(reused, ours)}


if __name__ == "__main__":
    main()
