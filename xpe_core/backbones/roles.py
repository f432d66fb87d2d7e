"""What the linear layers in a transformer's blocks do, and what the models of transformers call them."""

import re

ROLES: dict[str, tuple[str, ...]] = {
    "query": ("query", "q_proj", "q_lin", "query_proj"),
    "key": ("key", "k_proj", "k_lin", "key_proj"),
    "value": ("value", "v_proj", "v_lin", "value_proj"),
    "attention_output": ("attention.output.dense", "attention.dense", "o_proj", "out_lin", "attn.Wo"),
    "gate": ("gate_proj",),
    "up": ("intermediate.dense", "up_proj", "lin1", "ffn", "mlp.Wi"),
    "down": ("output.dense", "down_proj", "lin2", "ffn_output", "mlp.Wo"),
}
"""How the modules' names end, by role; of several that fit, the longest end decides."""
BLOCK = re.compile(r"(?:^|\.)[a-z_]*(?:layers?|layer_groups|h|blocks?)\.(\d+)\.(.+)$")
"""A module in a block of a transformer: the block's number, and the module's name in it."""


def find_role(name: str) -> tuple[int, str] | None:
    """Return the block's number and the role of a model's linear layer, or None where it has no role."""
    if not (match := BLOCK.search(name)):
        return None
    ends = [(len(end), role) for role, all_ends in ROLES.items() for end in all_ends if name.endswith(f".{end}")]
    return (int(match[1]), max(ends)[1]) if ends else None
