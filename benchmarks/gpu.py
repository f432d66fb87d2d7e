"""What one GPU does with XLM-R large's shape: packs of 1 and 10 beside peft under Trainer, and a test on 205 languages.

    python -m benchmarks.gpu [--toy] [--out FILE.json]

Weights are random and texts made up (`benchmarks/made_up.py`), so nothing is downloaded. It needs xpe_core alone, and
takes under six minutes on a GPU of a data centre. `--toy` is a tiny shape, for a CPU in seconds. All is in bfloat16.
The product's share is the rate of a step's matrix products over that of one plain product (xpe_core/training/meter.py).
"""

import argparse
import gc
import json
import os
import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from benchmarks import made_up
from benchmarks.setting import (
    NUM_CLASSES,
    Training,
    alternate,
    build_config,
    draw_examples,
    find_device,
    load_data,
    median_ratio,
    print_ratios,
    print_table,
    train_pack,
)
from xpe_core.backbones.backbone import load_backbone
from xpe_core.config import RunConfig
from xpe_core.data.tokens import TokenisedData
from xpe_core.pack import Pack
from xpe_core.training.evaluation import evaluate
from xpe_core.training.meter import measure_peak

SIZES = (1, 10)
PRECISION = "bfloat16"


@dataclass(frozen=True)
class Scale:
    """How large the benchmark is."""

    shape: made_up.Shape
    num_steps: int
    num_rounds: int
    batch_size: int
    num_train: int
    """Training texts a source language."""
    num_test: int
    """Test texts a language; SIB-200 has 204."""


SCALES = {
    "large": Scale(made_up.LARGE, 40, 3, 32, 701, 204),
    "toy": Scale(made_up.TOY, 2, 1, 8, 14, 1),
}


PEER = "peft, Trainer"

Result = TypeVar("Result")


@dataclass(frozen=True)
class Contestant:
    """What one contestant did; of several rounds the median."""

    name: str
    tokens_per_second: float
    """Text tokens in training, of all runs together."""
    product_share: float | None
    """None where operations are not counted."""
    training_bytes: int | None
    """Most memory of the GPU in training, the backbone's included; None on a CPU."""
    test_seconds: float | None = None
    """Of all runs and languages together; None where it was not measured."""
    test_bytes: int | None = None


@dataclass(frozen=True)
class Setting:
    """What all contestants train, and on what."""

    config: RunConfig
    data: TokenisedData
    languages: tuple[str, ...]
    """Those of the test."""
    backbone_bytes: int
    """Memory of the GPU that our backbone takes, all rounds through."""
    peak: float
    """Operations a second of one plain matrix product."""


def main() -> None:
    """Print a table and ratios; write the same as JSON where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="a tiny shape, in seconds on a CPU")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    arguments = parser.parse_args()
    scale = SCALES["toy" if arguments.toy else "large"]
    device = torch.cuda.get_device_name() if find_device() == "cuda" else "cpu"
    with tempfile.TemporaryDirectory(prefix="xpe-gpu-") as scratch:
        os.environ["XPE_CACHE_DIR"] = f"{scratch}/cache"
        setting = write_setting(Path(scratch), scale)
        contestants, ratios = measure(setting, scale.num_rounds)
    columns = ("contestant", "text tokens / s", "product's share", "GB", "test seconds", "GB in test")
    title = f"{device}, {PRECISION}, {scale.num_steps} steps, test of {len(setting.languages)} x {scale.num_test} texts"
    print_table(title, columns, [show(contestant) for contestant in contestants])
    print_ratios(ratios)
    if arguments.out:
        facts = {"device": device, "torch": torch.__version__, "scale": asdict(scale)}
        figures = {**facts, "contestants": [asdict(contestant) for contestant in contestants], "ratios": ratios}
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def write_setting(folder: Path, scale: Scale) -> Setting:
    """Write backbone and data into a folder, and load both."""
    made_up.write_backbone(folder / "backbone", scale.shape, find_device())
    languages = made_up.write_dataset(folder / "data", made_up.SOURCE, scale.num_train, scale.num_test)
    config = build_config(
        Namespace(backbone=str(folder / "backbone"), dataset=str(folder / "data")),
        PRECISION,
        scale.num_steps,
        batch_size=scale.batch_size,
        encoder_hidden_size=scale.shape.hidden_size // 4,
    )
    before = held_bytes()
    backbone = load_backbone(config.backbone, find_device())
    backbone.prepare(PRECISION)
    held = held_bytes() - before
    return Setting(config, load_data(config), languages, held, measure_peak(backbone, PRECISION))


def measure(setting: Setting, num_rounds: int) -> tuple[list[Contestant], dict[str, float]]:
    """Return what the contestants did, and how many times as fast as the peer ours are."""
    packs = {f"pack of {size}": size for size in SIZES}
    turns: dict[str, Callable[[int], Training]] = {
        name: partial(train_ours, setting, size) for name, size in packs.items()
    }
    if find_peer():
        turns[PEER] = partial(train_peer, setting)
    rounds = train_in_turns(turns, num_rounds)
    contestants = []
    for name, trained in rounds.items():
        held = setting.backbone_bytes if name in packs else 0
        test = time_test(setting, packs[name]) if name in packs else (None, None)
        speed = statistics.median(training.tokens_per_second for training, _ in trained)
        used = max(above for _, above in trained) + held if torch.cuda.is_available() else None
        contestants.append(Contestant(name, speed, find_share(trained, setting.peak), used, *test))
    speeds = {name: [training.tokens_per_second for training, _ in trained] for name, trained in rounds.items()}
    alone = speeds[f"pack of {SIZES[0]}"]
    ratios = {f"gpu_pack_{size}": median_ratio(speeds[name], alone) for name, size in packs.items() if size > 1}
    if PEER in speeds:
        ratios |= {f"gpu_pack_{size}_peft": median_ratio(speeds[name], speeds[PEER]) for name, size in packs.items()}
    return contestants, ratios


def train_in_turns(
    turns: Mapping[str, Callable[[int], Training]], num_rounds: int
) -> dict[str, list[tuple[Training, int]]]:
    """Return every contestant's rounds without the warm-up: its training, and the memory above what was held before."""
    rounds: dict[str, list[tuple[Training, int]]] = {name: [] for name in turns}

    def train_round(name: str, number: int) -> float:
        training, above = measure_memory(partial(turns[name], number))
        if number:
            rounds[name].append((training, above))
        return training.tokens_per_second

    alternate({name: partial(train_round, name) for name in turns}, num_rounds)
    return rounds


