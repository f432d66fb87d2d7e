"""Clusters that lose machines, for real: what a test cannot do inside its own Ray."""
