"""What is known of a backbone and a task, and what becomes of groups that rest on what is not known."""

import pytest

from xpe_core.errors import InputError
from xpe_core.language_facts import find_facts
from xpe_core.languages import resolve_languages, resolves_fully
from xpe_core.tasks import DEFAULT_TASK

GLOT = find_facts("cis-lmu/glot500-base", DEFAULT_TASK)


@pytest.mark.parametrize(
    ("backbone", "is_known"),
    [
        ("FacebookAI/xlm-roberta-large", True),
        ("/models/XLM-R-100langs/", True),
        ("C:\\models\\xlm-roberta-base", True),
        ("e5-small", True),
        ("intfloat/multilingual-e5-base", True),
        ("intfloat/e5-small", False),  # English
        ("Davlan/afro-xlmr-large", False),  # has seen more since
        ("google-bert/bert-base-multilingual-cased", False),
    ],
)
def test_a_backbone_is_known_by_the_last_part_of_its_name(backbone: str, is_known: bool) -> None:
    facts = find_facts(backbone, DEFAULT_TASK)
    assert (facts.is_seen("kat_Geor"), facts.is_seen("yor_Latn")) == ((True, False) if is_known else (None, None))


def test_a_group_of_unknown_facts_is_refused_and_others_stay() -> None:
    for group in ("seen", "unseen", "seen_without_joshi5"):
        with pytest.raises(InputError, match=f"languages '{group}': this group is not known for the backbone cis-lmu"):
            resolve_languages(group, facts=GLOT)
        assert not resolves_fully(group, ["kat_Geor"], GLOT)
    assert len(resolve_languages("joshi5", facts=GLOT)) == 7
    assert len(resolve_languages("low_performing", facts=GLOT)) == 46


def test_what_xlmr_has_seen_is_a_source_set_of_every_backbone() -> None:
    assert resolve_languages("xlmr_seen", facts=GLOT) == resolve_languages("xlmr_seen") == resolve_languages("seen")


def test_of_another_task_no_language_is_known_to_be_hard() -> None:
    facts = find_facts("xlm-roberta-large", "another")
    assert (facts.is_low_performing("yor_Latn"), facts.is_seen("yor_Latn")) == (None, False)
    with pytest.raises(InputError, match="not known for the backbone xlm-roberta-large and the task another"):
        resolve_languages("low_performing", facts=facts)
