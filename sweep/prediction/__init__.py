"""Texts from somewhere, through a trained adapter, to somewhere."""
