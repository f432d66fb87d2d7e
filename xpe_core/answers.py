"""What kinds of answers there are, as tasks ask for them and readouts give them."""

from typing import Literal, TypeAlias

AnswerKind: TypeAlias = Literal["class", "span"]
"""What an answer is: one of several classes, or a span of the last text."""
