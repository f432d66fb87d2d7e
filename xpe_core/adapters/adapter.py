"""A trained prompt and its head, as one value: what every format is read into and written from.

H the backbone's hidden size, C classes.
"""

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch

from xpe_core.backbones.backbone import Backbone
from xpe_core.backbones.shape import Shape
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.fields import FieldValue, Mark
from xpe_core.json_types import JsonObject
from xpe_core.pack import Pack, build_run, find_parts
from xpe_core.stacked import Parameters
from xpe_core.tunings import is_alone


@dataclass(frozen=True, eq=False)
class Adapter:
    """One run's prompt and head, on the CPU in float32."""

    config: RunConfig
    """Of the run; where another tool has trained it, only the fields that are set are known."""
    label_names: tuple[str, ...]
    """The C classes in the order of the logits; none where answers are no classes."""
    parameters: Parameters
    """By the names that `build_run` gives them."""
    backbone_weights: str | None = None
    """`Backbone.weights_fingerprint` of the backbone it was trained on, where that is known."""
    facts: JsonObject = field(default_factory=dict)
    """What else is known of the run, such as `best_step` and `validation_accuracy`; JSON."""

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.parameters[_name_hidden(self.config)].shape[1]

    @property
    def shape(self) -> Shape:
        """What the tensors say of the backbone's sizes; its positions are not known."""
        tuning, _ = find_parts(self.config)
        own = _of_part(self.config.tuning.tuning, self.parameters)
        weights = {name: tuple(value.shape) for name, value in own.items()} if is_alone(self.config) else {}
        return Shape(self.config.backbone, self.hidden_size, sys.maxsize, tuning.linears(own), weights=weights)

    @property
    def known(self) -> dict[str, FieldValue]:
        """Fields of the configuration whose values are known."""
        return self.config.set_values

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that stand for all that decides what it answers, whatever the format it was read from."""
        shape = self.config.marked(Mark.COMPUTED)
        sha = hashlib.sha256(json.dumps([shape, self.label_names], sort_keys=True).encode())
        for name, value in sorted(self.parameters.items()):
            sha.update(f"{name} {tuple(value.shape)}".encode())
            sha.update(value.contiguous().numpy().tobytes())
        return sha.hexdigest()[:16]

    def virtual_tokens(self) -> torch.Tensor:
        """Return the embeddings of the virtual tokens [P, H]: at inference any prompt is a fixed table."""
        with torch.inference_mode():
            table: torch.Tensor = self.build_tuning()([])[0]
        return table.clone()

    def build_tuning(self) -> torch.nn.Module:
        """Return the tuning's module, with its parameters."""
        modules = build_run(self.config, self.shape, len(self.label_names))
        modules.load_state_dict(self.parameters)
        return modules[self.config.tuning.tuning]


def check_parameters(adapter: Adapter, where: str) -> Adapter:
    """Return the adapter; InputError that names `where` if its tensors are not those that its configuration wants."""
    name = _name_hidden(adapter.config)
    weight = adapter.parameters.get(name)
    if weight is None or weight.ndim != 2:
        raise InputError(f"adapter {where}: it has no {find_parts(adapter.config)[1].title} (no matrix {name})")
    num_classes = len(adapter.label_names)
    tuning, readout = find_parts(adapter.config)
    if readout.gives == "class" and not num_classes:
        raise InputError(f"adapter {where}: it names no class")
    try:
        tuning.check(adapter.config, adapter.shape)
    except InputError as error:
        raise InputError(f"adapter {where}: {error}") from None
    with torch.device("meta"):
        expected = build_run(adapter.config, adapter.shape, num_classes).state_dict()
    if missing := sorted(expected.keys() - adapter.parameters.keys()):
        raise InputError(f"adapter {where}: the tensor {missing[0]} is missing")
    if unknown := sorted(adapter.parameters.keys() - expected.keys()):
        raise InputError(f"adapter {where}: the tensor {unknown[0]} belongs to no adapter of its configuration")
    for name, value in sorted(adapter.parameters.items()):
        if value.shape != expected[name].shape:
            raise InputError(
                f"adapter {where}: the tensor {name} has the shape {list(value.shape)}; "
                f"its configuration wants {list(expected[name].shape)}"
            )
        if not value.isfinite().all():
            raise InputError(f"adapter {where}: the tensor {name} holds numbers that are not finite")
    return adapter


