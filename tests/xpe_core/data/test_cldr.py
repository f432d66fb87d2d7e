"""The embedded data set against what it promises, and against names that Babel itself gives."""

import hashlib
import os
import subprocess
import sys
from collections import Counter, defaultdict
from importlib.metadata import version
from pathlib import Path

import pytest

from xpe_core.data import fingerprint_dataset
from xpe_core.data.cldr import LABELS, MAX_PER_LABEL, REVISION, build_cldr, load_locales
from xpe_core.data.examples import Example
from xpe_core.languages import load_languages

pytest.importorskip("babel")

DIGEST = "import hashlib, xpe_core.data.cldr as c; print(hashlib.sha256(repr(c.build_cldr()).encode()).hexdigest())"


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return build_cldr()


@pytest.fixture(scope="module")
def names(examples: list[Example]) -> dict[tuple[str, str], str]:
    return {(example.language, example.example_id): example.text for example in examples}


def test_the_languages_are_those_with_a_locale_in_the_table(examples: list[Example]) -> None:
    found = {example.language for example in examples}
    assert found == set(load_locales())
    assert len(found) == 103


def test_a_concept_stands_in_one_split_in_all_languages(examples: list[Example]) -> None:
    splits = defaultdict(set)
    for example in examples:
        splits[example.example_id].add(example.split)
    assert all(len(found) == 1 for found in splits.values())
    assert len(splits) > 1000


def test_no_text_has_two_kinds_in_any_languages(examples: list[Example]) -> None:
    kinds = defaultdict(set)
    for example in examples:
        kinds[example.text.casefold()].add(example.label)
    assert [text for text, found in kinds.items() if len(found) > 1] == []


def test_no_text_stands_in_two_splits_of_any_languages(examples: list[Example]) -> None:
    splits = defaultdict(set)
    for example in examples:
        splits[example.text.casefold()].add(example.split)
    assert [text for text, found in splits.items() if len(found) > 1] == []


def test_every_kind_has_exactly_as_many_examples_in_each_language_and_split(examples: list[Example]) -> None:
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for example in examples:
        counts[example.language, example.split][example.label] += 1
    assert len(counts) == 103 * 3
    for (_, split), by_label in counts.items():
        assert set(by_label) == set(LABELS)
        assert len(set(by_label.values())) == 1
        assert by_label["city"] <= MAX_PER_LABEL[split]


def test_all_languages_but_uyghur_have_three_test_examples_of_each_kind(examples: list[Example]) -> None:
    cities = Counter((example.language, example.split) for example in examples if example.label == "city")
    few = {language for (language, split), count in cities.items() if count < {"train": 8, "test": 3}.get(split, 2)}
    assert few == {"uig_Arab"}


def test_an_id_is_its_kind_and_stands_once_in_a_language(examples: list[Example]) -> None:
    assert len({(example.language, example.example_id) for example in examples}) == len(examples)
    assert all(example.example_id.partition("/")[0] == example.label for example in examples)


