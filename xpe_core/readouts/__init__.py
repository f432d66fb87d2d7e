"""Readouts: what turns the backbone's hidden states into an answer. A new one is a folder here and an entry below."""

from xpe_core.readouts.head.readout import HeadReadout
from xpe_core.readouts.majority.readout import MajorityReadout
from xpe_core.readouts.nearest_label.readout import NearestLabelReadout
from xpe_core.readouts.readout import Readout
from xpe_core.readouts.span.readout import SpanReadout

READOUTS: dict[str, Readout] = {
    "head": HeadReadout(),
    "span": SpanReadout(),
    "majority": MajorityReadout(),
    "nearest_label": NearestLabelReadout(),
}
