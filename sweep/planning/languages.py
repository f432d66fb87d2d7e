"""Which languages of a data set an experiment trains, chooses and is tested on, and what a person should know of it.

An experiment file is written for one data set. With another one (`--set dataset=news.csv`) what the file says of
languages holds where the data has them all; else the experiment trains on the largest language and tests on all.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sweep.experiment.config import UNKNOWN_SOURCES, SweepConfig, build_sweep
from sweep.experiment.panels import AskedPanel, split_panels
from sweep.experiment.parts import EvaluationConfig
from sweep.experiment.space import Dimension
from xpe_core.data.labelled_data import LabelledData, load_labels
from xpe_core.errors import InputError
from xpe_core.language_facts import Facts, find_facts
from xpe_core.languages import explain_languages, resolve_languages, resolves_fully, split_names
from xpe_core.tasks import TASKS

SOURCES, TARGETS, SELECTION = "source_set", "evaluation.languages", "selection_languages"
FURTHER = "targets.languages"
TRAINED_SPLITS = ("train", "validation")
EVERY_SPLIT = (*TRAINED_SPLITS, "test")

Counts = Mapping[str, Mapping[str, int]]
"""Rows by language and split; a split that a language lacks is absent."""


@dataclass(frozen=True)
class ChosenLanguages:
    """The codes of a data set that an experiment's names stand for."""

    selection: tuple[str, ...]
    targets: tuple[str, ...]
    notes: tuple[str, ...]
    """What a person should know of them, in sentences."""
    further: tuple[str, ...] = ()
    """What a transfer goes on to."""


def check_names(sweep: SweepConfig, languages: Collection[str]) -> None:
    """Raise InputError where a name of an experiment stands for no language of a data set, or for several."""
    facts = find_facts(sweep.corners[0].backbone, sweep.corners[0].task)
    for key, names in _names(sweep):
        try:
            resolve_languages(names, languages, facts=facts)
        except InputError as error:
            groups = f"; groups of the file: {', '.join(sweep.groups)}" if sweep.groups else ""
            raise InputError(f"{key}: {error}{groups}") from None
    for group in sweep.groups:
        if group in languages:
            raise InputError(f"groups.{group}: is a language of the data set already; choose another name")


def fit_panels(
    sweep: SweepConfig, open_keys: Collection[str] = frozenset()
) -> tuple[SweepConfig, list[tuple[AskedPanel, ChosenLanguages]]]:
    """Return an experiment with its panels, each with the languages of its data set; as `fit_to_data` does for one.

    Where there are several, an error names the panel, and what the experiment says of languages holds for all.
    """
    panels = split_panels(sweep)
    if len(panels) == 1:
        fitted, chosen = fit_to_data(sweep, open_keys)
        return fitted, [(panel, chosen) for panel in split_panels(fitted)]
    return sweep, [(panel, _fit_one_of_several(panel)) for panel in panels]


def _fit_one_of_several(panel: AskedPanel) -> ChosenLanguages:
    try:
        fitted, chosen = fit_to_data(panel.sweep)
    except InputError as error:
        raise InputError(f"{panel.name}: {error}") from None
    if fitted is not panel.sweep:
        lacked = " and ".join(panel.sweep.used_source_sets)
        raise InputError(f"{panel.name}: the data set lacks some of {lacked}; say source_set in base or in the arms")
    return chosen


def fit_to_data(sweep: SweepConfig, open_keys: Collection[str] = frozenset()) -> tuple[SweepConfig, ChosenLanguages]:
    """Return an experiment with languages that its data set has, and what they are; InputError where a name is wrong.

    `open_keys` say of languages what was meant for another data set. Neither Torch nor a backbone is needed, and no
    text is tokenised.
    """
    first = sweep.corners[0]
    labels = load_labels(first.source, first.backbone, first.task)
    adapted, changed = adapt_to_data(sweep, labels.counts, open_keys)
    chosen = choose_languages(adapted, labels)
    return adapted, replace(chosen, notes=(*changed, *chosen.notes))


