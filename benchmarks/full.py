"""Full fine-tuning, the same examples and steps: transformers' Trainer and ours, in turns.

Both train all weights with AdamW in float32, cast to bfloat16 where that is asked for, with dropout off; Trainer's
batches are grouped by length.
"""

from argparse import Namespace

from transformers import AutoModelForSequenceClassification, set_seed

from benchmarks import peft_trainer
from benchmarks.setting import (
    NUM_CLASSES,
    PRECISIONS,
    Training,
    alternate,
    build_config,
    choose_size,
    draw_examples,
    load_data,
    median_ratio,
    parse_arguments,
    print_ratios,
    print_table,
    train_pack,
)
from xpe_core.backbones.files import find_folder
from xpe_core.config import RunConfig
from xpe_core.tunings.prompt.config import PromptConfig

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def main() -> None:
    """Print text tokens a second of both, and the ratios."""
    arguments = parse_arguments(__doc__ or "", precision=("", "float32 or bfloat16; without it both"))
    chosen = [arguments.precision] if arguments.precision else PRECISIONS
    print_ratios({f"full_{precision}": compare(arguments, precision) for precision in chosen})


def compare(arguments: Namespace, precision: str) -> float:
    """Print what both do in a second, and return ours over Trainer's."""
    num_steps, num_rounds = choose_size(arguments, (20, 5), (8, 3), (2, 1))
    config = build_full(arguments, precision, num_steps)
    data = load_data(config)

    def train_ours(number: int) -> float:
        return train_pack(config, data, draw_examples(data, config, number), 1).tokens_per_second

    def train_theirs(number: int) -> float:
        examples = draw_examples(data, config, number)
        set_seed(number)
        model = AutoModelForSequenceClassification.from_pretrained(
            find_folder(config.backbone), num_labels=NUM_CLASSES, **NO_DROPOUT
        ).float()
        clock = peft_trainer.Clock()
        peft_trainer.build_trainer(model, config, data, examples, [clock]).train()
        return Training(int(data.lengths[examples].sum()), clock.seconds).tokens_per_second

    measured = alternate({"Trainer": train_theirs, "ours": train_ours}, num_rounds, warm_up=False)
    rows = [(name, sorted(rates)[len(rates) // 2]) for name, rates in measured.items()]
    print_table(f"full fine-tuning, {precision}: {num_steps} steps", ("contestant", "text tokens / s"), rows)
    return median_ratio(measured["ours"], measured["Trainer"])


def build_full(arguments: Namespace, precision: str, num_steps: int) -> RunConfig:
    """Return the benchmarks' task with all weights trained."""
    values = build_config(arguments, precision, num_steps, learning_rate=5e-5).values
    kept = {name: value for name, value in values.items() if name not in PromptConfig.model_fields}
    return RunConfig(**kept, tuning="full")


if __name__ == "__main__":
    main()
