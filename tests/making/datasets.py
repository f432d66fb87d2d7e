"""Small data sets in the shapes of public ones, made by code: MASSIVE's, MasakhaNEWS', and one of the hub's with parts.

A class has words of its own in every language, so that a few steps of training learn something.
"""

import csv
import gzip
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

LOCALES = (
    "af-ZA am-ET ar-SA az-AZ bn-BD cy-GB da-DK de-DE el-GR en-US es-ES fa-IR fi-FI fr-FR he-IL hi-IN hu-HU hy-AM id-ID "
    "is-IS it-IT ja-JP jv-ID ka-GE km-KH kn-IN ko-KR lv-LV ml-IN mn-MN ms-MY my-MM nb-NO nl-NL pl-PL pt-PT ro-RO ru-RU "
    "sl-SL sq-AL sv-SE sw-KE ta-IN te-IN th-TH tl-PH tr-TR ur-PK vi-VN zh-CN zh-TW"
).split()
"""MASSIVE's 51 locales."""
NUM_INTENTS = 60
NEWS_LANGUAGES = "amh eng fra hau ibo lin lug orm pcm run sna som swa tir xho yor".split()
"""MasakhaNEWS' 16 languages."""
NEWS_CLASSES = ("business", "entertainment", "health", "politics", "religion", "sports", "technology")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def make_massive(folder: Path, locales: Sequence[str] = LOCALES, sizes: Sequence[int] = (60, 60, 60)) -> str:
    """Write one JSON Lines file a locale, as the authors publish them, and return the folder.

    The columns are id, locale, partition, scenario, intent, utt, annot_utt; `sizes` are of train, dev and test.
    """
    place = folder / "1.0" / "data"
    place.mkdir(parents=True)
    intents = [f"intent_{number:02}" for number in range(NUM_INTENTS)]
    for locale in locales:
        with (place / f"{locale}.jsonl").open("w", encoding="utf-8") as file:
            number = 0
            for partition, size in zip(("train", "dev", "test"), sizes, strict=True):
                for intent, text in _texts(locale, intents, partition, size):
                    row = {"id": str(number), "locale": locale, "partition": partition, "scenario": intent[:7]}
                    row |= {"intent": intent, "utt": text, "annot_utt": f"[x : {text}]", "worker_id": str(number % 7)}
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                    number += 1
    return str(folder)


def make_masakhanews(
    folder: Path, languages: Sequence[str] = NEWS_LANGUAGES, sizes: Sequence[int] = (28, 14, 21)
) -> str:
    """Write one folder a language with TSV files as pandas writes them, and return the folder.

    Texts have several lines and quotation marks. Every second language lacks a class, and says so in its labels.txt.
    """
    for place, language in enumerate(languages):
        classes = NEWS_CLASSES[: len(NEWS_CLASSES) - place % 2]
        (folder / language).mkdir(parents=True)
        (folder / language / "labels.txt").write_text("".join(f"{label}\n" for label in classes), encoding="utf-8")
        for split, size in zip(("train", "dev", "test"), sizes, strict=True):
            with (folder / language / f"{split}.tsv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, delimiter="\t", lineterminator="\n")  # what pandas' to_csv(sep="\t") writes
                writer.writerow(["category", "headline", "text", "url"])
                for label, text in _texts(language, classes, split, size):
                    writer.writerow([label, text, f'{text}\n"It is so," they said.\n{text}', f"/{language}/{label}"])
    return str(folder)


def make_on_hub(cache: Path, name: str = "somebody/parts", languages: Sequence[str] = ("en", "sw", "yo")) -> str:
    """Write a data set as it lies in the hub's cache, one config a language and its Parquet in two parts each.

    Return its name. Its classes are numbers, whose names the files' schema has (`datasets` writes them so).
    """
    import datasets

    snapshot = _make_snapshot(cache, name)
    classes = ["negative", "neutral", "positive"]
    features = datasets.Features(
        {
            "sentence": datasets.Value("string"),
            "label": datasets.ClassLabel(names=classes),
            "id": datasets.Value("string"),
        }
    )
    for language in languages:
        for split, size in (("train", 18), ("validation", 9), ("test", 12)):
            rows = [
                {"sentence": text, "label": classes.index(label), "id": f"{split}{number}"}
                for number, (label, text) in enumerate(_texts(language, classes, split, size))
            ]
            for part in range(2):
                file = snapshot / language / f"{split}-0000{part}-of-00002.parquet"
                file.parent.mkdir(exist_ok=True)
                half = rows[part * size // 2 : (part + 1) * size // 2]
                datasets.Dataset.from_list(half, features=features).to_parquet(str(file))
    write_card(snapshot, {language: f"{language}/{{}}-*" for language in languages})
    return name


def make_lines_on_hub(cache: Path, name: str = "somebody/lines", locales: Sequence[str] = LOCALES) -> str:
    """Write a data set as it lies in the hub's cache: one config a locale, compressed JSON Lines; return its name."""
    snapshot = _make_snapshot(cache, name)
    intents = [f"intent_{number:02}" for number in range(NUM_INTENTS)]
    (snapshot / "data").mkdir()
    for locale in locales:
        for split in ("train", "validation", "test"):
            rows = [{"text": text, "label": label} for label, text in _texts(locale, intents, split, NUM_INTENTS)]
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (snapshot / "data" / f"{split}.{locale}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    write_card(snapshot, {locale: f"data/{{}}.{locale}.jsonl.gz" for locale in locales})
    return name


def write_card(folder: Path, patterns: dict[str, str], features: Sequence[dict[str, object]] = ()) -> None:
    """Write a card that lists a config's files, by a pattern with the split's place in it, and its features."""
    import yaml

    configs = [
        {"config_name": name, "data_files": [{"split": split, "path": pattern.format(split)} for split in SPLITS]}
        for name, pattern in patterns.items()
    ]
    infos = [{"config_name": name, "features": list(features)} for name in patterns] if features else []
    head = yaml.safe_dump({"configs": configs, "dataset_info": infos} if infos else {"configs": configs})
    (folder / "README.md").write_text(f"---\n{head}---\n# A data set\n", encoding="utf-8")


SPLITS = ("train", "validation", "test")


def _make_snapshot(cache: Path, name: str) -> Path:
    repository = cache / f"datasets--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return snapshot


def _texts(language: str, classes: Sequence[str], split: str, size: int) -> Iterator[tuple[str, str]]:
    """Yield labels in turn, each with a text of its own words."""
    draw = random.Random(f"{language} {split}")
    for number in range(size):
        label = classes[number % len(classes)]
        words = [f"{label[-4:]}{language[:2]}{place}" for place in range(6)]
        yield label, " ".join(draw.choices(words, k=draw.randint(3, 7)))
