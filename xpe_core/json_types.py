"""What can be written as JSON, as a type.

What is read from JSON is `object` until it has been checked: a file may hold anything.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = "None | bool | int | float | str | Sequence[Json] | Mapping[str, Json]"
"""A value that `json.dumps` writes; what is not finite must be refused before."""
JsonObject: TypeAlias = Mapping[str, Json]
"""What JSON has between braces."""