def adapt_to_data(
    sweep: SweepConfig, counts: Counts, open_keys: Collection[str] = frozenset()
) -> tuple[SweepConfig, tuple[str, ...]]:
    """Return an experiment with languages that a data set has, where it leaves them open, and what was changed.

    Open are the languages under `open_keys`, and what to train on where nothing is said of it.
    """
    if sweep.kind == "evaluate":
        return sweep, ()
    facts = find_facts(sweep.corners[0].backbone, sweep.corners[0].task)
    values: dict[str, object] = {name: getattr(sweep, name) for name in sweep.model_fields_set}
    notes: list[str] = []
    is_open = SOURCES in open_keys or not sweep.says_source_set
    if is_open and not all(_has_all(one, counts, "train", facts) for one in sweep.used_source_sets):
        largest = _find_largest(counts)
        most = counts[largest]["train"]
        equal = sum(of_language.get("train") == most for of_language in counts.values())
        which = "the language" if equal == 1 else f"the first of {equal} languages"
        notes.append(
            f"trained on {largest}, {which} with the most rows to train on ({most:,}): the "
            f"data set lacks some of {' and '.join(sweep.used_source_sets)}; --set source_set=... chooses others"
        )
        values = _set_source_set(sweep, values, largest)
    if TARGETS in open_keys and not _has_all(sweep.evaluation.languages, counts, "test", facts):
        values["evaluation"] = EvaluationConfig(**{**sweep.evaluation.model_dump(), "languages": "all"})
        notes.append("tested on all languages with a test split: the data set lacks some that the experiment names")
    chosen_by = sweep.selection_languages
    if SELECTION in open_keys and chosen_by is not None and not _has_all(chosen_by, counts, "validation", facts):
        values.pop(SELECTION, None)
        notes.append("chosen by the languages trained on: the data set lacks some of selection_languages")
    return (build_sweep(values, "with this data set"), tuple(notes)) if notes else (sweep, ())


def choose_languages(sweep: SweepConfig, data: LabelledData) -> ChosenLanguages:
    """Return the languages that an experiment chooses by and is tested on.

    InputError where a name is unknown, or a language that is asked for by its name lacks a split that it is needed for.
    """
    check_names(sweep, data.languages)
    if not any("test" in counts for counts in data.counts.values()):
        raise InputError(
            f"dataset {data.name}: no language has a test split, so there is nothing to test on; "
            "--set columns='split=80/10/10' draws all splits"
        )
    targets = data.resolve(sweep.evaluation.languages, ("test",))
    if sweep.kind == "evaluate":
        return ChosenLanguages((), targets, _explain(sweep, data, targets, ()))
    source_sets = [data.sources(source_set) for source_set in sweep.used_source_sets]
    every_source = [language for source_set in source_sets for language in source_set]
    chosen_by = sweep.selection_languages or (every_source if sweep.is_searched else ())
    selection = data.resolve(chosen_by, ("validation",)) if chosen_by else ()
    task = TASKS[sweep.corners[0].task]
    for source_set in source_sets:
        task.check(data, train=source_set, validation={*selection, *source_set}, test=targets)
    further = _choose_further(sweep.targets.languages, data, targets) if sweep.kind == "transfer" else ()
    return ChosenLanguages(selection, targets, _explain(sweep, data, targets, further), further)


def _choose_further(names: str | Sequence[str], data: LabelledData, tested: Sequence[str]) -> tuple[str, ...]:
    """Return the languages that a transfer goes on to; InputError where one lacks a split, or a zero-shot score."""
    languages = data.resolve(names, EVERY_SPLIT)
    for language in languages:
        if lacking := [split for split in EVERY_SPLIT if split not in data.counts[language]]:
            raise InputError(f"{FURTHER}: {language} has no {' and no '.join(lacking)} split to be trained further on")
    if untested := sorted(set(languages) - set(tested)):
        raise InputError(
            f"{FURTHER}: {_shorten(untested)} must be among evaluation.languages, for the score before it is trained on"
        )
    return languages


def _explain(sweep: SweepConfig, data: LabelledData, targets: Sequence[str], further: Sequence[str]) -> tuple[str, ...]:
    """Return what a person should know of the names and of what is left out."""
    notes = [note for _, names in _names(sweep) for note in explain_languages(names, data.languages, data.facts)]
    used: set[str] = set()
    for source_set in sweep.used_source_sets if sweep.kind != "evaluate" else ():
        used |= set(data.sources(source_set))
        notes += _left_out(data, source_set, TRAINED_SPLITS, "trained")
    notes += _left_out(data, sweep.evaluation.languages, ("test",), "tested")
    notes += [note for group, names in sweep.groups.items() for note in _explain_group(group, names, data)]
    if sweep.kind == "transfer":
        notes += _left_out(data, sweep.targets.languages, EVERY_SPLIT, "trained further")
        notes += _list_small(data, further, sweep.targets.max_train_examples)
        if trained_on := sorted(used & set(further)):
            notes.append(f"not zero-shot before they are trained further on: {_shorten(trained_on)} (in a source set)")
    used |= set(further)
    if held_out := sorted(used & set(data.held_out)):
        notes.append(
            f"no validation split in {_shorten(held_out)}: validated on a tenth of the train split, not trained on it"
        )
    return tuple(dict.fromkeys(notes))


