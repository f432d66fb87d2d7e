"""Rows of an experiment's two tables, as types; `sweep.records.parquet` has their columns."""

from typing import Required, TypedDict


class RunRow(TypedDict, total=False):
    """A row of `runs` without its configuration; what is absent is null."""

    run_id: Required[str]
    state: Required[str]
    error: str | None
    config_id: str
    trial_id: str
    trial_number: int
    arm: str | None
    stage: str | None
    method: str
    seed: int
    adapted_to: str | None
    parent_run_id: str | None
    adapter: str | None
    adapter_fingerprint: str | None
    num_steps: int | None
    best_step: int | None
    validation_accuracy: float | None
    selection_accuracy: float | None
    train_seconds: float | None
    tokens_per_second: float | None
    padding_share: float | None
    peak_share: float | None
    num_runs_in_pack: int
    peak_memory_bytes: int | None
    num_trained_parameters: int | None
    code_version: str
    package_versions: str
    backbone_fingerprint: str
    data_fingerprint: str
    num_rows_skipped: int | None
    host: str
    device: str


class EvaluationRow(TypedDict):
    """A row of `evaluations`."""

    run_id: str
    split: str
    language: str
    metric: str
    num_examples: int
    score_sum: float
    loss: float | None
    chance_sum: float | None
