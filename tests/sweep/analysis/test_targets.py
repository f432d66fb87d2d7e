"""Which languages a table's rows average over, and which are in none."""

import pytest

from sweep.analysis.targets import find_rows, is_published, target_groups
from sweep.experiment.files import load_experiment
from xpe_core.errors import InputError
from xpe_core.language_facts import find_facts
from xpe_core.tasks import DEFAULT_TASK


def test_quickstart_keeps_its_rows() -> None:
    _, sweep = load_experiment("quickstart")
    languages = sorted(sweep.evaluation.languages)
    rows = find_rows("cldr", {"joshi5": "joshi5"}, languages, {})
    sizes = {name: len(codes) for name, codes in rows.groups("joshi5", languages).items()}
    assert sizes == {"low_performing": 5, "unseen": 11, "seen_without_joshi5": 13, "all_without_joshi5": 24}
    assert rows.explain(languages) == []


@pytest.mark.parametrize(
    ("dataset", "is_sib200"),
    [
        ("Davlan/sib200", True),
        ("/data/SIB-200", True),
        ("/data/sib-200/data/annotated", True),
        ("/data/sib200_small.csv", True),
        ("/data/sib200/mine.csv", False),
        ("/data/news.csv", False),
        ("cldr", False),
    ],
)
def test_sib200_is_known_by_its_name(dataset: str, is_sib200: bool) -> None:
    assert is_published(dataset) == is_sib200


def test_on_sib200_what_unpublished_source_sets_train_on_is_left_out_beside_joshi5() -> None:
    tested = ["deu_Latn", "kat_Geor", "tur_Latn", "yor_Latn"]
    rows = find_rows("Davlan/sib200", {"enarzho": "enarzho", "Turkic": "Turkic"}, tested, {})
    assert (rows.name, set(rows.excluded)) == ("joshi5,trained", {"deu_Latn", "tur_Latn"})
    assert rows.explain(tested) == ["Tested, and not in any row: deu_Latn (joshi5); tur_Latn (trained on)."]


def test_the_published_source_sets_side_by_side_keep_the_published_rows_in_a_folder_of_any_name() -> None:
    tested = ["deu_Latn", "kat_Geor", "yor_Latn"]
    sets = {name: name for name in ("enarzho", "joshi5", "xlmr_seen")}
    assert find_rows("/data/mine", sets, tested, {}).name == "joshi5"
    assert find_rows("/data/mine", {"enarzho": "enarzho"}, tested, {}).excluded == set()


def test_what_is_validated_on_says_what_a_group_trained_on() -> None:
    tested = ["eng", "deu", "hau"]
    rows = find_rows("mine.csv", {"all": "all"}, tested, {"all": ["eng"]})  # the others have no train split
    assert rows.excluded == {"eng"}


def test_rows_hold_languages_of_ones_own_and_ones_own_groups() -> None:
    groups = target_groups(["bzd", "hau", "zh-CN"], "none", {"own": ("bzd", "ha")})
    assert groups == {
        "low_performing": (),
        "unseen": (),
        "seen": ("hau", "zh-CN"),
        "all": ("hau", "zh-CN"),
        "own": ("bzd", "hau"),
        "all_targets": ("bzd", "hau", "zh-CN"),
    }


def test_rows_of_what_the_backbone_or_the_task_is_not_known_for_are_absent() -> None:
    languages = ["hau", "kat", "yor"]
    glot = find_facts("glot500", DEFAULT_TASK)
    assert list(target_groups(languages, "none", facts=glot)) == ["low_performing", "all"]
    other = find_facts("xlm-roberta-base", "another task")
    assert target_groups(languages, "none", facts=other) == {
        "unseen": ("yor",),
        "seen": ("hau", "kat"),
        "all": ("hau", "kat", "yor"),
    }
    rows = find_rows("mine.csv", {"unseen": "unseen"}, languages, {}, facts=glot)
    assert rows.trained == {"unseen": frozenset()}


def test_an_unknown_exclusion_is_refused_and_one_without_a_tested_language_is_not() -> None:
    assert find_rows("mine.csv", {"eng": "eng"}, ["eng", "hau"], {}, exclude="kat_Geor").excluded == set()
    with pytest.raises(InputError, match="unknown language 'joshi6'; did you mean 'joshi5'"):
        find_rows("mine.csv", {"eng": "eng"}, ["eng", "hau"], {}, exclude="joshi6")
