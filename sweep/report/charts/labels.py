"""Where the labels of a chart's points stand, so that none lies on another or on a point: Vega-Lite has no such thing.

A chart is as wide as the screen lets it be, so a label stands well where it is free at all of WIDTHS.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTHS = (280.0, 460.0, 680.0)
"""Of a chart's inside in pixels: on a phone, on half a screen, and at most."""
LETTER_PIXELS = 6.4
LINE_PIXELS = 13.0
POINT_PIXELS = 7.0
"""Half the size of a point that has a label."""
REACHES = (13.0, 22.0, 32.0, 44.0, 60.0)
"""Distances from a point in pixels, the nearest first."""
NUM_DIRECTIONS = 16


@dataclass(frozen=True)
class Offset:
    """How far a label's middle is from its point in pixels, to the right and down."""

    dx: float
    dy: float


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: "_Box") -> float:
        """Return the area that both have, in square pixels."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0.0) * max(height, 0.0)

    def outside(self, width: float, height: float) -> float:
        """Return how much of it lies outside of a chart, in square pixels."""
        inside = self.overlap(_Box(0.0, 0.0, width, height))
        return (self.right - self.left) * (self.bottom - self.top) - inside


def place_labels(
    points: Sequence[tuple[float, float]],
    labels: Sequence[str],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    height: float,
) -> list[Offset]:
    """Return an offset a label, given points in the units of axes with these ranges, on a chart of `height` pixels.

    Labels are placed one after the other, each where it covers least; of equal ones the nearest.
    """
    positions = [
        [(_share(x, x_range) * width, (1 - _share(y, y_range)) * height) for x, y in points] for width in WIDTHS
    ]
    taken = [[_box(x, y, 2 * POINT_PIXELS, 2 * POINT_PIXELS) for x, y in at_width] for at_width in positions]
    offsets = []
    for number, label in enumerate(labels):
        size = (LETTER_PIXELS * len(label) + 4, LINE_PIXELS)
        here = [at_width[number] for at_width in positions]
        best = min(_candidates(size[0]), key=lambda offset: _cost(offset, size, here, taken, height))
        offsets.append(best)
        for (x, y), boxes in zip(here, taken, strict=True):
            boxes.append(_box(x + best.dx, y + best.dy, *size))
    return offsets


def _candidates(width: float) -> list[Offset]:
    """Return where a label of this width may stand around its point: beside it, above, below, and between."""
    found = []
    for reach in REACHES:
        for number in range(NUM_DIRECTIONS):
            angle = 2 * math.pi * number / NUM_DIRECTIONS
            across, down = math.cos(angle), -math.sin(angle)
            side = across * max(width - LINE_PIXELS, 0.0) / 2
            found.append(Offset(round(across * reach + side, 1), round(down * reach, 1)))
    return found


def _cost(
    offset: Offset,
    size: tuple[float, float],
    here: Sequence[tuple[float, float]],
    taken: Sequence[Sequence[_Box]],
    height: float,
) -> float:
    """Return how much a label covers at all widths, or loses beyond an edge; the distance decides between equals."""
    total = 0.001 * math.hypot(offset.dx, offset.dy)
    for width, (x, y), boxes in zip(WIDTHS, here, taken, strict=True):
        box = _box(x + offset.dx, y + offset.dy, *size)
        total += sum(box.overlap(other) for other in boxes) + 2 * box.outside(width, height)
    return total


def _box(x: float, y: float, width: float, height: float) -> _Box:
    return _Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _share(value: float, ends: tuple[float, float]) -> float:
    low, high = ends
    return (value - low) / (high - low) if high > low else 0.5
