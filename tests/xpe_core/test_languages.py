"""The language table against the counts that the published tables rest on."""

import pytest

from xpe_core.errors import InputError
from xpe_core.languages import (
    GROUPS,
    TARGET_GROUPS,
    find_language,
    resolve_languages,
    resolves_fully,
)

SIZES = {
    "eng": 1,
    "enarzho": 3,
    "joshi5": 7,
    "xlmr_seen": 92,
    "low_performing": 46,
    "unseen": 113,
    "seen": 92,
    "seen_without_joshi5": 85,
    "all_without_joshi5": 198,
    "all": 205,
}


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_has_its_published_size(group: str) -> None:
    assert len(resolve_languages(group)) == SIZES[group]


def test_low_other_unseen_and_seen_languages_make_up_all_but_joshi5() -> None:
    low, unseen = set(resolve_languages("low_performing")), set(resolve_languages("unseen"))
    seen = set(resolve_languages("seen_without_joshi5"))
    assert low <= unseen and len(unseen - low) == 67
    assert low | unseen | seen == set(resolve_languages("all_without_joshi5"))


def test_no_target_group_holds_a_joshi5_language() -> None:
    joshi5 = set(resolve_languages("joshi5"))
    assert joshi5 == {"arb_Arab", "deu_Latn", "eng_Latn", "fra_Latn", "jpn_Jpan", "spa_Latn", "zho_Hans"}
    assert not any(joshi5 & set(resolve_languages(group)) for group in TARGET_GROUPS)


def test_two_oddities_of_the_published_table_are_kept() -> None:
    seen = resolve_languages("xlmr_seen")
    assert "tgl_Latn" not in seen
    assert "azb_Arab" in seen


def test_families_scripts_and_codes_mix_in_one_request_without_repeats() -> None:
    georgian = resolve_languages("Kartvelian,Geor,kat_Geor")
    assert georgian == ("kat_Geor",)
    assert resolve_languages(["yor_Latn", "eng"]) == ("eng_Latn", "yor_Latn")


def test_a_group_is_cut_down_to_the_languages_of_the_data_set() -> None:
    assert resolve_languages("joshi5", available=["deu_Latn", "yor_Latn"]) == ("deu_Latn",)


def test_a_users_own_language_code_is_allowed_where_the_data_has_it() -> None:
    assert resolve_languages("all", available=["eng_Latn", "xx"]) == ("eng_Latn", "xx")
    assert resolve_languages("xx", available=["eng_Latn", "xx"]) == ("xx",)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("kab_Latnyor_Latn", "yor_Latn"), ("lowperforming", "low_performing"), ("Georgien", "kat_Geor")],
)
def test_an_unknown_language_is_refused_with_the_nearest_name(name: str, expected: str) -> None:
    with pytest.raises(InputError, match=f"unknown language '{name}'; did you mean '{expected}'"):
        resolve_languages(name)


def test_a_code_that_the_data_set_lacks_is_refused() -> None:
    with pytest.raises(InputError, match="'kat_Geor' is not in the data set; it has deu_Latn"):
        resolve_languages("kat_Geor", available=["deu_Latn"])


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("af-ZA", "afr_Latn"),
        ("zh-CN", "zho_Hans"),
        ("zh-TW", "zho_Hant"),
        ("nb-NO", "nob_Latn"),
        ("hau", "hau_Latn"),
        ("tl-PH", "tgl_Latn"),
        ("orm", "gaz_Latn"),
        ("swa", "swh_Latn"),
        ("hausa", "hau_Latn"),
        ("sr-Latn", None),  # the table has Serbian in Cyrillic only
        ("pcm", None),
        ("bzd", None),
        ("own", None),
    ],
)
def test_the_table_is_asked_in_any_spelling(code: str, found: str | None) -> None:
    language = find_language(code)
    assert (None if language is None else language.code) == found


def test_groups_hold_languages_whatever_the_data_set_calls_them() -> None:
    available = ["af-ZA", "en-US", "zh-CN", "zh-TW", "sw-KE", "bzd"]
    assert resolve_languages("enarzho", available) == ("en-US", "zh-CN")
    assert resolve_languages("xlmr_seen", available) == ("af-ZA", "en-US", "sw-KE", "zh-CN", "zh-TW")
    assert resolve_languages("Atlantic-Congo", available) == ("sw-KE",)
    assert resolve_languages("all", available) == ("af-ZA", "bzd", "en-US", "sw-KE", "zh-CN", "zh-TW")


def test_of_groups_languages_that_lack_something_are_left_out_and_by_name_they_stay() -> None:
    available = ["eng_Latn", "hau_Latn", "yor_Latn"]
    assert resolve_languages("all", available, lacking=["yor_Latn"]) == ("eng_Latn", "hau_Latn")
    assert resolve_languages("eng,yor_Latn", available, lacking=["yor_Latn"]) == ("eng_Latn", "yor_Latn")
    with pytest.raises(InputError, match="lack a split that they are needed for: hau_Latn, yor_Latn"):
        resolve_languages("low_performing,unseen,Atlantic-Congo,Afro-Asiatic", available, lacking=available[1:])


def test_a_group_is_whole_where_the_data_set_has_all_of_it() -> None:
    assert resolves_fully("enarzho", ["en", "ar-SA", "zh-CN", "de"])
    assert not resolves_fully("joshi5", ["en", "ar-SA", "zh-CN", "de"])
    assert resolves_fully(["de", "English"], ["en", "deu_Latn"])
    assert not resolves_fully("de,kat_Geor", ["en", "deu_Latn"])


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(InputError, match="no name before or after a comma"):
        resolve_languages("eng_Latn,,deu_Latn")
