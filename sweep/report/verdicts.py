"""What a table of differences says in a sentence."""

import polars as pl

from sweep.report.answer_sheets import SIGNIFICANT
from sweep.report.sheet import sections


def judge(differences: pl.DataFrame, subject: str | None = "it") -> list[str]:
    """Return a sentence for each that is compared with: on how many groups the subject is really higher or lower.

    Without a subject it is the arm. Real is what Holm's correction leaves at 5 %.
    """
    said = []
    for name, part in sections(differences, "baseline"):
        real = part.filter(pl.col("p_holm") <= SIGNIFICANT)
        higher = real.filter(pl.col("difference") > 0)["group"].to_list()
        lower = real.filter(pl.col("difference") < 0)["group"].to_list()
        counted = len(part.drop_nulls("difference"))
        found = [
            f"is really {what} on {', '.join(groups)}"
            for what, groups in (("higher", higher), ("lower", lower))
            if groups
        ]
        if left := counted - len(higher) - len(lower):
            found.append(f"shows no clear difference on {left} of {counted} groups")
        if found:
            who = subject or " and ".join(part["arm"].unique(maintain_order=True))
            said.append(f"Compared with {name}, {who} {' and '.join(found)}.")
    return said
