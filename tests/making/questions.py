"""Questions about passages in a few languages, as SQuAD has them: an answer is the letter after the question's."""

import json
import random
from pathlib import Path
from typing import Any

LETTERS = "abcdefgh"
ARTICLES, PARAGRAPHS, QUESTIONS = 12, 2, 3
LANGUAGES = ("deu_Latn", "eng_Latn", "zho_Hans")


def make_articles(language: str, passage_length: int = 12) -> list[dict[str, Any]]:
    """Return articles with paragraphs of letters; titles and ids are those of every language."""
    draw, articles = random.Random(language), []
    for article in range(ARTICLES):
        paragraphs = []
        for paragraph in range(PARAGRAPHS):
            letters = draw.choices(LETTERS, k=passage_length)
            context, asked = " ".join(letters), []
            for question in range(QUESTIONS):
                place = draw.randrange(passage_length - 1)
                answer = {"text": letters[place + 1], "answer_start": 2 * (place + 1)}
                number = f"{article}-{paragraph}-{question}"
                asked.append({"id": number, "question": f"g {letters[place]}", "answers": [answer]})
            paragraphs.append({"context": context, "qas": asked})
        articles.append({"title": f"Article {article}", "paragraphs": paragraphs})
    return articles


def write_questions(folder: Path, passage_length: int = 12) -> str:
    """Write one file a language, as XQuAD is published, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for language in LANGUAGES:
        values = {"data": make_articles(language, passage_length), "version": "1.1"}
        (folder / f"xquad.{language}.json").write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
    return str(folder)
