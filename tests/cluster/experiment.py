"""Write the tiny experiment that the scripts here run: `python -m tests.cluster.experiment FOLDER`.

A random XLM-R of two layers and a data set of made-up words, 24 trials one after another.
"""

import sys
from pathlib import Path

import yaml

from tests.conftest import make_backbone, make_search, write_dataset


def main(folder: str) -> None:
    """Write backbone, data and experiment into a folder, and print the experiment's path."""
    place = Path(folder).absolute()
    (place / "data").mkdir(parents=True)
    values = make_search(write_dataset(place / "data"), make_backbone(place / "backbone"))
    values["num_samples"] = 24
    values["base"]["max_steps"] = 300  # long enough for ten drivers
    values["resources"] = {"max_concurrent_trials": 1, "checkpoint_seconds": 0, "cpus_per_trial": 1}
    (place / "tiny.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    print(place / "tiny.yaml")


if __name__ == "__main__":
    main(*sys.argv[1:])
