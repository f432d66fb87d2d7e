"""Runs' modules without a backbone, and what a pack computes of given texts."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from xpe_core.backbones.shape import Shape
from xpe_core.config import RunConfig
from xpe_core.pack import Pack, build_run
from xpe_core.stacked import Parameters
from xpe_core.tunings.prompt.config import PromptConfig


def make_shape(hidden_size: int) -> Shape:
    """Return the shape of a backbone of this hidden size, without linear layers."""
    return Shape("made", hidden_size, 512)


def make_run(config: RunConfig, hidden_size: int, num_classes: int) -> nn.ModuleDict:
    """Return what is trained in one run on a backbone of this hidden size."""
    return build_run(config, make_shape(hidden_size), num_classes)


def ratio_of(run: RunConfig) -> float:
    """Return a prompt's `encoder_ratio`."""
    assert isinstance(run.tuning, PromptConfig)
    return run.tuning.encoder_ratio


def compute_outputs(
    pack: Pack,
    token_ids: Tensor,
    lengths: np.ndarray,
    runs: Sequence[int] | None = None,
    parameters: Parameters | None = None,
) -> Tensor:
    """Return the logits [R, B, C] of a pack's runs, without dropout."""
    runs = range(len(pack.configs)) if runs is None else runs
    parameters = parameters or {name: value[list(runs)] for name, value in pack.parameters.items()}
    return pack.outputs(parameters, pack.insert(parameters, runs), token_ids, lengths)
