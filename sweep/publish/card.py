"""The model card: what the hub reads in its YAML header, and what people read below.

It is rendered from numbers only, without a date, so that the same experiment always gives the same bytes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from sweep.publish import tables, wording
from sweep.publish.naming import on_hub, publish_config
from sweep.publish.numbers import Numbers
from sweep.publish.snippets import own_command, own_snippet, peft_snippet, say_bundled
from sweep.publish.wording import count
from sweep.report.formats import escape_markdown
from sweep.report.wording import capitalise
from xpe_core.adapters.peft_readme import INSTALL
from xpe_core.backbones.files import BUNDLED
from xpe_core.config import RunConfig
from xpe_core.pack import find_parts
from xpe_core.readouts.model_class import ModelClass
from xpe_core.tasks import TASKS
from xpe_core.tunings import describe, is_alone

FOLDED_FROM = 30
"""Languages from which their table is folded."""
MARK = "xpe_sweep"
"""Our own key of the YAML header: which configuration a repository holds."""


@dataclass(frozen=True)
class Card:
    """What a card says beside the numbers."""

    repo: str
    """USER/NAME on the hub."""
    license: str
    """The hub's id of the adapter's licence."""
    datasets: tuple[str, ...]
    """The data set's names on the hub, where they were given."""
    base_model: str | None
    """The backbone's name on the hub, where it was given."""
    label_names: tuple[str, ...]
    revisions: Mapping[int, str]
    """Where each published seed's adapter is, by seed."""
    main_seed: int
    """The one that `main` is, too."""
    reasons: Mapping[int, str]
    """Why other seeds are not published."""
    fingerprints: Mapping[str, str]
    """Of the adapters, by revision."""
    sentence: str
    """What stock PEFT can do with the files."""
    readme: Path
    """Of an adapter, as its writer wrote it: the lines that load it."""


def render_card(numbers: Numbers, card: Card) -> str:
    """Return the text of README.md."""
    config = publish_config(numbers.cell.config, card.base_model, next(iter(card.datasets), None))
    template = files("sweep.publish").joinpath("card.md.jinja").read_text(encoding="utf-8")
    values = {**_describe(numbers, card, config), **_usage(card, config), **_tabulate(numbers, card, config)}
    text = str(ModelCard.from_template(_header(numbers, card, config), template_str=template, **values))
    return text.rstrip() + "\n"


@dataclass(frozen=True)
class Mark:
    """What a card says of itself."""

    config_id: str
    """The configuration that it was made for."""
    main_seed: int | None
    """The seed that `main` is; None where it is not known."""


def read_mark(text: str) -> Mark | None:
    """Return what a card says that it was made for, None where it is no card of ours."""
    try:
        mark = ModelCard(text, ignore_metadata_errors=True).data.get(MARK)
    except ValueError:
        return None
    if not isinstance(mark, dict) or "config_id" not in mark:
        return None
    seeds = mark.get("seeds")
    # a card of an older version: `main` was the first seed
    first = seeds[0] if isinstance(seeds, list) and seeds else None
    seed = mark.get("main_seed", first)
    return Mark(str(mark["config_id"]), seed if isinstance(seed, int) else None)


def _header(numbers: Numbers, card: Card, config: RunConfig) -> ModelCardData:
    datasets = list(card.datasets) or [name for name in [on_hub(config.data.dataset)] if name]
    return ModelCardData(
        license=card.license,
        base_model=on_hub(config.backbone) or config.backbone,
        library_name="transformers" if is_alone(config) else "peft",
        pipeline_tag=_model_class(config).pipeline_tag,
        language=_language_codes(numbers.sources),
        datasets=datasets or None,
        metrics=[numbers.results.metric],
        tags=list(dict.fromkeys(["xpe-sweep", "cross-lingual", config.method, *describe(config).tags])),
        model_name=card.repo.split("/")[-1],
        eval_results=_eval_results(numbers, datasets[0] if datasets else config.data.dataset, config),
        **{MARK: {"config_id": numbers.cell.config_id, "seeds": list(card.revisions), "main_seed": card.main_seed}},
    )


