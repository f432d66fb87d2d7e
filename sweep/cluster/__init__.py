"""Ray's side: what its nodes are and have, how it is started, and how a cluster elsewhere is driven from a laptop."""
