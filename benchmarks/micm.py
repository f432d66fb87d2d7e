"""Run micm-nlp, the XPE authors' own framework, as a peer: one run on SIB-200 through its command line.

The package reads one YAML and local files only. This module writes both, starts the command offline, and reads the
results from what the package leaves behind: its two clocks (`train_runtime`, `test_runtime`) from standard output,
the predictions from its run folder.

Settings chosen for speed, all the package's own: batches of like length (`group_by_length` in training; in the test a
split sorted by length, or batches of a token budget), bfloat16 by autocast, no logging, checkpoints or intermediate
evaluation, W&B off, one test pass over all languages with one metric. The backbone's own dropout is off: the frozen
encoder is the same function in training and test, and attention may then use the fast kernels.
"""

import csv
import json
import os
import re
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

TRAIN_LANGUAGES = ("eng_Latn", "arb_Arab", "zho_Hans")
TEMPLATE = Path(__file__).with_name("micm.yaml")
ACCURACY_METRIC = '''"""Accuracy, as on the hub, for a machine without it."""

import datasets
import evaluate


class Accuracy(evaluate.Metric):
    def _info(self):
        features = {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
        return evaluate.MetricInfo(
            description="", citation="", inputs_description="", features=datasets.Features(features)
        )

    def _compute(self, predictions, references):
        correct = sum(int(p == r) for p, r in zip(predictions, references, strict=True))
        return {"accuracy": correct / len(references)}
'''
"""The package loads metrics by name through `evaluate`, which looks into the working folder before the hub."""


@dataclass(frozen=True)
class MicmResult:
    """What one run of the package's command came to."""

    train_seconds: float
    """The package's `train_runtime`: the training loop, without start-up, data, model loading and evaluation."""
    evaluation_seconds: float
    """The package's `test_runtime`: all languages together, batching and metric included."""
    accuracies: dict[str, float]
    """Test accuracy in [0, 1] of each language."""
    wall_seconds: float
    """The whole process from start to exit, preparing the data excluded."""


