"""A pack's outputs for rows of a data set: through the backbone, or from states that are computed once.

R runs, B examples of each, C classes.
"""

import numpy as np
from torch import Tensor

from xpe_core.backbones.insertion import Insertion
from xpe_core.data.tokens import TokenisedData
from xpe_core.dropout import NO_DROPOUT, Dropout
from xpe_core.pack import Pack, keeps_states, trains_on_states
from xpe_core.stacked import Parameters
from xpe_core.training.frozen_states import FrozenStates


class Outputs:
    """Where the outputs of a pack on a data set come from."""

    def __init__(self, pack: Pack, data: TokenisedData) -> None:
        """Nothing is computed yet."""
        self._pack, self._data = pack, data
        self._trains_on_states = trains_on_states(pack.configs[0])
        self._states = FrozenStates(pack, data) if keeps_states(pack.configs[0]) else None

    @property
    def trains_on_states(self) -> bool:
        """Whether a training step needs no pass of the backbone, once the states of the rows are there."""
        return self._trains_on_states

    def prepare(self, rows: np.ndarray, in_training: bool = False) -> None:
        """Compute the states of rows that will be asked for, all at once; does nothing where the backbone is needed."""
        if self._states is not None and (self._trains_on_states or not in_training):
            self._states.take(rows)

    def __call__(
        self,
        parameters: Parameters,
        insertion: Insertion,
        rows: np.ndarray,
        width: int | None = None,
        dropout: Dropout = NO_DROPOUT,
    ) -> Tensor:
        """Return outputs [R, B, ...] of rows [R, B], or [1, B] for the same rows in all runs.

        `width` is that of the padded texts (default: the longest).
        """
        pack, data = self._pack, self._data
        if self._states is not None and insertion.dropout is None:
            num_runs = len(next(iter(parameters.values())))
            return pack.answer(parameters, self._states.take(rows).expand(num_runs, -1, -1), dropout.readout)
        token_ids = data.pad(rows.ravel(), width).unflatten(0, rows.shape).to(pack.device)  # [R, B, T]
        types = data.pad_types(rows.ravel(), width)
        types = None if types is None else types.unflatten(0, rows.shape).to(pack.device)
        return pack.outputs(parameters, insertion, token_ids, data.lengths[rows].ravel(), dropout.readout, types)
