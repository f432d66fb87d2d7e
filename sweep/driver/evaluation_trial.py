"""The trial of an evaluation: an arm's adapters in one pack, tested on the target languages, trained no further."""

from typing import Any

import ray
import torch
from ray import tune

from sweep.driver.trial import METRIC, find_provenance, load_inputs, make_rows, measure_memory_bytes
from xpe_core.adapters import build_classifier
from xpe_core.adapters.safetensors_file import from_bytes
from xpe_core.tasks.evaluation import evaluate

FACTS = ("num_steps", "best_step", "validation_accuracy")
"""Columns of `runs` that an adapter may know of its training."""


class EvaluationTrainable(tune.Trainable):
    """Tests the adapters that the driver sent, and ends; a worker reads no adapter's file."""

    def setup(self, config: dict[str, Any]) -> None:
        """Take the trial's `config` and `seeds`, and what the driver gives to all trials alike."""
        torch.set_num_threads(config["num_threads"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in the same process."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Test, and report all that a trial which trains reports at its end."""
        configs, data, backbone = load_inputs(self.config)
        run_ids = [config.run_id for config in configs]
        adapters = [from_bytes(ray.get(self.config["adapters"][run_id]), run_id) for run_id in run_ids]
        model = build_classifier(backbone, adapters)
        scores = evaluate(model, data, "test", self.config["target_languages"], self.config["max_examples"])
        runs = [
            {
                **{name: adapter.facts.get(name) for name in FACTS},
                **{name: adapter.facts[name] for name in ("adapter", "adapter_fingerprint")},
                "run_id": run_id,
                "state": "complete",
                "error": None,
                "best_validation_accuracy": adapter.facts.get("validation_accuracy"),
                "selection_accuracy": None,
                "num_runs_in_pack": len(adapters),
                "num_trained_parameters": sum(value.numel() for value in adapter.parameters.values()),
                "peak_memory_bytes": measure_memory_bytes(model.device),
            }
            for run_id, adapter in zip(run_ids, adapters, strict=True)
        ]
        rows = [
            row for run_id, one in zip(run_ids, scores, strict=True) for row in make_rows(run_id, "test", one)
        ]  # one list of scores a run
        return {
            "step": 0,
            "restored_step": 0,
            "node": ray.get_runtime_context().get_node_id(),
            METRIC: 0.0,  # nothing is chosen here; Tune needs a number
            "tick": True,  # of what is no training there is nothing to report but its end
            "trained": True,
            "finished": True,
            "done": True,
            "runs": runs,
            "evaluations": rows,
            "provenance": {
                **find_provenance(backbone.name, model.device.type),
                "data_fingerprint": data.fingerprint,
                "num_rows_skipped": data.num_rows_skipped,
            },
        }
