"""The states that a readout reads where nothing is inserted: the same for all runs, seeds and steps.

They are computed once and kept in the cache: what was asked for of a language and split, together. So training a
readout alone takes no pass of the backbone, and of large data only what is used is computed. What others have asked
for changes no digit. What is kept is float32, whatever the backbone was computed in.

M rows of the data, H hidden size.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xpe_core.backbones.insertion import Insertion
from xpe_core.cache import cache_folder, read_built
from xpe_core.data.tokens import TokenisedData
from xpe_core.digests import digest
from xpe_core.pack import Pack
from xpe_core.steps import Step, long_step
from xpe_core.training.batches import run_in_batches

FORMAT = 1
FILE = "states.npy"


class FrozenStates:
    """States of the rows that were asked for, in memory."""

    def __init__(self, pack: Pack, data: TokenisedData) -> None:
        """Hold none yet."""
        self._pack, self._data = pack, data
        self._slots = np.full(len(data.lengths), -1)
        self._states = torch.empty(0, pack.backbone.hidden_size, device=pack.device)

    def take(self, rows: np.ndarray) -> Tensor:
        """Return the states [*rows.shape, H] of rows of the data; those that are new are read or computed."""
        if len(new := np.unique(rows[self._slots[rows] < 0])):
            self._add(new)
        return self._states[torch.from_numpy(self._slots[rows]).to(self._pack.device)]

    def _add(self, rows: np.ndarray) -> None:
        groups = self._group(rows)
        with long_step("Computing states", sum(map(len, groups)), "texts") as step:
            arrays = [self._read(group, step) for group in groups]
        every = np.concatenate(groups)
        self._slots[every] = len(self._states) + np.arange(len(every))
        new = torch.from_numpy(np.concatenate(arrays)).to(self._pack.device)
        self._states = torch.cat([self._states, new])

    def _group(self, rows: np.ndarray) -> list[np.ndarray]:
        """Return these rows by language and split."""
        languages, splits = self._data.language_ids[rows], self._data.split_ids[rows]
        pairs = sorted({*zip(languages.tolist(), splits.tolist(), strict=True)})
        return [rows[(languages == language) & (splits == split)] for language, split in pairs]

    def _read(self, rows: np.ndarray, step: Step) -> np.ndarray:
        """Return the states [M, H] of a group, from the cache where they are there."""

        def build(folder: Path) -> None:
            np.save(folder / FILE, compute_states(self._pack, self._data, rows))

        def read(folder: Path) -> np.ndarray:
            states: np.ndarray = np.load(folder / FILE)
            if states.shape != (len(rows), self._pack.backbone.hidden_size):
                raise ValueError(f"{folder / FILE} has the shape {states.shape}")
            return states

        states = read_built(cache_folder() / "states" / self._name(rows), build, read)
        step.done += len(rows)
        return states

    def _name(self, rows: np.ndarray) -> str:
        pack, config = self._pack, self._pack.configs[0]
        of_rows = hashlib.sha256(np.ascontiguousarray(rows, dtype=np.int64).tobytes()).hexdigest()
        of_data = self._data.fingerprint, of_rows
        of_backbone = pack.backbone.weights_fingerprint, config.precision, pack.reads_first, pack.device.type
        return digest([FORMAT, *of_data, *of_backbone])


def compute_states(pack: Pack, data: TokenisedData, rows: np.ndarray) -> np.ndarray:
    """Return the states [M, H] of rows of the data, float32."""
    states = np.empty((len(rows), pack.backbone.hidden_size), dtype=np.float32)
    lengths = data.lengths[rows]
    order = np.argsort(lengths, kind="stable")

    @torch.inference_mode()
    def compute(batch: slice) -> None:
        chosen = order[batch]
        token_ids = data.pad(rows[chosen])[None].to(pack.device)  # [1, B, T]
        types = data.pad_types(rows[chosen])
        types = None if types is None else types[None].to(pack.device)
        states[chosen] = pack.read(Insertion(), token_ids, lengths[chosen], 1, types)[0].cpu().numpy()

    run_in_batches(lengths[order], compute, pack.device)
    return states
