"""A pack: runs that share one frozen backbone and its forward pass, each with trained parts of its own.

The modules are written for one run; a pack holds every run's parameters stacked along a first dimension and calls the
modules over it (torch.func), so that a pack of ten costs as many launches as a run alone. What a run computes does not
depend on who else is in the pack: its weights and its dropout come from its own seed, and no operation mixes runs.

R runs, B examples of each, P virtual tokens, T text tokens, H hidden size, C classes.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import stack_module_state

from xpe_core.backbones.backbone import Backbone
from xpe_core.backbones.backbone_dropout import BackboneDropout
from xpe_core.backbones.insertion import Insertion
from xpe_core.backbones.shape import Shape
from xpe_core.config import SHARED_FIELDS, RunConfig
from xpe_core.dropout import NO_DROPOUT, Dropout, Masks, draw_mask, draw_seeds
from xpe_core.errors import InputError
from xpe_core.readouts import READOUTS
from xpe_core.readouts.fitting import check_answers
from xpe_core.readouts.readout import Readout, States
from xpe_core.seeds import stream_seed
from xpe_core.stacked import Parameters, call_stacked
from xpe_core.tunings import TUNINGS, is_alone
from xpe_core.tunings.tuning import Tuning


class Pack:
    """One frozen backbone and the runs on it, all of one tuning and one readout."""

    def __init__(self, backbone: Backbone, configs: Sequence[RunConfig], num_classes: int) -> None:
        """Build every run's trained parts; raise InputError where the configs cannot share a backbone's batch."""
        _check_pack(configs)
        check_config(configs[0], backbone.shape)
        self.backbone = backbone
        self.configs = tuple(configs)
        self.tuning, self.readout = find_parts(configs[0])
        if not self.owns_weights:
            backbone.prepare(configs[0].precision)  # not within a pass, whose memory and time are measured
        self.num_classes = num_classes
        self.num_tokens = self.tuning.num_tokens(configs[0])
        """P: positions that stand before every text."""
        self.device = next(backbone.parameters()).device
        runs = [build_run(config, backbone.shape, num_classes) for config in configs]
        stacked, _ = stack_module_state(list(runs))
        self.parameters: Parameters = {
            # what lies nowhere is what `_start` fills in
            name: torch.empty_like(value, device=self.device) if value.is_meta else value.detach().to(self.device)
            for name, value in stacked.items()
        }
        """Of all runs, by the names that `build_run` gives them; each [R, ...]."""
        self._start()
        self._modules = runs[0].to("meta")
        self._streams = [
            torch.Generator(self.device).manual_seed(stream_seed(config.seed, "dropout")) for config in configs
        ]

    def _start(self) -> None:
        """Fill in the parameters whose start the backbone decides."""
        for index, config in enumerate(self.configs):
            for name, value in self.tuning.start(config, self.backbone).items():
                self.parameters[f"{config.tuning.tuning}.{name}"][index] = value

    @property
    def owns_weights(self) -> bool:
        """Whether each run has the backbone's weights to itself, so that no pass of it serves two."""
        return is_alone(self.configs[0])

    @property
    def reads_first(self) -> bool:
        """Whether only the first position's state is read."""
        return reads(self.configs[0]) == "first"

    def run_parameters(self, index: int) -> Parameters:
        """Return views of the parameters of one run, as its module's `state_dict()` names them."""
        return {name: value[index] for name, value in self.parameters.items()}

    def draw_dropout(self, runs: Sequence[int], num_examples: int) -> Dropout:
        """Draw one training step's dropout masks for some runs, each from its own stream."""
        config, shape = self.configs[0], self.backbone.shape
        streams = [self._streams[run] for run in runs]

        def draw(part: Tuning | Readout) -> Masks:
            rates = [part.dropout_rate(self.configs[run]) for run in runs]
            shapes = part.mask_shapes(config, num_examples, shape) if any(rates) else []
            return [draw_mask(shape, rates, streams) for shape in shapes]

        tuning, readout = draw(self.tuning), draw(self.readout)
        rates = [self.tuning.dropout_rate(self.configs[run]) * self.tuning.drops_in_layers for run in runs]
        seeds = draw_seeds(num_examples, rates, streams) if any(rates) else None
        return Dropout(tuning, readout, seeds, self._draw_backbone(num_examples, streams))

    def _draw_backbone(self, num_examples: int, streams: Sequence[torch.Generator]) -> BackboneDropout | None:
        """Draw what the backbone drops in one training step of runs with these streams."""
        if not (rate := self.configs[0].training.backbone_dropout):
            return None
        seeds = draw_seeds(num_examples, [rate] * len(streams), streams)
        return BackboneDropout(rate, seeds, seeds[:, 0])

    def dropout_states(self) -> dict[str, Tensor]:
        """Return where every run's stream of dropout masks stands, for a checkpoint."""
        return {str(index): stream.get_state() for index, stream in enumerate(self._streams)}

    def restore_dropout(self, states: dict[str, Tensor]) -> None:
        """Go on drawing masks where another pack of the same runs stood."""
        for index, state in states.items():
            self._streams[int(index)].set_state(state)

    def insert(self, parameters: Parameters, runs: Sequence[int], dropout: Dropout = NO_DROPOUT) -> Insertion:
        """Return what `runs`, whose `parameters` are given, put into the backbone."""
        name = self.configs[0].tuning.tuning
        output = call_stacked(self._modules.get_submodule(name), f"{name}.", parameters, dropout.tuning)
        insertion = self.tuning.insert(output, [self.configs[run] for run in runs], dropout.seeds)
        return replace(insertion, dropout=dropout.backbone)

    def outputs(
        self,
        parameters: Parameters,
        insertion: Insertion,
        token_ids: Tensor,
        lengths: np.ndarray,
        masks: Masks = (),
        token_types: Tensor | None = None,
    ) -> Tensor:
        """Return the readout's outputs [R, B, ...], with dropout in it only where `masks` are given.

        `token_ids` are [R, B, T], one batch a run, or [1, B, T], the same batch for every run; `lengths` say how many
        of the T are no padding, for the examples of all batches in turn; `token_types` are as `token_ids`.
        """
        num_runs = len(next(iter(parameters.values())))
        pooled = self.read(insertion, token_ids, lengths, num_runs, token_types)
        return self.answer(parameters, pooled, masks)

    def read(
        self,
        insertion: Insertion,
        token_ids: Tensor,
        lengths: np.ndarray,
        num_runs: int,
        token_types: Tensor | None = None,
    ) -> Tensor:
        """Return the states that the readout reads [R, B, H], or [R, B, T, H]; arguments are those of `outputs`."""
        num_examples = token_ids.shape[1]
        if insertion.weights:
            token_ids = token_ids.expand(num_runs, -1, -1)
            token_types = None if token_types is None else token_types.expand(num_runs, -1, -1)
        types = None if token_types is None else token_types.flatten(0, 1)
        text = self.backbone.embed(token_ids.flatten(0, 1), types, insertion).unflatten(0, token_ids.shape[:2])
        text = text.expand(num_runs, -1, -1, -1)  # [R, B, T, H]
        if insertion.tokens is not None:
            tokens = insertion.tokens.expand(-1, num_examples, -1, -1)
            text = torch.cat([tokens.to(text.dtype), text], dim=2)
        embeddings = text.flatten(0, 1)  # [RB, P + T, H]
        mask = self._mask(lengths, len(embeddings), embeddings.shape[1])
        hidden = self.backbone(embeddings, mask, self.configs[0].precision, self.reads_first, insertion).float()
        of_readout = reads(self.configs[0])
        if of_readout == "text":
            states = hidden[:, hidden.shape[1] - token_ids.shape[2] :]  # [RB, T, H]
        else:
            states = hidden[:, 0] if of_readout == "first" else _average(hidden, mask)  # [RB, H]
        return states.unflatten(0, (num_runs, num_examples))

    def answer(self, parameters: Parameters, pooled: Tensor, masks: Masks = ()) -> Tensor:
        """Return the readout's outputs [R, B, ...] of the states that it reads, as `read` returns them."""
        name = self.configs[0].readout.readout
        outputs = call_stacked(self._modules.get_submodule(name), f"{name}.", parameters, pooled, masks)
        assert isinstance(outputs, Tensor)
        return outputs

    def _mask(self, lengths: np.ndarray, num_sequences: int, width: int) -> Tensor | None:
        """Return which positions of prompt and text are no padding [RB, P + T], or None where none is."""
        if int(lengths.min()) + self.num_tokens == width:
            return None
        totals = torch.from_numpy(lengths).to(self.device) + self.num_tokens
        mask = torch.arange(width, device=self.device) < totals[:, None]
        return mask.repeat(num_sequences // len(mask), 1)


def find_parts(config: RunConfig) -> tuple[Tuning, Readout]:
    """Return the tuning and the readout of a run."""
    return TUNINGS[config.tuning.tuning], READOUTS[config.readout.readout]


def count_tokens(config: RunConfig) -> int:
    """Return how many positions a run puts before every text."""
    return find_parts(config)[0].num_tokens(config)


def count_positions(config: RunConfig) -> int:
    """Return how many positions come before a text's own, where some are of keys and values alone."""
    tuning, _ = find_parts(config)
    return tuning.num_tokens(config) + max(tuning.num_keys(config, 1), default=0)


def reads(config: RunConfig) -> States:
    """Return which states a run's readout reads."""
    return find_parts(config)[1].reads(config)


def build_run(config: RunConfig, shape: Shape, num_classes: int) -> nn.ModuleDict:
    """Return what is trained in one run, the tuning and the readout by their names.

    Weights are drawn from the run's own seed, on the CPU, so that they are the same on any machine.
    """
    tuning, readout = find_parts(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(config.seed, "weights"))
        return nn.ModuleDict(
            {
                config.tuning.tuning: tuning.build(config, shape),
                config.readout.readout: readout.build(config, shape, num_classes),
            }
        )


def count_trained_parameters(config: RunConfig, shape: Shape, num_classes: int) -> int:
    """Return how many numbers a run trains, without making them."""
    if not find_parts(config)[1].trains:
        return 0
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_run(config, shape, num_classes).parameters())


