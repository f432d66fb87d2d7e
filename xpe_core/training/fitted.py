"""Readouts that no step trains: their tensors come out of the training examples, or of the backbone's own states."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from xpe_core.backbones.backbone import load_tokenizer
from xpe_core.backbones.insertion import Insertion
from xpe_core.data.tokenising import choose_pad_token_id
from xpe_core.data.tokens import TokenisedData
from xpe_core.pack import Pack
from xpe_core.training.pack_state import RunProgress


def fit_readouts(model: Pack, data: TokenisedData, runs: Sequence[RunProgress]) -> None:
    """Give every run's readout the tensors that are not trained."""

    def read(texts: Sequence[str]) -> Tensor:
        return read_texts(model, texts)

    for run in runs:
        for name, value in model.readout.fit(run.config, data, run.rows, read).items():
            model.parameters[f"{run.config.readout.readout}.{name}"][run.index] = value


def read_texts(model: Pack, texts: Sequence[str]) -> Tensor:
    """Return the states [N, H] that the readout reads of texts, through the backbone as it is."""
    tokenizer = load_tokenizer(model.backbone.name)
    encoded = tokenizer(
        list(texts), truncation=True, max_length=model.configs[0].data.max_length, return_attention_mask=False
    )
    rows: list[list[int]] = encoded["input_ids"]
    lengths = np.array([len(row) for row in rows])
    token_ids = np.full((len(rows), int(lengths.max())), choose_pad_token_id(tokenizer), dtype=np.int64)
    for row, ids in enumerate(rows):
        token_ids[row, : len(ids)] = ids
    with torch.no_grad():
        return model.read(Insertion(), torch.from_numpy(token_ids)[None].to(model.device), lengths, 1)[0]
