"""The small runs whose ids and weights are compared with those of an older version."""

import tempfile
from pathlib import Path
from typing import Any

from torch import Tensor

HERE = Path(__file__).parent
OLD = HERE / "old"
"""Experiments as the older version left them."""
SMALL = str(HERE / "small.yaml")
STARTED = 4
"""Configurations of the small search as it was left."""
CONTINUED = 7
"""Configurations of it after the older version continued it."""
VALUES: dict[str, Any] = {
    "source_set": "eng_Latn,deu_Latn",
    "num_virtual_tokens": 6,
    "encoder_hidden_size": 16,
    "batch_size": 8,
    "max_steps": 30,
    "eval_steps": 10,
    "max_length": 16,
    "learning_rate": 2e-3,
    "encoder_prompt_learning_rate": 2e-3,
    "precision": "float32",
    "pooling": "mean",
}
METHODS = {"spt": {"encoder_ratio": 0.0}, "xpe": {"encoder_ratio": 1.0}, "dual": {"encoder_ratio": 0.5}}
OPTIMIZERS = ("adafactor", "adamw")
SEEDS = (1, 7)

CONFIGS: dict[str, dict[str, Any]] = {
    "published recipe": {},
    "spt": {"encoder_ratio": 0.0, "seed": 3},
    "xpe": {"encoder_ratio": 1, "num_virtual_tokens": 8},
    "rounded": {"encoder_ratio": 0.1 + 0.2, "learning_rate": "1e-4"},
    "an lstm": {"encoder_type": "lstm", "encoder_input_size": 64},
    "attention": {"encoder_type": "attention", "encoder_num_heads": 4},
    "its own data": {"dataset": "Davlan/sib200", "dataset_config": "eng_Latn", "columns": "text=sentence,label=intent"},
    "bad rows": {"on_bad_rows": "skip", "source_set": ["deu_Latn", "eng_Latn"]},
    "imported": {"imported": "0123456789abcdef", "max_steps": 10},
    "everything else": {
        "backbone": "e5-small",
        "dataset": "cldr",
        "optimizer": "adamw",
        "schedule": "linear",
        "pooling": "mean",
        "precision": "float32",
        "eval_steps": 30,
        "max_validation_examples": 100,
        "head_dropout": 0,
    },
}
"""Values of configurations whose ids must never change."""


def train_golden_pack(method: str, optimizer: str) -> dict[str, Tensor]:
    """Train two runs of 30 steps on the tiny backbone and data of the tests; return the weights, by seed and name."""
    from tests.conftest import make_backbone, write_dataset
    from tests.xpe_core.training.test_training import train_pack
    from xpe_core.config import RunConfig

    with tempfile.TemporaryDirectory() as folder:
        backbone, dataset = Path(folder) / "backbone", Path(folder) / "data"
        dataset.mkdir()
        values = {**VALUES, **METHODS[method], "optimizer": optimizer}
        values |= {"backbone": make_backbone(backbone), "dataset": write_dataset(dataset)}
        configs = [RunConfig(**values, seed=seed) for seed in SEEDS]
        model, _, _ = train_pack(configs)
        return {
            f"{seed}.{name}": value
            for row, seed in enumerate(SEEDS)
            for name, value in model.run_parameters(row).items()
        }