def rate_and_decay(name: str, config: RunConfig) -> tuple[float, float]:
    """Return the learning rate and weight decay of a run's parameter, by its name in `Pack.parameters`."""
    tuning, readout = find_parts(config)
    part, _, parameter = name.partition(".")
    return (tuning if part == config.tuning.tuning else readout).rate_and_decay(parameter, config)


def keeps_states(config: RunConfig) -> bool:
    """Return whether a text's states are the same in all evaluations, and few enough to be kept: one a text."""
    return not find_parts(config)[0].inserts and reads(config) != "text"


def trains_on_states(config: RunConfig) -> bool:
    """Return whether a text's states are kept, and are the same in all training steps, too."""
    return keeps_states(config) and not config.training.backbone_dropout


def check_config(config: RunConfig, shape: Shape) -> None:
    """Raise InputError where a run cannot be built on a backbone of this shape."""
    check_answers(config)
    tuning, readout = find_parts(config)
    if not readout.trains and tuning.inserts:
        raise InputError(
            f"readout={config.readout.readout}: takes no step, so nothing can be trained with it; "
            f"tuning must be none, not {config.tuning.tuning}"
        )
    tuning.check(config, shape)
    if config.training.backbone_dropout and not shape.drops:
        raise InputError(
            f"backbone_dropout={config.training.backbone_dropout:g}: must be 0 with {shape.name}, whose dropout cannot "
            "be drawn for each run"
        )
    num_tokens, max_length = tuning.num_tokens(config), config.data.max_length
    if num_tokens + max_length > shape.max_positions:
        raise InputError(
            f"max_length={max_length} needs {num_tokens + max_length} positions, with {num_tokens} before the text; "
            f"{config.backbone} has {shape.max_positions}"
        )


def _check_pack(configs: Sequence[RunConfig]) -> None:
    rows = [config.values for config in configs]
    for field in SHARED_FIELDS:
        if len({row.get(field) for row in rows}) > 1:
            raise InputError(f"runs of one pack must share {field}")


def _average(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean [RB, H] of hidden states [RB, L, H] over prompt and text."""
    if mask is None:
        return hidden.mean(1)
    weights = mask[:, :, None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)
