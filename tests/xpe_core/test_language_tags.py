"""Codes of all kinds: what they say, and which of them mean one language."""

import pytest

from xpe_core.language_tags import match_codes, match_siblings, parse_name, parse_tag


@pytest.mark.parametrize(
    ("code", "iso", "main", "script", "territory"),
    [
        ("hau_Latn", "hau", "ha", "Latn", None),
        ("zh-CN", "zho", "zh", None, "CN"),
        ("zh_hant_tw", "zho", "zh", "Hant", "TW"),
        ("swh", "swh", "sw", None, None),
        ("nb-NO", "nob", "no", None, "NO"),
        ("iw", "heb", "he", None, None),
        ("zh-yue", "yue", "yue", None, None),
        ("quy_Latn", "quy", "qu", "Latn", None),  # the only Quechua of the table
        ("prs", "prs", "prs", None, None),  # which is not the Persian that fa stands for
    ],
)
def test_a_code_says_language_script_and_country(
    code: str, iso: str, main: str, script: str | None, territory: str | None
) -> None:
    tag = parse_tag(code)
    assert tag is not None
    assert (tag.iso, tag.main, tag.script, tag.territory) == (iso, main, script, territory)


@pytest.mark.parametrize("code", ["xx", "joshi5", "lang1", "A", "", "a b", "zh_CN.UTF-8", "eng_Latn,deu_Latn"])
def test_what_is_no_code_says_nothing(code: str) -> None:
    assert parse_tag(code) is None


def test_a_code_without_script_has_the_usual_one_of_its_country() -> None:
    scripts = {code: tag.likely_script for code in ("zh-TW", "zh-CN", "ko-KR", "bzd") if (tag := parse_tag(code))}
    assert scripts == {"zh-TW": "Hant", "zh-CN": "Hans", "ko-KR": "Kore", "bzd": None}


def test_the_nearer_language_is_meant() -> None:
    akan = parse_tag("ak")
    assert akan is not None
    assert match_codes(akan, ["aka_Latn", "twi_Latn"]) == ("aka_Latn",)
    assert match_codes(akan, ["twi_Latn", "tur_Latn"]) == ("twi_Latn",)


def test_another_country_or_script_is_no_match_but_a_sibling() -> None:
    brazilian = parse_tag("pt-BR")
    assert brazilian is not None
    assert match_codes(brazilian, ["pt-PT", "es-ES"]) == ()
    assert match_siblings(brazilian, ["pt-PT", "es-ES"]) == ("pt-PT",)
    assert match_codes(brazilian, ["por_Latn"]) == ("por_Latn",)


def test_a_member_of_a_macrolanguage_is_meant_only_where_there_is_no_nearer_one() -> None:
    taiwanese, kurdish = parse_tag("zh-TW"), parse_tag("ku")
    assert taiwanese is not None and kurdish is not None
    assert match_codes(taiwanese, ["yue", "zh"]) == ()
    assert match_codes(kurdish, ["ckb_Arab", "eng_Latn"]) == ("ckb_Arab",)


def test_a_name_is_a_whole_one_before_it_is_a_part_of_others() -> None:
    assert [tag.iso for tag in parse_name("tatar")] == ["tat"]  # not Crimean Tatar
    assert [tag.iso for tag in parse_name("Oromo")] == ["gaz"]
    assert [tag.iso for tag in parse_name("Sotho")] == ["nso", "sot"]
    assert parse_name("Klingon") == ()
