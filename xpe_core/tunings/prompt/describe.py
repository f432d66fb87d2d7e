"""What is said of a prompt."""

from xpe_core.tunings.prompt.config import BOTH, ENCODED, SOFT, PromptConfig
from xpe_core.tunings.words import Words

TITLES = {SOFT: "standard soft prompt (SPT)", ENCODED: "cross-prompt encoder (XPE)", BOTH: "dual soft prompt (DUAL)"}
OF_ENCODER = frozenset(
    (
        *("encoder_hidden_size", "encoder_num_layers", "encoder_dropout", "encoder_type", "encoder_num_heads"),
        *("encoder_input_size", "encoder_prompt_learning_rate", "encoder_prompt_weight_decay"),
    )
)
OF_TOKENS = frozenset(("prompt_learning_rate", "prompt_weight_decay"))
UNREAD = {SOFT: OF_ENCODER, ENCODED: OF_TOKENS, BOTH: frozenset[str]()}
PUBLISHED = {0.0: "spt", 1.0: "xpe", 0.3: "dual_30", 0.7: "dual_70"}
"""The published methods by `encoder_ratio` (arXiv:2508.10352)."""


def describe_prompt(config: PromptConfig) -> Words:
    """Return what is said of a run with this prompt."""
    total = config.num_virtual_tokens
    return Words(
        title=f"{TITLES[config.method]} of {total} virtual token{'' if total == 1 else 's'}",
        size=f"{total} tokens",
        sentence=_explain(config),
        tags=("prompt-tuning", "soft-prompt", "arxiv:2508.10352"),
        unread=UNREAD[config.method],
        published=PUBLISHED.get(config.encoder_ratio),
        why_unpublished=f"encoder_ratio is {config.encoder_ratio:g}",
    )


def _explain(config: PromptConfig) -> str:
    """Return which tokens come from where."""
    encoded, total = config.num_encoder_tokens, config.num_virtual_tokens
    vectors = "1 vector stands" if total == 1 else f"{total} vectors stand"
    start = f"{vectors} before the embeddings of every text; the encoder itself is not changed. "
    through = {
        "mlp": f"a small MLP (hidden size {config.encoder_hidden_size})",
        "lstm": f"a bidirectional LSTM (hidden size {config.encoder_hidden_size})",
        "attention": f"a layer of attention ({config.encoder_num_heads} heads)",
        "none": "no encoder at all",
    }[config.encoder_type]
    kinds = {
        SOFT: "They are trained directly (SPT).",
        ENCODED: f"They are the output of {through}, which is trained with its input embeddings (XPE).",
        BOTH: f"The first {total - encoded} are trained directly, the other {encoded} are the output of {through}, "
        f"which is trained with its input embeddings (DUAL, `encoder_ratio` {config.encoder_ratio:g}).",
    }
    end = " After training a prompt is a fixed table, so the files hold the table and not what computed it."
    return start + kinds[config.method] + (end if config.method != SOFT else "")
