"""Which side of a layer IA3 multiplies, by the layer's role."""

INPUT, OUTPUT = 0, 1
SCALED = {"key": OUTPUT, "value": OUTPUT, "down": INPUT}
"""What goes into `down` are the feed-forward layer's inner states."""
