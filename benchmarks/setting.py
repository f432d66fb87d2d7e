"""What the benchmarks have in common: the task, a round of a few steps on the same examples, alternation, tables.

Contestants take turns within every round, so that a machine that becomes slower does so for all of them; what is
printed are medians over rounds, and ratios are medians of the rounds' own ratios.
"""

import argparse
import atexit
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.made_up import NUM_CLASSES, SOURCE, TOY, write_backbone, write_dataset
from xpe_core.backbones.backbone import load_backbone
from xpe_core.config import RunConfig
from xpe_core.data.tokens import TokenisedData, load_tokens
from xpe_core.errors import InputError
from xpe_core.pack import Pack
from xpe_core.training.training import train

Size = TypeVar("Size")

PRECISIONS = ("float32", "bfloat16")
LANGUAGES = (
    "eng_Latn deu_Latn fra_Latn rus_Cyrl zho_Hans arb_Arab hin_Deva jpn_Jpan kor_Hang tur_Latn "
    "kat_Geor swh_Latn tam_Taml yor_Latn quy_Latn amh_Ethi khm_Khmr lao_Laoo mri_Latn zul_Latn"
).split()
"""Twenty target languages of many scripts and lengths."""


def parse_arguments(description: str, **options: tuple[Any, str]) -> argparse.Namespace:
    """Return the command line's values: sizes, data, backbone, and further options with their defaults and helps."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, a few minutes in all")
    parser.add_argument("--toy", action="store_true", help="made-up data and a tiny shape: whether it runs, no figures")
    parser.add_argument("--dataset", default=os.environ.get("XPE_SIB200_DIR"), help="SIB-200's folder or hub name")
    parser.add_argument("--backbone", default="e5-small")
    for name, (default, text) in options.items():
        parser.add_argument(f"--{name}", default=default, type=type(default) if default is not None else str, help=text)
    arguments = parser.parse_args()
    arguments.dataset = arguments.dataset or "Davlan/sib200"
    if arguments.toy:
        arguments.backbone, arguments.dataset = _write_toy()
    return arguments


def choose_size(arguments: argparse.Namespace, full: Size, quick: Size, toy: Size) -> Size:
    """Return the size that the command line asks for."""
    return toy if arguments.toy else quick if arguments.quick else full


def _write_toy() -> tuple[str, str]:
    """Write a tiny backbone and data set that are there as long as this process, and return their folders."""
    folder = Path(tempfile.mkdtemp(prefix="xpe-toy-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_backbone(folder / "backbone", TOY, find_device())
    write_dataset(folder / "data", SOURCE, 24, 2)
    return str(folder / "backbone"), str(folder / "data")


def build_config(arguments: argparse.Namespace, precision: str, num_steps: int, **values: Any) -> RunConfig:
    """Return the task: an XPE of 20 virtual tokens, as peft's prompt encoder and its default optimizer train it."""
    return RunConfig(
        **{
            "backbone": arguments.backbone,
            "dataset": arguments.dataset,
            "source_set": "enarzho",
            "num_virtual_tokens": 20,
            "encoder_ratio": 1.0,
            "encoder_hidden_size": 96,
            "encoder_dropout": 0.0,
            "head_dropout": 0.0,
            "learning_rate": 2e-3,
            "encoder_prompt_learning_rate": 2e-3,
            "optimizer": "adamw",
            "schedule": "cosine",
            "batch_size": 32,
            "max_steps": num_steps,
            "eval_steps": num_steps,
            "precision": precision,
            **values,
        }
    )


def load_data(config: RunConfig) -> TokenisedData:
    """Return the task's data, or end the process with one sentence."""
    try:
        return load_tokens(config.data.dataset, config.backbone, config.data.max_length)
    except InputError as error:
        sys.exit(f"{error}; give SIB-200's folder with --dataset or XPE_SIB200_DIR")


def draw_examples(data: TokenisedData, config: RunConfig, seed: int) -> np.ndarray:
    """Return as many training examples as the config's steps see in one epoch, drawn at random."""
    indices = data.select(data.resolve(config.data.source_set), "train")
    return np.sort(
        np.random.default_rng(seed).permutation(indices)[: config.training.max_steps * config.training.batch_size]
    )


def take(data: TokenisedData, examples: np.ndarray) -> TokenisedData:
    """Return a data set of these training examples, and one validation example of each of their languages."""
    languages = [data.languages[place] for place in np.unique(data.language_ids[examples])]
    rows = np.concatenate([examples, data.select(languages, "validation", 1)])
    return replace(
        data,
        token_ids=np.concatenate([data.token_ids[data.offsets[row] : data.offsets[row + 1]] for row in rows]),
        offsets=np.cumsum([0, *data.lengths[rows]]),
        labels=data.labels[rows],
        language_ids=data.language_ids[rows],
        split_ids=data.split_ids[rows],
        lengths=data.lengths[rows],
    )


@dataclass(frozen=True)
class Training:
    """What a contestant did in one round."""

    num_tokens: int
    seconds: float
    num_operations: float = 0.0
    """Floating-point operations of the backbone's matrix products; 0 where they were not counted."""

    @property
    def tokens_per_second(self) -> float:
        """Text tokens a second."""
        return self.num_tokens / self.seconds


def train_pack(config: RunConfig, data: TokenisedData, examples: np.ndarray, num_runs: int) -> Training:
    """Train a pack for one epoch over the examples."""
    configs = [config.with_seed(seed) for seed in range(1, num_runs + 1)]
    model = Pack(load_backbone(config.backbone, find_device()), configs, NUM_CLASSES)
    *_, report = train(model, take(data, examples))
    return Training(report.work.num_tokens, report.work.seconds, report.work.num_operations)


def find_device() -> str:
    """Return `cuda` where there is a GPU, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def alternate(
    contestants: Mapping[str, Callable[[int], float]], num_rounds: int, warm_up: bool = True
) -> dict[str, list[float]]:
    """Call every contestant once a round, in turn, and return what they measured.

    Round 0, the warm-up, is not counted.
    """
    measured: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(0 if warm_up else 1, num_rounds + 1):
        for name, contestant in contestants.items():
            value = contestant(number)
            if number:
                measured[name].append(value)
            print(f"  round {number} of {num_rounds}: {name} {value:.4g}", file=sys.stderr)
    return measured


def median_ratio(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the median over rounds of first / second."""
    return statistics.median(one / other for one, other in zip(first, second, strict=True))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table; numbers with four significant digits."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row))
    Console(width=110).print(table)


def print_ratios(ratios: Mapping[str, float]) -> None:
    """Print `ratio <name> <value>` lines, for scripts."""
    for name, value in ratios.items():
        print(f"ratio {name} {value:.3f}", flush=True)