def _eval_results(numbers: Numbers, dataset: str, config: RunConfig) -> list[EvalResult]:
    """Return one result a target group, its score in [0, 1]."""
    return [
        EvalResult(
            task_type=_model_class(config).pipeline_tag,
            task_name=f"Cross-lingual {TASKS[config.task].title}",
            dataset_type=dataset,
            dataset_name=f"{dataset}, {count(row['num_languages'], 'language')}: {row['group']}",
            dataset_config=row["group"],
            dataset_split="test",
            metric_type=numbers.results.metric,
            metric_name=f"{capitalise(numbers.results.metric_title)} (mean over {count(row['num_seeds'], 'seed')})",
            metric_value=round(row["score"], 4),
        )
        for row in numbers.groups.iter_rows(named=True)
        if row["score"] is not None
    ]


def _model_class(config: RunConfig) -> ModelClass:
    """Return the class of transformers' that has the readout; what has none is refused before."""
    found = find_parts(config)[1].in_transformers
    assert found is not None
    return found


def _language_codes(codes: Sequence[str]) -> list[str]:
    """Return the ISO 639 codes of the languages trained on, and `multilingual`."""
    found = [re.split("[_-]", code)[0].lower() for code in codes]
    return [*dict.fromkeys(code for code in found if re.fullmatch("[a-z]{2,3}", code)), "multilingual"]


def _describe(numbers: Numbers, card: Card, config: RunConfig) -> dict[str, object]:
    parameters = " and ".join(f"{int(value):,}" for value in numbers.values("num_trained_parameters"))
    return {
        "title": escape_markdown(card.repo.split("/")[-1]),
        "summary": wording.summarise(numbers, config, len(card.revisions)),
        "warnings": wording.warn(numbers, len(card.revisions)),
        "method": wording.describe_method(config),
        "backbone": wording.link(config.backbone),
        "dataset": wording.link(config.data.dataset, "datasets/"),
        "sources": wording.describe_sources(numbers, config.data.source_set),
        "answers": wording.describe_answers(config, card.label_names),
        "parameters": parameters or "not recorded",
        "groups": wording.describe_groups(numbers),
        "metric": numbers.results.metric_title,
        "limits": wording.list_limits(numbers, config, card.label_names),
        "license": escape_markdown(card.license),
        "data_license": wording.say_license(config.data.dataset, "datasets/"),
        "backbone_license": wording.say_license(config.backbone),
    }


def _usage(card: Card, config: RunConfig) -> dict[str, object]:
    is_elsewhere = on_hub(config.backbone) is None
    note = say_bundled(card.repo) if config.backbone == BUNDLED else ""
    if is_elsewhere:
        note = "The encoder was a folder where this was trained: set `base` to where it is on your machine."
    texts = TASKS[config.task].texts
    return {
        "which": wording.say_which_seed(card.main_seed, card.revisions),
        "sentence": wording.say_format(card.sentence),
        "is_whole": is_alone(config),
        "install": INSTALL.removesuffix(" peft") if is_alone(config) else INSTALL,
        "base_note": note,
        "peft_snippet": peft_snippet(card.readme, config.backbone, card.repo, list(card.revisions.values())[-1]),
        "own_snippet": own_snippet(card.repo, is_elsewhere, TASKS[config.task]),
        "own_command": own_command(card.repo, is_elsewhere, texts),
        "lengths": wording.say_lengths(config),
    }


def _tabulate(numbers: Numbers, card: Card, config: RunConfig) -> dict[str, object]:
    recipe_table, num_differing = tables.recipe_table(config)
    return {
        "group_table": tables.group_table(numbers),
        "run_table": tables.run_table(numbers, card.revisions, card.reasons),
        "difference_table": tables.difference_table(numbers),
        "num_languages": count(len(numbers.languages), "language"),
        "num_trained": len(numbers.languages.filter("trained")),
        "language_table": tables.language_table(numbers),
        "folded": len(numbers.languages) >= FOLDED_FROM,
        "recipe_said": wording.compare_with_recipe(config, num_differing),
        "recipe_table": recipe_table,
        "provenance_table": tables.provenance_table(numbers, card.fingerprints),
    }