def test_examples_are_ordered_by_language_and_split_with_kinds_taking_turns(examples: list[Example]) -> None:
    splits = list(MAX_PER_LABEL)
    places = [(example.language, splits.index(example.split)) for example in examples]
    assert places == sorted(places)
    assert [example.label for example in examples] == list(LABELS) * (len(examples) // len(LABELS))


@pytest.mark.parametrize(
    ("language", "concept", "name"),
    [
        ("deu_Latn", "territory/TD", "Tschad"),
        ("fra_Latn", "territory/CL", "Chili"),
        ("rus_Cyrl", "language/ce", "чеченский"),
        ("jpn_Jpan", "script/Brai", "ブライユ点字"),
        ("yor_Latn", "currency/USD", "Dọ́là"),
        ("zho_Hans", "city/Asia/Damascus", "大马士革"),
        ("zho_Hant", "city/Asia/Damascus", "大馬士革"),
        ("srp_Cyrl", "city/Europe/Prague", "Праг"),
        ("nob_Latn", "unit/duration-week", "uker"),
        ("nno_Latn", "unit/duration-week", "veker"),
        ("eng_Latn", "city/Europe/Budapest", "Budapest"),
        ("vie_Latn", "city/Europe/Budapest", "Budapest"),
    ],
)
def test_names_are_those_of_the_language(
    names: dict[tuple[str, str], str], language: str, concept: str, name: str
) -> None:
    assert names[language, concept] == name


def test_nynorsk_takes_no_name_from_bokmal(examples: list[Example]) -> None:
    from babel import Locale

    bokmal = Locale.parse("nb")
    tables = {
        "territory": bokmal.territories,
        "language": bokmal.languages,
        "script": bokmal.scripts,
        "currency": bokmal.currencies,
    }
    nynorsk = [example for example in examples if example.language == "nno_Latn" and example.label in tables]
    inherited = [e.text for e in nynorsk if tables[e.label].get(e.example_id.partition("/")[2]) == e.text]
    assert len(nynorsk) > 50
    assert inherited == []


@pytest.mark.parametrize(
    ("language", "concept"),
    [
        ("nno_Latn", "city/Africa/Dar_es_Salaam"),  # hyphens in Bokmål, none by the zone's id
        ("fra_Latn", "city/Europe/Budapest"),  # not stored: French spells it like the zone's id
        ("uig_Arab", "city/Asia/Damascus"),  # never translated
    ],
)
def test_a_name_that_the_language_does_not_store_is_left_out(
    names: dict[tuple[str, str], str], language: str, concept: str
) -> None:
    assert ("deu_Latn", concept) in names or ("eng_Latn", concept) in names
    assert (language, concept) not in names


def test_languages_in_other_scripts_have_no_untranslated_names(examples: list[Example]) -> None:
    latin = {language.code for language in load_languages() if language.script == "Latn"}
    assert [example.text for example in examples if example.language not in latin and example.text.isascii()] == []


def test_names_hold_two_letters_and_no_digit(examples: list[Example]) -> None:
    for example in examples:
        assert sum(map(str.isalpha, example.text)) >= 2
        assert not any(sign.isdigit() for sign in example.text)
        assert example.text == " ".join(example.text.split())


def test_no_name_is_its_own_code(examples: list[Example]) -> None:
    coded = [example for example in examples if example.label not in ("city", "unit")]
    same = [e.text for e in coded if e.text.casefold() == e.example_id.partition("/")[2].casefold()]
    assert same == []


def test_codes_that_name_nothing_are_left_out(examples: list[Example]) -> None:
    unknown = {"territory/ZZ", "language/und", "script/Zzzz", "currency/XXX", "city/Etc/Unknown"}
    assert unknown & {example.example_id for example in examples} == set()


def test_building_leaves_babels_own_data_whole(examples: list[Example]) -> None:
    from babel import Locale

    assert Locale.parse("nn").territories["CN"] == "Kina"  # Nynorsk inherits it from Norwegian


def test_two_processes_build_the_same_list() -> None:
    digests = {_run(DIGEST, hash_seed).stdout for hash_seed in ("1", "2")}
    assert len(digests) == 1
    assert len(digests.pop().strip()) == 64


def test_without_babel_the_error_says_what_to_install() -> None:
    without = "import sys; sys.modules['babel'] = None; import xpe_core.data.cldr as c; c.build_cldr()"
    assert "InputError: data set cldr needs Babel: pip install 'xpe-sweep[offline]'" in _run(without, "1").stderr


def test_its_fingerprint_is_the_one_that_older_experiments_hold() -> None:
    if version("babel") != "2.18.0":
        pytest.skip("the fingerprint is known of Babel 2.18.0")
    assert fingerprint_dataset("cldr") == "6f93a6eb72669ee1"


def test_its_examples_are_those_of_its_revision(examples: list[Example]) -> None:
    # who changes an example gives `REVISION` another number, and this digest with it
    if version("babel") != "2.18.0":
        pytest.skip("the digest is known of Babel 2.18.0")
    content = "\n".join(repr(example[:5]) for example in examples)  # what older examples had
    assert (REVISION, hashlib.sha256(content.encode()).hexdigest()[:16]) == (1, "4760419077f8e6d8")


def test_another_revision_or_version_is_another_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    now = fingerprint_dataset("cldr")
    monkeypatch.setattr("xpe_core.data.fingerprints.REVISION", 2)
    changed = fingerprint_dataset("cldr")
    monkeypatch.setattr("xpe_core.data.fingerprints.version", lambda name: "9.0")
    assert len({now, changed, fingerprint_dataset("cldr")}) == 3


def test_without_babel_loading_it_says_what_to_install() -> None:
    without = "import sys; sys.modules['babel'] = None; import xpe_core.data as d; d.load_dataset('cldr')"
    assert "InputError: dataset cldr needs Babel: pip install 'babel>=2.18,<3'" in _run(without, "1").stderr


def _run(code: str, hash_seed: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh process at the repository's root, where `-c` finds the packages without an installation."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    root = Path(__file__).parents[3]
    return subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True)