def _list_small(data: LabelledData, languages: Sequence[str], caps: Sequence[int | None]) -> Iterator[str]:
    """Yield which targets have fewer train examples than they may be trained on."""
    for cap in caps:
        small = [language for language in languages if cap is not None and data.counts[language]["train"] < cap]
        if small:
            yield f"fewer than {cap:,} train examples in {_shorten(small)}: all of them stand for {cap:,}"


def _explain_group(group: str, names: Sequence[str], data: LabelledData) -> Iterator[str]:
    """Yield which names of a group are none of the data's: its row in the tables is made without them."""
    for name in names:
        try:
            resolve_languages(name, data.languages, facts=data.facts)
        except InputError as error:
            yield f"groups.{group} goes without {name}: {error}"


def _left_out(data: LabelledData, names: str | Sequence[str], splits: Sequence[str], verb: str) -> list[str]:
    """Return which languages of a group lack what they would be needed for."""
    left_out = sorted(set(data.resolve(names)) - set(data.resolve(names, splits)))
    lacking = " or ".join(splits)
    return [f"not {verb} on {_shorten(left_out)}: there is no {lacking} split"] if left_out else []


def _names(sweep: SweepConfig) -> Iterator[tuple[str, str | Sequence[str]]]:
    """Yield every key that names languages, with the names."""
    for source_set in sweep.used_source_sets if sweep.kind != "evaluate" else ():
        if source_set != UNKNOWN_SOURCES:
            yield SOURCES, source_set
    yield TARGETS, sweep.evaluation.languages
    if sweep.kind == "transfer":
        yield FURTHER, sweep.targets.languages
    if sweep.selection_languages is not None:
        yield SELECTION, sweep.selection_languages


def _has_all(names: str | Sequence[str], counts: Counts, split: str, facts: Facts) -> bool:
    """Whether a data set has every language of `names`, with rows in a split."""
    if not resolves_fully(names, counts, facts):
        return False
    return split_names(names) == ["all"] or all(
        split in counts[language] for language in resolve_languages(names, counts, facts=facts)
    )


def _find_largest(counts: Counts) -> str:
    """Return the language with the most train rows; of equally many the first code."""
    sizes = {language: rows["train"] for language, rows in counts.items() if "train" in rows}
    if not sizes:
        raise InputError("dataset: no language has a train split, so there is nothing to train on")
    return min(sizes, key=lambda language: (-sizes[language], language))


def _set_source_set(sweep: SweepConfig, values: Mapping[str, object], source_set: str) -> dict[str, object]:
    """Return an experiment's values with one source set, wherever others stood."""
    changed = {name: value for name, value in values.items() if name != "source_sets"}
    changed["base"] = {**sweep.base, SOURCES: source_set}
    if sweep.kind == "search":
        space = {name: dimension for name, dimension in sweep.space.items() if name != SOURCES}
        zipped = [{key: one for key, one in lists.items() if key != SOURCES} for lists in sweep.zipped]
        for lists in zipped:
            if len(lists) == 1:  # what is left of a pair is an ordinary choice
                space |= {name: Dimension(choice=choice) for name, choice in lists.items()}
        changed |= {"space": space, "zipped": tuple(lists for lists in zipped if len(lists) > 1)}
    elif sweep.kind == "study":
        methods = {name: method.model_dump(exclude_unset=True) for name, method in sweep.methods.items()}
        for method in methods.values():
            method["base"] = {key: one for key, one in method.get("base", {}).items() if key != SOURCES}
        changed["methods"] = methods
    else:
        arms = sweep.arms.items()
        changed["arms"] = {arm: {key: one for key, one in own.items() if key != SOURCES} for arm, own in arms}
    return {name: value for name, value in changed.items() if value or name in values}


def _shorten(codes: Sequence[str], limit: int = 6) -> str:
    return ", ".join(codes[:limit]) + (f" and {len(codes) - limit} more" if len(codes) > limit else "")
