"""Prefix tuning: trained keys and values in the backbone's layers (arXiv:2101.00190, arXiv:2110.07602)."""
