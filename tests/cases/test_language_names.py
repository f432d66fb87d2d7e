"""Languages as people name them: in experiment files, in `--set`, and in their own data."""

from typing import Any

import pytest

from sweep.experiment.config import make_sweep
from sweep.planning.languages import check_names
from xpe_core.errors import InputError
from xpe_core.languages import explain_languages, find_language, resolve_languages

FLORES: tuple[str, ...] = (
    "arb_Arab",
    "arb_Latn",
    "eng_Latn",
    "hau_Latn",
    "por_Latn",
    "srd_Latn",
    "srp_Cyrl",
    "swh_Latn",
    "tha_Thai",
)
FLORES += ("zho_Hans", "zho_Hant")
LOCALES = ("af-ZA", "ar-SA", "en-US", "he-IL", "nb-NO", "pt-PT", "sw-KE", "tl-PH", "zh-CN", "zh-TW")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("hau", "hau_Latn"),
        ("ha", "hau_Latn"),
        ("Hausa", "hau_Latn"),
        ("zh-CN", "zho_Hans"),
        ("zh-TW", "zho_Hant"),
        ("zh-Hant", "zho_Hant"),
        ("sw", "swh_Latn"),
        ("swa", "swh_Latn"),
        ("pt-BR", "por_Latn"),
        ("ar", "arb_Arab"),  # arb_Latn is a romanisation, and not how Arabic is written as a rule
        ("sc", "srd_Latn"),
        ("eng_latn", "eng_Latn"),
        ("eng-Latn", "eng_Latn"),
    ],
)
def test_names_find_the_code_of_data_with_flores_codes(name: str, code: str) -> None:
    assert resolve_languages(name, FLORES) == (code,)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("eng_Latn", "en-US"),
        ("nob_Latn", "nb-NO"),
        ("no", "nb-NO"),
        ("iw", "he-IL"),
        ("zho_Hant", "zh-TW"),
        ("swh_Latn", "sw-KE"),
        ("tgl_Latn", "tl-PH"),
        ("Afrikaans", "af-ZA"),
        ("pt", "pt-PT"),
    ],
)
def test_flores_codes_find_the_code_of_data_with_locales(name: str, code: str) -> None:
    assert resolve_languages(name, LOCALES) == (code,)
    assert explain_languages(name, LOCALES) == (f"{name} is read as {code}",)


@pytest.mark.parametrize(
    "pair",
    "no-nob_Latn ar-arb_Arab fa-pes_Arab ms-zsm_Latn et-est_Latn lv-lvs_Latn uz-uzn_Latn mn-khk_Cyrl ku-kmr_Latn "
    "ps-pbt_Arab om-gaz_Latn az-azj_Latn sq-als_Latn ne-npi_Deva or-ory_Orya yi-ydd_Hebr mg-plt_Latn gn-grn_Latn "
    "ay-ayr_Latn qu-quy_Latn sw-swh_Latn".split(),
)
def test_a_macrolanguage_is_its_language_in_the_table(pair: str) -> None:
    name, code = pair.split("-")
    assert resolve_languages(name) == (code,)


@pytest.mark.parametrize(("name", "codes"), [("zh", "zho_Hans or zho_Hant"), ("Chinese", "zho_Hans or zho_Hant")])
def test_a_name_of_several_languages_lists_them(name: str, codes: str) -> None:
    with pytest.raises(InputError, match=f"language '{name}' may mean {codes} here; say which"):
        resolve_languages(name, FLORES)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("de", r"language 'de' \(German, deu_Latn\) is not in the data set; it has arb_Arab"),
        ("sr-Latn", "language 'sr-Latn' is not in the data set, which has srp_Cyrl of it"),
        ("haussa", "unknown language 'haussa'; did you mean 'hau_Latn'"),
        ("hua", "unknown language 'hua'; allowed are names such as"),
        ("Klingon", "unknown language 'Klingon'; allowed are names such as"),
    ],
)
def test_what_is_not_there_is_said_without_wild_guesses(name: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        resolve_languages(name, FLORES)


def test_the_datas_own_codes_come_before_groups_and_a_double_meaning_is_said() -> None:
    available = ("eng", "hau", "yor_Latn")
    assert resolve_languages("eng,hau", available) == ("eng", "hau")
    assert explain_languages("eng,hau", available) == (
        "eng is the data set's own language of that code, not the group of that name",
    )


def test_every_locale_of_massive_is_known_to_the_table() -> None:
    locales = (
        "af-ZA am-ET ar-SA az-AZ bn-BD ca-ES cy-GB da-DK de-DE el-GR en-US es-ES fa-IR fi-FI fr-FR he-IL hi-IN hu-HU "
        "hy-AM id-ID is-IS it-IT ja-JP jv-ID ka-GE km-KH kn-IN ko-KR lv-LV ml-IN mn-MN ms-MY my-MM nb-NO nl-NL pl-PL "
        "pt-PT ro-RO ru-RU sl-SL sq-AL sv-SE sw-KE ta-IN te-IN th-TH tl-PH tr-TR ur-PK vi-VN zh-CN zh-TW"
    ).split()
    found = [language.code for locale in locales if (language := find_language(locale)) is not None]
    assert len(found) == len(set(found)) == 52  # as the data set counts with Taiwan's Chinese


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"base": {"source_set": "zh"}}, "^source_set: language 'zh' may mean zh-CN or zh-TW"),
        ({"evaluation": {"languages": ["sw", "pt-BR"]}}, "^evaluation.languages: language 'pt-BR' .* has pt-PT of it"),
        ({"selection_languages": "hua"}, "^selection_languages: unknown language 'hua'"),
        ({"groups": {"mine": ["sw", "xyz"]}, "base": {"source_set": "mine"}}, "^source_set: unknown language 'xyz'"),
    ],
)
def test_names_are_checked_with_nothing_but_the_datas_languages(values: dict[str, Any], sentence: str) -> None:
    sweep = make_sweep(**{"base": {"source_set": "en-US"}, **values})
    with pytest.raises(InputError, match=sentence):
        check_names(sweep, LOCALES)
