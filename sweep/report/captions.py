"""Captions of LaTeX tables as a paper has them: what is measured, on which data, over how many seeds, what a bound is.

What the same table says in the terminal stands above it as a comment, so that nothing is lost.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePath

from sweep.analysis.report_data import ReportData
from sweep.report.sheet import Sheet
from sweep.report.wording import capitalise, name_exclusion
from xpe_core.language_facts import Facts
from xpe_core.tunings import is_alone

INTERVAL = "the 95 % confidence interval over seeds (bias-corrected bootstrap; test examples held fixed)"


def with_caption(sheet: Sheet, data: ReportData) -> Sheet:
    """Return a table with the caption that it has in a paper; marks in its cells stay explained."""
    write = CAPTIONS.get(sheet.name)
    if write is None:
        return sheet
    marks = [note for note in sheet.notes if note.startswith("*") or note.startswith("Not zero-shot")]
    part = "" if sheet.part is None else f" Part {sheet.part}."
    return replace(sheet, caption=" ".join([write(data) + part, *map(_end, marks)]))


def _main(data: ReportData) -> str:
    return (
        f"Test {data.metric} (%) on {_data(data)}, by training languages and group of test languages. "
        "Each cell is the "
        f"mean over seeds of the mean over languages, with {INTERVAL}; below it the number of seeds and of languages. "
        f"Bold: highest of a row. {_seeds(data)}{_excluded(data)}"
    )


def _answer(data: ReportData) -> str:
    return (
        f"The arm with the highest test {data.metric} (%) on {_data(data)}, and its difference to "
        f"{data.baseline} in "
        f"percentage points, paired by seed. In brackets {INTERVAL}; p-values of exact sign-flip tests over seeds are "
        f"corrected by Holm's method. {_seeds(data)}{_excluded(data)}"
    )


def _differences(data: ReportData) -> str:
    tests = data.differences["p_holm"].count() if len(data.differences) else 0
    corrected = f"Holm's correction is over {tests} tests" if tests else "no row has enough seeds for a test at 5 %"
    return (
        f"Difference in test {data.metric} (percentage points) to {data.baseline} on {_data(data)}, "
        "paired by seed. "
        "The first bracket is the 95 % confidence interval over seeds for these languages, the second "
        "one over seeds and "
        "languages for languages like these (bias-corrected bootstraps); p is of an exact sign-flip test over seeds, "
        f"{corrected}. The last column is the true difference that the test would detect with a power of 80 %. "
        f"{_seeds(data)}{_excluded(data)}"
    )


def _transfer(data: ReportData) -> str:
    return (
        f"Supervised transfer: test {data.metric} (%) on {_data(data)} before (zero-shot) and after training on a "
        "target's own examples, and from new weights on these alone, with differences in percentage points paired by "
        f"seed. In brackets {INTERVAL}."
    )


def _transfer_curves(data: ReportData) -> str:
    return f"Test {data.metric} (%) on {_data(data)} by the number of a target's examples, mean over targets and seeds."


def _curse(data: ReportData) -> str:
    return (
        f"{capitalise(data.metric)} (%) of the chosen configurations on {_data(data)}: as measured in the "
        "search that "
        "chose them, and "
        f"on fresh seeds, with {INTERVAL}. In parentheses the number of seeds."
    )


def _extremes(data: ReportData) -> str:
    return (
        f"Languages with the largest gains and losses against {data.baseline} on {_data(data)}: "
        f"test {data.metric} (%) "
        f"and difference (percentage points), with {INTERVAL}, not corrected for the choice of extremes. "
        f"{_seeds(data)}"
    )


def _languages(data: ReportData) -> str:
    return (
        f"Test {data.metric} (%) by language on {_data(data)}, and difference to {data.baseline} in "
        "percentage points, "
        f"paired by seed. In brackets {INTERVAL}. {_facts(data.results.rows.facts)}. {_seeds(data)}"
    )


def _facts(facts: Facts) -> str:
    """Return what the facts beside a language mean."""
    said = ["Class: of Joshi et al. (2020)"]
    if facts.pretraining is not None:
        said.append(f"seen: in the pretraining of {facts.pretraining.title}")
    if facts.low_performing is not None:
        said.append(f"low: {facts.low_performing.meaning}")
    return "; ".join(said)


def _by(kind: str) -> Callable[[ReportData], str]:
    def write(data: ReportData) -> str:
        return (
            f"Test {data.metric} (%) by {kind} on {_data(data)}, mean over seeds and languages; in "
            "parentheses the "
            f"difference to {data.baseline} in percentage points. {_seeds(data)}"
        )

    return write


def _front(data: ReportData) -> str:
    return (
        f"Configurations that no other one beats on both seen and low-performing languages (Pareto front): mean test "
        f"{data.metric} (%) on {_data(data)}, out of {len(data.front)} configurations.{_excluded(data)}"
    )


def _importance(data: ReportData) -> str:
    return (
        f"Importance of the searched hyperparameters for the validation {data.chosen_by} on {_data(data)} (PED-ANOVA, "
        "normalised to a sum of 1)."
    )


def _rungs(data: ReportData) -> str:
    return (
        f"Trials at the rungs of the successive halving (ASHA) on {_data(data)}: how many reached the "
        "step, how many "
        f"were stopped there, and their validation {data.chosen_by} (%)."
    )


def _cost(data: ReportData) -> str:
    return (
        "Computation. A device is what one trial has to itself (a GPU, a share of one, or CPUs); hours saved by early "
        "stopping are estimated at the stopped trials' own pace."
    )


def _published(data: ReportData) -> str:
    return (
        f"Published test accuracy (%; arXiv:2508.10352, table 1) and ours on {_data(data)}, with "
        f"{INTERVAL}, and the "
        f"difference in percentage points. {_seeds(data)}{_excluded(data)}"
    )


def _setup(data: ReportData) -> str:
    return f"Hyperparameters in which the arms differ, on {_data(data)}."


def _methods(data: ReportData) -> str:
    return (
        f"Differences in test {data.metric} (percentage points) between the methods' winners on {_data(data)}, over "
        f"the languages of the broadest group, paired by seed, with {INTERVAL}. Every method was searched with the "
        f"same budget and chosen by validation {data.chosen_by} on source languages. {_seeds(data)}{_excluded(data)}"
    )


def _gains(data: ReportData) -> str:
    return (
        f"What the search brought over each method's default setting: differences in test {data.metric} (percentage "
        f"points) on {_data(data)}, paired by seed, with {INTERVAL}. {_seeds(data)}{_excluded(data)}"
    )


def _searches(data: ReportData) -> str:
    return (
        f"The methods' searches on {_data(data)}: trials, how many were stopped early or failed, optimizer steps, "
        f"device-hours, and the winner's validation {data.chosen_by} (%) in the search and on fresh seeds."
    )


def _prices(data: ReportData) -> str:
    return (
        f"Test {data.metric} (%) on {_data(data)} with {INTERVAL}, and what it costs: trained parameters, seconds of "
        f"training a run, and peak memory. Bold: on the Pareto front. {_seeds(data)}"
    )


def _budget(data: ReportData) -> str:
    return (
        f"Expected best validation {data.chosen_by} (%) after so many trials of each method's search on {_data(data)} "
        "(Dodge et al. 2019)."
    )


CAPTIONS: dict[str, Callable[[ReportData], str]] = {
    **{"answer": _answer, "main": _main, "differences": _differences, "winners-curse": _curse},
    **{"gains-and-losses": _extremes, "languages": _languages, "families": _by("language family")},
    **{"scripts": _by("script"), "trade-off": _front, "importance": _importance, "rungs": _rungs, "cost": _cost},
    **{"published": _published, "setup": _setup, "methods": _methods, "gains": _gains, "searches": _searches},
    **{"prices": _prices, "budget": _budget},
    **{"transfer": _transfer, "transfer-curves": _transfer_curves},
}
"""By the names of tables."""


def _data(data: ReportData) -> str:
    """Return data set and backbone in a few words."""
    configs = [cell.config for cell in data.results.shown]
    datasets = _join({_public(config.data.dataset) for config in configs})
    backbones = _join({_public(config.backbone) for config in configs})
    frozen = "" if any(map(is_alone, configs)) else "frozen "
    return f"{datasets} ({len(data.results.languages)} languages) with the {frozen}encoder {backbones}"


def _seeds(data: ReportData) -> str:
    counts = [len(cell.seeds) for cell in data.results.shown if cell.seeds]
    if not counts:
        return "No run has ended."
    least, most = min(counts), max(counts)
    return f"{least} seed{'s' if most > 1 else ''}." if least == most else f"{least} to {most} seeds."


def _excluded(data: ReportData) -> str:
    name = name_exclusion(data.results.exclude)
    if not name or not data.results.excluded:
        return ""
    return f" {name[0].upper() + name[1:] if name.startswith('languages') else f'Languages of {name}'} are in no group."


def _public(name: str) -> str:
    return PurePath(name).name if name.startswith(("/", ".", "~")) else name


def _join(names: set[str]) -> str:
    return " and ".join(sorted(names)) or "no data yet"


def _end(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
