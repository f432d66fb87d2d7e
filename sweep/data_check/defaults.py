"""What a search on a data set trains on and is tested on where nobody says it: as the search itself finds out."""

from collections.abc import Mapping
from shlex import quote

import numpy as np
import polars as pl

from sweep.data_check.facts import DataFacts
from sweep.data_check.findings import say_number, shorten
from sweep.experiment.files import find_open_keys, load_experiment
from sweep.planning.languages import adapt_to_data, choose_languages
from sweep.wording import explain
from xpe_core.data.held_out import hold_out
from xpe_core.data.splitting import number_groups
from xpe_core.data.tokens import TokenisedData
from xpe_core.errors import InputError

EXPERIMENT = "quickstart"
NUM_CODES = 6


def describe_search(facts: DataFacts, settings: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return the command that searches on a data set, and what it would do, or why it is refused.

    `settings` are the fields of `RunConfig` that say which data are read, and how.
    """
    overrides = [f"{name}={value}" for name, value in settings.items()]
    command = f"python sweep/run.py search {EXPERIMENT}" + "".join(f" --set {quote(one)}" for one in overrides)
    data = _number_examples(facts)
    try:
        _, sweep = load_experiment(EXPERIMENT, overrides)
        sweep, changed = adapt_to_data(sweep, data.counts, find_open_keys(overrides))
        chosen = choose_languages(sweep, data)
    except InputError as error:
        return command, [f"would be refused: {explain(error)}"]
    sources = data.sources(sweep.used_source_sets[0])
    sentence = (
        f"trains on {shorten(sources, NUM_CODES)} ({say_number(len(data.select(sources, 'train')), 'text')}), chooses "
        f"by {shorten(chosen.selection, NUM_CODES)}, and is tested on {say_number(len(chosen.targets), 'language')}"
    )
    return command, [sentence, *changed, *chosen.notes]


def _number_examples(facts: DataFacts) -> TokenisedData:
    """Return a data set as training takes it, without tokens: for what is asked of languages and splits."""
    frame, names = facts.frame, facts.dataset.label_names
    languages = sorted(frame["language"].unique())
    numbers = {
        "language": frame["language"].cast(pl.Enum(languages)).to_physical(),
        "label": frame["label"].cast(pl.Enum(names)).to_physical(),
        "split": frame["split"].to_physical(),
    }
    language_ids, labels, split_ids = (series.to_numpy().astype(np.int64) for series in numbers.values())
    split_ids, held_out = hold_out(split_ids, language_ids, labels, number_groups(facts.dataset.examples))
    return TokenisedData(
        name=facts.dataset.name,
        fingerprint="",
        label_names=tuple(names),
        languages=tuple(languages),
        pad_token_id=0,
        token_ids=np.empty(0, dtype=np.int32),
        offsets=np.zeros(frame.height + 1, dtype=np.int64),
        labels=labels,
        language_ids=language_ids,
        split_ids=split_ids,
        lengths=np.zeros(frame.height, dtype=np.int64),
        held_out=tuple(languages[language] for language in held_out),
    )
