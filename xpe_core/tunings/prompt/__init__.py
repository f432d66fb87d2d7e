"""Virtual tokens before the text: trained directly (SPT), by an encoder (XPE), or some of both (DUAL)."""
