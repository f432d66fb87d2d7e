"""Frozen backbones: where their files are, how they are loaded, and the fast way through an encoder's layers."""
