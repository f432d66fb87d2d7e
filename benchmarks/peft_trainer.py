"""The usual way: peft, or the plain model, under transformers' Trainer, one seed at a time.

Written as a competent user would: batches grouped by length, bfloat16 by autocast in training and by casting the model
in evaluation, the frozen backbone's dropout off (it is the same function then, and fused attention works on it), the
pooler trained beside the classifier (it is not in the backbone's files), nothing logged or saved.
"""

import tempfile
import time
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig, PromptEncoderConfig, TaskType, get_peft_model
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from benchmarks.setting import NUM_CLASSES, Training
from xpe_core.backbones.backbone import load_tokenizer
from xpe_core.backbones.files import find_folder
from xpe_core.config import RunConfig
from xpe_core.data.tokens import TokenisedData

HEAD = ("classifier", "pooler")
"""What is trained above the backbone, by its names in the model."""


def build_model(config: RunConfig) -> Any:
    """Return the backbone with what peft trains in it and a trained head, its weights drawn from the config's seed."""
    set_seed(config.seed)
    backbone = AutoModelForSequenceClassification.from_pretrained(
        find_folder(config.backbone),
        num_labels=NUM_CLASSES,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    name, values = config.tuning.tuning, config.values
    if name == "full":
        return backbone
    if name == "none":
        for parameter_name, parameter in backbone.named_parameters():
            parameter.requires_grad = any(part in parameter_name for part in HEAD)
        return backbone
    common: dict[str, Any] = {"task_type": TaskType.SEQ_CLS, "modules_to_save": list(HEAD)}
    if name == "lora":
        targets = str(values["target_modules"]).split(",")
        sizes = {"r": values["rank"], "lora_alpha": values["alpha"], "lora_dropout": values["lora_dropout"]}
        return get_peft_model(backbone, LoraConfig(**common, **sizes, target_modules=targets))
    sizes = {name: values[name] for name in ("num_virtual_tokens", "encoder_hidden_size")}
    return get_peft_model(backbone, PromptEncoderConfig(**common, **sizes))


def build_trainer(
    model: Any,
    config: RunConfig,
    data: TokenisedData,
    examples: np.ndarray,
    callbacks: list[TrainerCallback] | None = None,
    validation: np.ndarray | None = None,
    **arguments: Any,
) -> Trainer:
    """Return a Trainer over the examples, with further TrainingArguments; `validation` are what it evaluates on."""
    settings: dict[str, Any] = {
        "output_dir": tempfile.mkdtemp(prefix="xpe-peer-"),
        "max_steps": config.training.max_steps,
        "per_device_train_batch_size": config.training.batch_size,
        "learning_rate": config.training.learning_rate,
        "lr_scheduler_type": config.training.schedule,
        "warmup_steps": config.training.warmup_ratio,
        "weight_decay": config.training.weight_decay,
        "max_grad_norm": config.training.max_grad_norm,
        "bf16": config.precision == "bfloat16",
        "use_cpu": not torch.cuda.is_available(),
        "train_sampling_strategy": "group_by_length",
        "report_to": [],
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "seed": config.seed,
        "data_seed": config.seed,
    }
    return Trainer(
        model=model,
        args=TrainingArguments(**{**settings, **arguments}),
        train_dataset=make_dataset(data, examples),
        eval_dataset=None if validation is None else make_dataset(data, validation),
        compute_metrics=_score,
        data_collator=DataCollatorWithPadding(load_tokenizer(config.backbone)),
        callbacks=callbacks,
    )


def make_dataset(data: TokenisedData, examples: np.ndarray) -> Dataset:
    """Return the examples as a data set of token ids, labels and lengths."""
    return Dataset.from_dict(
        {
            "input_ids": [data.token_ids[data.offsets[row] : data.offsets[row + 1]].tolist() for row in examples],
            "attention_mask": [[1] * int(data.lengths[row]) for row in examples],
            "labels": data.labels[examples].tolist(),
            "length": data.lengths[examples].tolist(),
        }
    )


def train_peer(config: RunConfig, data: TokenisedData, examples: np.ndarray) -> Training:
    """Train one seed for one epoch over the examples; timed is the loop alone, not the start."""
    clock = Clock()
    build_trainer(build_model(config), config, data, examples, [clock]).train()
    return Training(int(data.lengths[examples].sum()), clock.seconds)


def predict(trainer: Trainer, data: TokenisedData, examples: np.ndarray) -> np.ndarray:
    """Return predicted labels of examples, which are passed in order of length."""
    order = np.argsort(data.lengths[examples], kind="stable")
    labels = np.empty(len(examples), dtype=np.int64)
    trainer.args.train_sampling_strategy = "sequential"  # grouping would shuffle the predictions, too
    result = trainer.predict(make_dataset(data, examples[order]))
    assert np.array_equal(result.label_ids, data.labels[examples[order]])
    labels[order] = result.predictions.argmax(-1)
    return labels


def _score(result: Any) -> dict[str, float]:
    logits, labels = result
    return {"accuracy": float((logits.argmax(-1) == labels).mean())}


class Clock(TrainerCallback):
    """Takes the time from the first step's start to the last one's end."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._started = 0.0

    def on_train_begin(self, *states: Any, **others: Any) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_end(self, *states: Any, **others: Any) -> None:
        """Stop it, when the device has done what it was given."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds = time.perf_counter() - self._started
