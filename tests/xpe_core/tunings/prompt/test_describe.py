"""What is said of a prompt, by its method."""

import pytest

from xpe_core.tunings.prompt.config import PromptConfig
from xpe_core.tunings.prompt.describe import describe_prompt


@pytest.mark.parametrize(
    ("ratio", "title", "said", "published", "unread"),
    [
        (0.0, "standard soft prompt (SPT)", "They are trained directly (SPT).", "spt", "encoder_type"),
        (
            1.0,
            "cross-prompt encoder (XPE)",
            "the output of a small MLP (hidden size 256)",
            "xpe",
            "prompt_learning_rate",
        ),
        (0.3, "dual soft prompt (DUAL)", "The first 14 are trained directly, the other 6 are", "dual_30", None),
        (0.5, "dual soft prompt (DUAL)", "The first 10 are trained directly, the other 10 are", None, None),
    ],
)
def test_a_prompt_is_said_to_come_from_where_it_comes(
    ratio: float, title: str, said: str, published: str | None, unread: str | None
) -> None:
    words = describe_prompt(PromptConfig(encoder_ratio=ratio))
    assert (words.title, words.size) == (f"{title} of 20 virtual tokens", "20 tokens")
    assert words.sentence.startswith("20 vectors stand before the embeddings of every text") and said in words.sentence
    assert ("the files hold the table and not what computed it" in words.sentence) == (ratio > 0)
    assert words.published == published
    assert unread in words.unread if unread else not words.unread
