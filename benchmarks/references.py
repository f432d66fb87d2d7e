"""Do the baselines learn what their references learn: the head alone, LoRA and full fine-tuning.

    python -m benchmarks.references [--quick]

Each is trained by ours and by peft, or the plain model, under transformers' Trainer: same data, steps, optimizer, rates
and seeds, other random numbers. Printed are the mean test accuracies over twenty languages with their standard errors.
`ratio <method>_gap` is the distance of the two means in standard errors of their difference.
"""

import statistics
from typing import Any

from benchmarks.peers import score_peft
from benchmarks.setting import (
    LANGUAGES,
    NUM_CLASSES,
    build_config,
    choose_size,
    find_device,
    load_data,
    parse_arguments,
    print_ratios,
    print_table,
)
from xpe_core.backbones.backbone import load_backbone
from xpe_core.config import RunConfig
from xpe_core.data.tokens import TokenisedData
from xpe_core.pack import Pack
from xpe_core.tasks.scores import mean_score
from xpe_core.training.evaluation import evaluate
from xpe_core.training.training import train
from xpe_core.tunings import is_alone

PROMPTS = ("num_virtual_tokens", "encoder_ratio", "encoder_hidden_size", "encoder_dropout")
"""Fields of the benchmarks' prompt, which the baselines have not."""
METHODS: dict[str, dict[str, Any]] = {
    "head": {"tuning": "none", "learning_rate": 5e-3},
    "lora": {"tuning": "lora", "rank": 8, "learning_rate": 2e-3},
    "full": {"tuning": "full", "learning_rate": 1e-4},
}


def main() -> None:
    """Train all methods in both ways and print what they learnt."""
    arguments = parse_arguments(__doc__ or "")
    num_steps, num_seeds, max_examples = choose_size(arguments, (100, 6, 100), (60, 6, 30), (2, 2, 2))
    task = build_config(arguments, "float32", num_steps)
    data, rows, gaps = load_data(task), [], {}
    kept = {name: value for name, value in task.set_values.items() if name not in PROMPTS}
    kept = {name: value for name, value in kept.items() if not name.startswith("encoder_prompt")}
    for method, values in METHODS.items():
        configs = [RunConfig(**{**kept, **values, "seed": seed}) for seed in range(1, num_seeds + 1)]
        ours = score_ours(configs, data, max_examples)
        theirs = [score_peft(config, data, max_examples) for config in configs]
        errors = [statistics.stdev(scores) / len(scores) ** 0.5 for scores in (ours, theirs)]
        means = [statistics.mean(scores) for scores in (ours, theirs)]
        names = (f"{method}, ours", f"{method}, Trainer")
        rows += [(name, mean, error) for name, mean, error in zip(names, means, errors, strict=True)]
        gaps[f"{method}_gap"] = abs(means[0] - means[1]) / max((errors[0] ** 2 + errors[1] ** 2) ** 0.5, 1e-9)
    title = f"accuracy on {len(LANGUAGES)} languages after {num_steps} steps, {num_seeds} seeds"
    print_table(title, ("method", "mean", "standard error"), rows)
    print_ratios(gaps)


def score_ours(configs: list[RunConfig], data: TokenisedData, max_examples: int) -> list[float]:
    """Train the runs, together where they may share a pass, and return their mean test accuracies."""
    packs = [[config] for config in configs] if is_alone(configs[0]) else [configs]
    scores = []
    for pack in packs:
        model = Pack(load_backbone(pack[0].backbone, find_device()), pack, NUM_CLASSES)
        for _ in train(model, data):  # one evaluation, at the end: the checkpoint is the last one, as under Trainer
            pass
        scores += [mean_score(run) for run in evaluate(model, data, "test", LANGUAGES, max_examples)]
    return scores


if __name__ == "__main__":
    main()