def take_adapter(model: Pack, index: int, label_names: Sequence[str], facts: JsonObject | None = None) -> Adapter:
    """Return the prompt and head of one run of a pack, as they stand (after `train`, at their best)."""
    parameters = {name: value.detach().cpu().float().clone() for name, value in model.run_parameters(index).items()}
    config = RunConfig(**model.configs[index].known)  # of a run that was trained here, defaults are known too
    return Adapter(config, tuple(label_names), parameters, model.backbone.weights_fingerprint, dict(facts or {}))


def build_classifier(backbone: Backbone, adapters: Sequence[Adapter]) -> Pack:
    """Return a pack of adapters on a backbone; InputError where one does not belong on it, or not with the others."""
    for adapter in adapters:
        check_backbone(adapter, backbone)
    classes = adapters[0].label_names
    for adapter in adapters:
        if adapter.label_names != classes:
            raise InputError(
                f"adapters of one pack must have the same classes in the same order, not {', '.join(classes)} "
                f"and {', '.join(adapter.label_names)}"
            )
    model = Pack(backbone, [adapter.config for adapter in adapters], len(classes))
    for adapter in adapters:
        if other := sorted(model.parameters.keys() ^ adapter.parameters.keys()):
            raise InputError(f"the adapter does not fit {backbone.name}: only one of the two has {other[0]}")
    for name, stacked in model.parameters.items():
        for index, adapter in enumerate(adapters):
            if adapter.parameters[name].shape != stacked.shape[1:]:
                raise InputError(
                    f"the adapter does not fit {backbone.name}: its tensor {name} has the shape "
                    f"{list(adapter.parameters[name].shape)} and not {list(stacked.shape[1:])}"
                )
            stacked[index] = adapter.parameters[name]
    return model


def check_backbone(adapter: Adapter, backbone: Backbone) -> None:
    """Raise InputError where an adapter was trained on another backbone."""
    if adapter.hidden_size != backbone.hidden_size:
        raise InputError(
            f"the adapter is for a backbone of hidden size {adapter.hidden_size} ({adapter.config.backbone}); "
            f"{backbone.name} has {backbone.hidden_size}"
        )
    for name, size in adapter.shape.linears.items():
        there = backbone.shape.find_size(name)
        if there is None or any(number not in (0, has) for number, has in zip(size, there, strict=True)):
            raise InputError(
                f"the adapter is for a backbone whose linear layer {name} has the size {size}; "
                f"that of {backbone.name} is {there or 'not there'}"
            )
    if is_alone(adapter.config):
        return  # all weights are the adapter's own
    if adapter.backbone_weights not in (None, backbone.weights_fingerprint):
        raise InputError(
            f"the adapter was trained on a backbone with other weights ({adapter.config.backbone}, "
            f"{adapter.backbone_weights}); those of {backbone.name} are {backbone.weights_fingerprint}"
        )


def _name_hidden(config: RunConfig) -> str:
    """Return the name of the readout's matrix that says the size of hidden states."""
    return f"{config.readout.readout}.{find_parts(config)[1].hidden_weight}"


def _of_part(name: str, parameters: Parameters) -> Parameters:
    """Return the parameters of the tuning or readout of a name, by the names in it."""
    start = f"{name}."
    return {key.removeprefix(start): value for key, value in parameters.items() if key.startswith(start)}


def check_classes(adapter: Adapter, what: str) -> None:
    """Raise InputError where an adapter's answers are no classes; `what` is what needs them."""
    config = adapter.config
    if find_parts(config)[1].gives != "class":
        raise InputError(f"{what} takes classes, and the answers of readout={config.readout.readout} are none")


def check_spans(adapter: Adapter, what: str) -> None:
    """Raise InputError where an adapter's answers are no spans of a passage, likewise."""
    config = adapter.config
    if find_parts(config)[1].gives != "span":
        raise InputError(f"{what} takes spans, and the answers of readout={config.readout.readout} are none")