def train_ours(setting: Setting, size: int, number: int) -> Training:
    """Train a pack on a round's examples."""
    return train_pack(setting.config, setting.data, draw_examples(setting.data, setting.config, number), size)


def find_peer() -> bool:
    """Whether peft under Trainer can run here; what is missing is said in a line."""
    try:
        import benchmarks.peft_trainer  # noqa: F401
    except ImportError as error:
        print(f"{error.name} is not installed: there is no row of peft under Trainer", flush=True)
        return False
    return True


def train_peer(setting: Setting, number: int) -> Training:
    """Train one run on a round's examples with peft under Trainer."""
    from benchmarks import peft_trainer

    examples = draw_examples(setting.data, setting.config, number)
    return peft_trainer.train_peer(setting.config.with_seed(number), setting.data, examples)


def time_test(setting: Setting, size: int) -> tuple[float, int | None]:
    """Return the seconds of a pack's test on all languages, and the most memory in it."""
    configs = [setting.config.with_seed(seed) for seed in range(1, size + 1)]
    backbone = load_backbone(setting.config.backbone, find_device())
    model = Pack(backbone, configs, NUM_CLASSES)
    evaluate(model, setting.data, "test", setting.languages, 1)  # a warm-up
    started = time.perf_counter()
    _, above = measure_memory(partial(evaluate, model, setting.data, "test", setting.languages))
    seconds = time.perf_counter() - started
    return seconds, above + setting.backbone_bytes if torch.cuda.is_available() else None


def find_share(trained: list[tuple[Training, int]], peak: float) -> float | None:
    """Return the median share of the plain product's rate, None where operations were not counted."""
    shares = [training.num_operations / training.seconds / peak for training, _ in trained]
    return statistics.median(shares) if all(shares) else None


def show(contestant: Contestant) -> tuple[str | float, ...]:
    """Return a row of the table, with a dash for what was not measured."""
    sizes = [size and size / 1e9 for size in (contestant.training_bytes, contestant.test_bytes)]
    figures = (contestant.product_share, sizes[0], contestant.test_seconds, sizes[1])
    return contestant.name, contestant.tokens_per_second, *("-" if figure is None else figure for figure in figures)


def held_bytes() -> int:
    """Return the memory of the GPU that tensors take now."""
    return torch.cuda.memory_allocated() if torch.cuda.is_available() else 0


def measure_memory(work: Callable[[], Result]) -> tuple[Result, int]:
    """Return what `work` returns, and the most memory of the GPU that it took above what was held before."""
    gc.collect()
    before = held_bytes()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    result = work()
    return result, torch.cuda.max_memory_allocated() - before if torch.cuda.is_available() else 0


if __name__ == "__main__":
    main()
