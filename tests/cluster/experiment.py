"""Write a tiny experiment that the scripts here run: `python -m tests.cluster.experiment FOLDER [search | study]`.

A random XLM-R of two layers and a data set of made-up words. A search has 24 trials one after another, a study 12 of
three methods and their winners.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import make_backbone, make_search, write_dataset

METHODS = {
    "head": {"base": {"tuning": "none"}, "space": {"learning_rate": {"choice": [1e-7, 1e-4, 1e-3, 5e-3]}}},
    "low": {
        "base": {"tuning": "lora"},
        "space": {"learning_rate": {"choice": [1e-7, 1e-3, 5e-3]}, "rank": {"choice": [2, 4]}},
        "default": {"learning_rate": 1e-3, "rank": 2},
    },
    "soft": {
        "base": {"encoder_ratio": 0.0, "num_virtual_tokens": 4},
        "space": {"learning_rate": {"choice": [1e-7, 1e-3, 5e-3]}, "prompt_learning_rate": {"choice": [1e-3, 1e-1]}},
    },
}
"""Methods of a study."""


def main(folder: str, kind: str = "search") -> None:
    """Write backbone, data and experiment into a folder, and print the experiment's path."""
    place = Path(folder).absolute()
    (place / "data").mkdir(parents=True)
    values = make_search(write_dataset(place / "data"), make_backbone(place / "backbone"))
    values["num_samples"] = 24
    values["base"]["max_steps"] = 300  # long enough for ten drivers
    values["resources"] = {"max_concurrent_trials": 1, "checkpoint_seconds": 0, "cpus_per_trial": 1}
    if kind == "study":
        values = make_study(values)
    (place / "tiny.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    print(place / "tiny.yaml")


def make_study(search: dict[str, Any]) -> dict[str, Any]:
    """Return a study with the base of a search."""
    own = ("num_virtual_tokens", "encoder_hidden_size", "encoder_prompt_learning_rate")
    base = {name: value for name, value in search["base"].items() if name not in own}
    kept = {name: value for name, value in search.items() if name not in ("space", "num_samples", "base")}
    study = {"kind": "study", "base": base, "methods": METHODS, "budget": {"trials": 4}}
    return {**kept, **study, "replication_seeds": [11, 12]}


if __name__ == "__main__":
    main(*sys.argv[1:])
