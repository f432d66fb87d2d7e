"""Testing a pack: all its runs and all languages in one pass.

R runs, M rows of the data, B of them in a batch.
"""

from collections.abc import Sequence

import numpy as np
import torch

from xpe_core.data.tokens import TokenisedData
from xpe_core.pack import Pack
from xpe_core.stacked import take_runs
from xpe_core.tasks import TASKS
from xpe_core.tasks.metrics import METRICS, References
from xpe_core.tasks.scores import LanguageScore
from xpe_core.training.batches import run_in_batches
from xpe_core.training.outputs import Outputs


def evaluate(
    model: Pack,
    data: TokenisedData,
    split: str,
    languages: Sequence[str],
    max_examples: int | None = None,
    runs: Sequence[int] | None = None,
    outputs: Outputs | None = None,
) -> list[list[LanguageScore]]:
    """Return one list of scores a run (those of the indices `runs`, or all), in the order of `languages`.

    `outputs` are those that training has, where it holds states that are needed again.
    """
    runs = range(len(model.configs)) if runs is None else runs
    task = TASKS[model.configs[0].task]
    indices = data.select(languages, split, max_examples)
    predictions, losses = _predict(model, data, indices, runs, outputs or Outputs(model, data))
    language_ids = data.language_ids[indices]
    scores: list[list[LanguageScore]] = []
    for run in range(len(runs)):
        scores.append([])
        for language in languages:
            here = language_ids == data.languages.index(language)
            predicted, expected = task.pair_up(data, indices[here], predictions[run, here])
            scores[run].append(
                LanguageScore(
                    language=language,
                    num_examples=len(expected),
                    score_sums={name: float(METRICS[name].scores(predicted, expected).sum()) for name in task.metrics},
                    loss=float(losses[run, here].mean()),
                    chance_sums=_chance_sums(expected, task.metrics),
                )
            )
    return scores


def _chance_sums(expected: References, metrics: Sequence[str]) -> dict[str, float]:
    sums = {name: METRICS[name].chance_sum(expected) for name in metrics}
    return {name: total for name, total in sums.items() if total is not None}


def _predict(
    model: Pack, data: TokenisedData, indices: np.ndarray, runs: Sequence[int], outputs_of: Outputs
) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions [R, M, ...] and losses [R, M]."""
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    losses = np.empty((len(runs), len(indices)))
    lengths = data.lengths[indices]
    order = np.argsort(lengths, kind="stable")
    with torch.inference_mode():
        parameters = take_runs(model.parameters, runs)
        insertion = model.insert(parameters, runs)
        outputs_of.prepare(indices)

    @torch.inference_mode()
    def predict(rows: slice) -> None:
        chosen = order[rows]
        outputs = outputs_of(parameters, insertion, indices[chosen][None])  # [R, B, ...]
        asked = data.asked(indices[chosen][None]).to(model.device)
        predicted = model.readout.predictions(outputs, asked, model.configs[0]).cpu().numpy()
        losses[:, chosen] = model.readout.losses(outputs, asked).cpu().numpy()
        parts.append((chosen, predicted))

    run_in_batches(lengths[order] + model.num_tokens, predict, model.device, len(runs))
    first = parts[0][1]
    predictions = np.empty((len(runs), len(indices), *first.shape[2:]), dtype=first.dtype)
    for chosen, predicted in parts:
        predictions[:, chosen] = predicted
    return predictions, losses
