"""The parts of an experiment file that all kinds of experiment have: where is tested, and what a trial gets."""

from typing import Annotated, Literal

from pydantic import Field

from sweep.experiment.space import Strict
from xpe_core.fields import Float, Int


class EvaluationConfig(Strict):
    """Where finished trials are tested."""

    languages: str | tuple[str, ...] = "all"
    """Target languages: a group, family, script or code, or a list of them."""
    max_examples: Int | None = Field(None, ge=1)
    """Test examples a language at most, drawn once for all; null is all."""


class ResourcesConfig(Strict):
    """What a trial gets; null is one GPU a trial where there are GPUs, else the whole machine one trial at a time."""

    cpus_per_trial: Int | None = Field(None, ge=1)
    """CPU cores of a trial."""
    gpus_per_trial: Float | None = Field(None, ge=0)
    """GPUs of a trial; of a fraction, the trial keeps to its share of the GPU's memory."""
    max_concurrent_trials: Int | None = Field(None, ge=1)
    """Trials that run at a time; null is as many as there is room for."""
    seeds_per_trial: Annotated[Int, Field(ge=1)] | Literal["auto"] | None = None
    """Of a grid or a replication: runs that train together at most.

    Null is all seeds of a cell, as many a pass as memory takes; `auto` is as many as one pass has memory for, measured.
    """
    checkpoint_seconds: Float = Field(60.0, ge=0)
    """Between the checkpoints of a running trial: what a lost worker has to do again at most."""
