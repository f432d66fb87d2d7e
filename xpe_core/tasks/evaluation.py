"""Scores as counts per language, all runs of a pack and all languages in one pass.

Counts are what is kept; rates are derived from them, so that groups of languages can be averaged in any way later.

R runs, M examples, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from xpe_core.data.tokens import TokenisedData
from xpe_core.pack import PromptClassifier
from xpe_core.training.batches import run_in_batches


@dataclass(frozen=True)
class LanguageScore:
    """One run's result on one language."""

    language: str
    num_examples: int
    num_correct: int
    macro_f1: float
    """Mean F1 over the classes that stand in the language's labels or predictions."""
    loss: float
    """Mean cross-entropy in nats."""
    num_most_frequent: int | None = None
    """Examples of the language's most frequent class; None in scores that were written before it was counted."""

    @property
    def accuracy(self) -> float:
        """Share of correct examples, in [0, 1]."""
        return self.num_correct / self.num_examples


def evaluate(
    model: PromptClassifier,
    data: TokenisedData,
    split: str,
    languages: Sequence[str],
    max_examples: int | None = None,
    places: Sequence[int] | None = None,
) -> list[list[LanguageScore]]:
    """Return one list of scores a run (those at `places`, or all), in the order of `languages`."""
    places = range(len(model.configs)) if places is None else places
    indices = data.select(languages, split, max_examples)
    predictions, losses = _predict(model, data, indices, places)
    labels, language_ids = data.labels[indices], data.language_ids[indices]
    scores: list[list[LanguageScore]] = []
    for run in range(len(places)):
        scores.append([])
        for language in languages:
            here = language_ids == data.languages.index(language)
            predicted, expected = predictions[run, here], labels[here]
            scores[run].append(
                LanguageScore(
                    language=language,
                    num_examples=int(here.sum()),
                    num_correct=int((predicted == expected).sum()),
                    macro_f1=macro_f1(expected, predicted),
                    loss=float(losses[run, here].mean()),
                    num_most_frequent=int(np.bincount(expected).max()),
                )
            )
    return scores


def mean_accuracy(scores: Sequence[LanguageScore], languages: Sequence[str] | None = None) -> float:
    """Return the mean of the languages' accuracies: every language weighs the same, however many examples it has."""
    wanted = None if languages is None else set(languages)
    rates = [score.accuracy for score in scores if wanted is None or score.language in wanted]
    return sum(rates) / len(rates)


def macro_f1(expected: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean over classes of 2 TP / (2 TP + FP + FN); classes in neither array do not count."""
    num_classes = int(max(expected.max(), predicted.max())) + 1
    true_positives = np.bincount(expected[expected == predicted], minlength=num_classes)
    denominators = np.bincount(expected, minlength=num_classes) + np.bincount(predicted, minlength=num_classes)
    present = denominators > 0
    return float((2 * true_positives[present] / denominators[present]).mean())


def _predict(
    model: PromptClassifier, data: TokenisedData, indices: np.ndarray, places: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return predicted labels and losses, both [R, M]."""
    predictions = np.empty((len(places), len(indices)), dtype=np.int64)
    losses = np.empty((len(places), len(indices)))
    lengths = data.lengths[indices]
    order = np.argsort(lengths, kind="stable")
    with torch.inference_mode():
        parameters = {name: value[list(places)] for name, value in model.parameters.items()}
        prompts = model.embed_prompts(parameters)  # [R, 1, P, H]

    @torch.inference_mode()
    def predict(rows: slice) -> None:
        chosen = order[rows]
        token_ids = data.pad(indices[chosen])[None].to(model.device)  # [1, B, T]
        logits = model.classify(parameters, prompts, token_ids, lengths[chosen])  # [R, B, C]
        labels = torch.from_numpy(data.labels[indices[chosen]]).to(model.device).expand(len(places), -1)
        loss = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        predictions[:, chosen] = logits.argmax(-1).cpu().numpy()
        losses[:, chosen] = loss.view(len(places), -1).cpu().numpy()

    run_in_batches(lengths[order] + prompts.shape[2], predict, model.device, len(places))
    return predictions, losses