def run_micm(
    command: Sequence[str],
    backbone_folder: Path,
    sib200_folder: Path,
    scratch: Path,
    *,
    seed: int,
    max_steps: int,
    precision: Literal["float32", "bfloat16"],
    languages: Sequence[str],
    eval_batch_size: int,
    batch_size: int = 32,
    num_virtual_tokens: int = 20,
    encoder_hidden_size: int = 96,
    learning_rate: float = 2e-3,
    num_threads: int = 2,
    train_languages: Sequence[str] = TRAIN_LANGUAGES,
    device: Literal["cpu", "cuda"] = "cpu",
    eval_token_budget: int | None = None,
) -> MicmResult:
    """Train one XPE prompt and test it on `languages`, by the package's own command line.

    `command` starts that command line, for instance `[".../bin/python", "-m", "micm_nlp"]`. `scratch` is created where
    it is not there; a second run in the same folder replaces the first one's results. `eval_token_budget`, if given,
    replaces `eval_batch_size`: batches of at most so many tokens, prompt and padding counted. Raises RuntimeError where
    the command fails or does not report what it should.
    """
    scratch = scratch.absolute()
    run_folder = scratch / "run"
    predictions_file = run_folder / "predictions_after_train.csv"
    predictions_file.unlink(missing_ok=True)
    label_names = _read_lines(sib200_folder / train_languages[0] / "labels.txt")
    data_folder = scratch / "artefacts" / "datasets" / "topic" / "sib200"
    _write_split(data_folder / "sib200_train.json", sib200_folder, train_languages, "train", label_names)
    _write_split(data_folder / "sib200_test.json", sib200_folder, languages, "test", label_names)
    _link(scratch / "backbone", backbone_folder.absolute())
    _write(scratch / "accuracy" / "accuracy.py", ACCURACY_METRIC)
    config = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    config["peft"] |= {"num_virtual_tokens": num_virtual_tokens, "encoder_hidden_size": encoder_hidden_size}
    config["model"]["architecture"] = str(_read_json(backbone_folder / "config.json")["model_type"])
    config["ds"]["label"]["number"] = len(label_names)
    config["custom_training_args"] |= {
        "test_force_sequential": eval_token_budget is None,
        "test_max_tokens_per_batch": eval_token_budget,
    }
    config["training_args"]["args"] |= {
        "seed": seed,
        "max_steps": max_steps,
        "per_device_train_batch_size": batch_size,
        "per_device_eval_batch_size": eval_batch_size,
        "learning_rate": learning_rate,
        "bf16": precision == "bfloat16",
        "use_cpu": device == "cpu",
        "dataloader_pin_memory": device == "cuda",
    }
    config["output"]["dir"] = str(run_folder)
    config_file = scratch / "sib200.yml"
    _write(config_file, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))

    started = time.perf_counter()
    process = subprocess.run(
        [*command, "run", "--config", str(config_file), "--root-path", str(scratch)],
        cwd=scratch,
        env=_build_environment(scratch, num_threads, device),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    wall_seconds = time.perf_counter() - started
    _write(scratch / "stdout.txt", process.stdout)
    _write(scratch / "stderr.txt", process.stderr)
    if process.returncode != 0:
        raise RuntimeError(f"micm-nlp exited with {process.returncode}: {process.stderr[-2_000:]}")
    return MicmResult(
        train_seconds=_find_seconds(process.stdout, "train_runtime"),
        evaluation_seconds=_find_seconds(process.stdout, "test_runtime"),
        accuracies=_read_accuracies(predictions_file, languages),
        wall_seconds=wall_seconds,
    )


def _build_environment(scratch: Path, num_threads: int, device: Literal["cpu", "cuda"]) -> dict[str, str]:
    environment = dict(os.environ)
    environment |= {
        "HF_HOME": str(scratch / "huggingface"),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_EVALUATE_OFFLINE": "1",
        "WANDB_MODE": "disabled",
        "OMP_NUM_THREADS": str(num_threads),
        "MKL_NUM_THREADS": str(num_threads),
        "TOKENIZERS_PARALLELISM": "false",
        "COLUMNS": "1000",  # no broken lines in the output that is read
        "PYTHONUTF8": "1",
    }
    if device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    for name in [name for name in environment if name.startswith("SLURM_")]:
        del environment[name]  # the package names and chooses runs by them
    return environment


def _write_split(
    file: Path, sib200_folder: Path, languages: Iterable[str], split: str, label_names: Sequence[str]
) -> None:
    """Write a split of all languages as JSON Lines with text, label (its place) and language."""
    rows: list[str] = []
    for language in languages:
        with (sib200_folder / language / f"{split}.tsv").open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
                example = {
                    "text": row["text"].strip(),
                    "label": label_names.index(row["category"].strip()),
                    "language": language,
                }
                rows.append(json.dumps(example, ensure_ascii=False))
    _write(file, "".join(f"{row}\n" for row in rows))


def _read_accuracies(predictions_file: Path, languages: Sequence[str]) -> dict[str, float]:
    if not predictions_file.is_file():
        raise RuntimeError(f"micm-nlp wrote no {predictions_file.name}")
    outcomes: dict[str, list[bool]] = {language: [] for language in languages}
    with predictions_file.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            outcomes[row["task"]].append(int(row["prediction"]) == int(row["label"]))
    if missing := [language for language, outcome in outcomes.items() if not outcome]:
        raise RuntimeError(f"micm-nlp predicted nothing for {', '.join(missing)}")
    return {language: sum(outcome) / len(outcome) for language, outcome in outcomes.items()}


def _find_seconds(output: str, name: str) -> float:
    """Return a clock the package prints, as `'name': '1.23'` or `"name": 1.23`."""
    found = re.findall(rf"""["']{name}["']: ["']?([0-9.]+(?:e[+-]?[0-9]+)?)""", output)
    if len(found) != 1:
        raise RuntimeError(f"micm-nlp printed {name} {len(found)} times, not once: {output[-2_000:]}")
    return float(found[0])


def _link(link: Path, target: Path) -> None:
    """Give the backbone a short name: the package makes folder names of what it is called by."""
    if link.is_symlink():
        link.unlink()
    link.symlink_to(target, target_is_directory=True)


def _read_lines(file: Path) -> list[str]:
    return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def _read_json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
