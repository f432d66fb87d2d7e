"""The trial of an evaluation: an arm's adapters in one pack, tested on the target languages, trained no further."""

import os

import ray
import torch
from ray import tune

from sweep.driver.memory import measure_memory_bytes
from sweep.driver.messages import Assignment, RunResult, RunScores, TrialReport, Wire
from sweep.driver.trial import find_provenance, load_inputs
from sweep.records.states import State
from xpe_core.adapters import Adapter, build_classifier
from xpe_core.adapters.safetensors_file import from_bytes
from xpe_core.json_types import Json
from xpe_core.pack import count_trained_parameters
from xpe_core.training.evaluation import evaluate


class EvaluationTrainable(tune.Trainable):
    """Tests the adapters that the driver sent, and ends; a worker reads no adapter's file."""

    def setup(self, config: Wire) -> None:
        """Take what the driver says of the trial and to all trials alike."""
        self._assignment = Assignment.from_wire(config)
        torch.set_num_threads(self._assignment.settings.num_threads)

    def reset_config(self, new_config: Wire) -> bool:
        """Start another trial in the same process."""
        self.setup(new_config)
        return True

    def step(self) -> Wire:
        """Test, and report all that a trial which trains reports at its end."""
        settings = self._assignment.settings
        configs, data, backbone = load_inputs(self._assignment)
        run_ids = [config.run_id for config in configs]
        adapters = [from_bytes(ray.get(settings.adapters[run_id]), run_id) for run_id in run_ids]
        model = build_classifier(backbone, adapters)
        scores = evaluate(model, data, "test", list(self._assignment.panel.target_languages), settings.max_examples)
        memory = measure_memory_bytes(model.device)
        report = TrialReport(
            step=0,
            node=ray.get_runtime_context().get_node_id(),
            pid=os.getpid(),
            tick=True,  # of what is no training there is nothing to report but its end
            trained=True,
            finished=True,
            done=True,
            runs=tuple(
                _describe_run(run_id, adapter, len(adapters), memory)
                for run_id, adapter in zip(run_ids, adapters, strict=True)
            ),
            evaluations=tuple(
                RunScores(run_id, "test", tuple(run_scores)) for run_id, run_scores in zip(run_ids, scores, strict=True)
            ),
            provenance=find_provenance(backbone, model.device, data),
        )
        return report.to_wire()


def _describe_run(run_id: str, adapter: Adapter, num_runs: int, memory_bytes: int) -> RunResult:
    """Return an adapter's row; of its training it may know something."""
    facts = adapter.facts
    accuracy = facts.get("validation_accuracy")
    return RunResult(
        run_id=run_id,
        state=State.COMPLETE,
        num_steps=_read_count(facts.get("num_steps")),
        best_step=_read_count(facts.get("best_step")),
        best_validation_accuracy=accuracy if isinstance(accuracy, int | float) else None,
        adapter=str(facts["adapter"]),
        adapter_fingerprint=str(facts["adapter_fingerprint"]),
        num_runs_in_pack=num_runs,
        num_trained_parameters=count_trained_parameters(adapter.config, adapter.shape, len(adapter.label_names)),
        peak_memory_bytes=memory_bytes,
    )


def _read_count(value: Json) -> int | None:
    return value if isinstance(value, int) else None
