"""Low-rank updates of the backbone's linear layers (LoRA, arXiv:2106.09685)."""
