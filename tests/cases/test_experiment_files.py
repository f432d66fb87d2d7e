"""Experiment files and `--set`: what is written is what is meant, in every place where a field may stand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweep.driver.proposals import Sampler
from sweep.experiment.config import SweepConfig
from sweep.experiment.evaluated import read_evaluation_values
from sweep.experiment.files import load_experiment
from sweep.experiment.search import Search
from sweep.planning.plan import prepare
from sweep.records.experiment_folder import ExperimentFolder
from sweep.records.specification import Specification, refuse_another, specify
from sweep.storage import Folder
from tests.making.experiments import load_search
from xpe_core.digests import digest
from xpe_core.errors import InputError

Write = Callable[[str | bytes], str]

IDS = {
    "quickstart": ("13ffa508588e3625", "577accd7897bd02d", "54ac67b58a90898a"),
    "sib200-e5": ("0930ba6e68bc0762", "2008430f86e504a1", "1c48c84df5752f8f"),
    "sib200-dual": ("9553f179c5023ff6", "bd3ec5de4c133da1", "c7cc4a9947c9a01c"),
    "table1": ("bebd745f070b7d6c", "a5408f854ba20ce3", "a4b7579af0cf6aef"),
    "table2": ("bebd745f070b7d6c", "092e893f72f17471", "b8231d5b4a7cb5da"),
    "table2-e5": ("ccaf04e25efecbad", "337ba7569c9c84df", "3ba1d131b6402a90"),
    "nli-e5": ("fc40d2a769718dba", "dd635e02faf7ed47", "374a96c2144f6781"),
    "table1-e5": ("0d8c6c70f5b432b4", "53af1696bd0531e6", "5a93a3f53d91d8c2"),
}
"""Of each shipped experiment, as it was when YAML's guesses decided: the first corner, all corners, all runs.

The published ones changed once: they now have the dropout of the backbone that the authors had.
"""
WITHOUT_DROPOUT = {
    "sib200-dual": ("0349b7cfe4df796e", "eaa429db17cf5f1f", "0ee20fc114c426ed"),
    "table1": ("baeafb98cb86e3dc", "9310ea4eee827519", "3c5af6bc9350fe8e"),
}
"""Of these, before that."""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Give a function that writes an experiment file and returns its path."""

    def write_file(content: str | bytes) -> str:
        file = tmp_path / "mine.yaml"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(file)

    return write_file


@pytest.mark.parametrize("name", list(IDS))
def test_ids_of_shipped_experiments_are_what_they_were(name: str) -> None:
    assert find_ids(load_experiment(name)[1]) == IDS[name]


def find_ids(sweep: SweepConfig) -> tuple[str, str, str]:
    ids = [corner.config_id for corner in sweep.corners]
    runs = [corner.with_seed(seed).run_id for corner in sweep.corners for seed in sweep.seeds]
    return ids[0], digest(ids), digest(runs)


@pytest.mark.parametrize("name", list(WITHOUT_DROPOUT))
def test_a_published_experiment_begun_without_dropout_in_the_backbone_goes_on_without(
    name: str, tmp_path: Path
) -> None:
    shipped, without = load_experiment(name)[1], load_experiment(name, ["backbone_dropout=0"])[1]
    assert find_ids(without) == WITHOUT_DROPOUT[name]
    older = specify(without, {"backbone": "1", "data": "2"}).to_yaml()
    older["base"] = {key: value for key, value in shipped.base.items() if key != "backbone_dropout"}
    folder = Folder(tmp_path / name)
    folder.write("experiment.yaml", yaml.safe_dump(older).encode())
    refuse_another(folder, specify(without, {"backbone": "1", "data": "2"}))
    with pytest.raises(InputError, match=r"base.backbone_dropout was None and is now 0\.1"):
        refuse_another(folder, specify(shipped, {"backbone": "1", "data": "2"}))


def test_a_tied_field_follows_a_number_in_any_spelling(write: Write) -> None:
    for number in ("5e-3", "5E-3", ".005", "0.005", "'5e-3'", "5.0e-03"):
        file = write(
            f"base: {{max_steps: 100, learning_rate: {number}}}\n"
            "space: {encoder_prompt_learning_rate: {tied: learning_rate, times: 10}}\n"
        )
        assert load_search(file)[1].config().values["encoder_prompt_learning_rate"] == 0.05


@pytest.mark.parametrize(
    ("field", "value", "condition", "searched"),
    [
        ("learning_rate", "1e-3", '"> 5e-4"', True),
        ("learning_rate", "1e-3", '">= .001"', True),
        ("learning_rate", "1e-4", '"> 5e-4"', False),
        ("learning_rate", "1e-3", "0.001", True),
        ("learning_rate", "1e-3", "[5e-3, 1e-3]", True),
        ("num_virtual_tokens", "10", '"> 9"', True),
        ("num_virtual_tokens", "10", '"< 10.5"', True),
        ("eval_steps", "null", '"> 5"', False),
        ("eval_steps", "10", '"> 5"', True),
        ("eval_steps", "~", "null", True),
        ("optimizer", "adamw", '"!= adafactor"', True),
        ("source_set", "no", "no", True),
        ("source_set", "no", '"== no"', True),
        ("source_set", "no", "[yes, off]", False),
        ("dataset", "my set", '"== my set"', True),
    ],
)
def test_a_condition_is_typed_by_the_field_it_speaks_of(
    write: Write, field: str, value: str, condition: str, searched: bool
) -> None:
    file = write(
        f"base: {{max_steps: 100, {field}: {value}}}\n"
        f"space: {{prompt_learning_rate: {{choice: [7e-3, 7e-2], when: {{{field}: {condition}}}}}}}\n"
    )
    assert (load_search(file)[1].config().values["prompt_learning_rate"] == 0.07) is searched


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base:\n  max_steps: 5\n  patience: 3\n  max_steps: 9\n", "base.max_steps stands twice, in lines 2 and 4"),
        ("base: {max_steps: 5}\nseeds: 1\nbase: {max_steps: 9}\n", "base stands twice, in lines 1 and 3"),
        ("base: {max_steps: 5, 'max_steps': 5}\n", "base.max_steps stands twice, in line 1"),
        ("zipped:\n- learning_rate: [1]\n  learning_rate: [2]\n", r"zipped.0..learning_rate stands twice, in lines 2"),
        ("arms:\n  spt: {encoder_ratio: 0}\n  spt: {encoder_ratio: 1}\n", "arms.spt stands twice, in lines 2 and 3"),
        ("base:\n\tmax_steps: 5\n", "line 2 begins with a tab: indent with spaces"),
        ("base:\n\u00a0\u00a0max_steps: 5\n", r"line 2 begins with '\\xa0'"),
        ("base:\n  max_steps: 5\n    patience: 3\n", "line 3: this key stands further in"),
        ("base: {max_steps: 5\n", "line 1: a bracket { that is not closed"),
        ("base: {dataset: 'x}\n", "line 1: quotes that are not closed"),
        ("", "is empty: it must hold keys such as base"),
        ("# nothing yet\n", "is empty"),
        ("- base\n", "line 1: must hold keys such as base and space, not a list"),
        ("base: {}\n---\nbase: {}\n", "line 3 begins a second document"),
        (
            "a: 1\nbase: !!python/object/apply:os.getcwd []\n",
            "line 2: base has the tag !!python/object/apply:os.getcwd",
        ),
        ("base: &a {x: *a}\n", "line 1: base.x holds itself"),
        ("base: *nothing\n", "line 1: found undefined alias 'nothing'"),
        (b"base:\n  dataset: caf\xe9\n", "line 2 is not UTF-8 .byte 0xE9.: save the file as UTF-8"),
        ("base: {max_steps: 100, dataset: null}\n", "line 1: base: dataset is empty"),
        ("base:\n  max_steps: 100\n  dataset:\n", "line 3: base: dataset is empty"),
        ("base: {max_steps: 100, learning_rate: 1e999}\n", "learning_rate=1e999: input should be a finite number"),
        ("base: {source_set: [fra, [eng, no]]}\n", "line 1: base: source_set=.*a list of languages holds names"),
        ("space: {source_set: {choice: [[fra, [eng]]]}}\n", "a list of languages holds names"),
        ("BASE: {max_steps: 4}\n", "unknown key 'BASE'; did you mean 'base'"),
        ("base: {max_steps: 0x10}\n", "max_steps='0x10': must be a whole number"),
        ("base: {max_steps: true}\n", "max_steps='true': must be a whole number"),
        ("base: {max_steps: 1.5}\n", "max_steps=1.5: must be a whole number"),
        ("base: {encoder_ratio: '0,3'}\n", "encoder_ratio='0,3': must be a number"),
        ("base: {max_steps: 100}\nseeds: 1:30\n", "line 2: seeds='1:30': must look like 1,2 or 1-10"),
        ("space: {num_virtual_tokens: {choice: [4, x]}}\n", r"space.num_virtual_tokens.choice.1.='x': must be a whole"),
        (
            "space: {num_virtual_tokens: {choice: [4, 0]}}\n",
            r"space.num_virtual_tokens.choice.1.=0: input should",
        ),
        ("space: {optimizer: {choice: [adamw, adam]}}\n", r"space.optimizer.choice.1.='adam': input"),
        (
            "space: {learning_rate: {uniform: [1e-5, high]}}\n",
            r"space.learning_rate.uniform.1.='high': must be",
        ),
        ("zipped: [{learning_rate: [1, x], patience: [1, 2]}]\n", r"zipped.0..learning_rate.1.='x': must be a number"),
        (
            "space: {patience: {choice: [1], when: {learning_rate: '> abc'}}}\n",
            "learning_rate='> abc': learning",
        ),
        (
            "space: {patience: {choice: [1], when: {learning_rate: often}}}\n",
            "when: learning_rate='often': must",
        ),
        ("space: {patience: {choice: [1], when: {optimizer: '> 3'}}}\n", "optimizer is text, so == and != are allowed"),
        (
            "space: {patience: {choice: [1], when: {optimizer: [adam]}}}\n",
            r"when: optimizer.0.='adam': input",
        ),
        ("space: {source_set: {uniform: [0, 1]}}\n", "space.source_set takes text: use choice"),
        ("space: {encoder_type: {tied: optimizer, times: 2}}\n", "encoder_type.times: optimizer is text"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(write: Write, text: str | bytes, message: str) -> None:
    file = write(text)
    with pytest.raises(InputError, match=message) as refusal:
        load_experiment(file)
    assert str(refusal.value).startswith(f"experiment {file}") and "\n" not in str(refusal.value)


@pytest.mark.parametrize("word", ["no", "NO", "off", "on", "yes", "y", "true", "2024_05", "2024-05-01", "1:30", "0o10"])
@pytest.mark.parametrize("place", ["base", "arms", "space", "zipped", "set", "evaluation", "source_sets"])
def test_text_stays_as_it_is_written(write: Write, word: str, place: str) -> None:
    base = f"base: {{max_steps: 100, source_set: [{word}, sv]}}\n" if place == "base" else "base: {max_steps: 100}\n"
    text = base + {
        "arms": f"kind: grid\narms: {{a: {{source_set: {word}}}}}\n",
        "space": f"space: {{source_set: {{choice: [{word}, [{word}, sv]]}}}}\n",
        "zipped": f"zipped: [{{source_set: [{word}, sv], patience: [1, 2]}}]\n",
        "evaluation": f"evaluation: {{languages: [{word}, sv]}}\n",
        "source_sets": f"kind: grid\narms: {{a: {{}}}}\nsource_sets: [{word}, [{word}, sv]]\n",
    }.get(place, "")
    sweep = load_experiment(write(text), [f"source_set={word}"] if place == "set" else [])[1]
    expected = {"base": (f"{word},sv",), "arms": (word,), "set": (word,), "zipped": (word, "sv")}
    if place == "evaluation":
        assert sweep.evaluation.languages == (word, "sv")
    else:
        assert sweep.used_source_sets == expected.get(place, (word, f"{word},sv"))


@pytest.mark.parametrize(
    ("override", "field", "value"),
    [
        ("dataset=2024_05", "dataset", "2024_05"),
        ("dataset=2024-05-01", "dataset", "2024-05-01"),
        ("dataset=my #1 set", "dataset", "my #1 set"),
        ("dataset=a: b", "dataset", "a: b"),
        ("dataset=null", "dataset", "null"),
        ("dataset='no'", "dataset", "no"),
        ("dataset={old} sets", "dataset", "{old} sets"),
        ("source_set=no", "source_set", "no"),
        ("source_set=[no, sv]", "source_set", "no,sv"),
        ("source_set=no,sv", "source_set", "no,sv"),
        ("learning_rate=5e-3", "learning_rate", 0.005),
        ("max_steps=2e2", "max_steps", 200),
        ("max_steps=1_000", "max_steps", 1000),
        ("eval_steps=null", "eval_steps", None),
        ("eval_steps=", "eval_steps", None),
        ("max_steps=007", "max_steps", 7),
    ],
)
def test_a_set_value_is_the_text_as_it_is(write: Write, override: str, field: str, value: Any) -> None:
    config = load_search(write("base: {eval_steps: 5}\n"), [override])[1].config()
    assert config.values[field] == value
    if field in ("dataset", "source_set"):
        assert read_evaluation_values([override]) == {field: value}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["learning_rate=1", "learning_rate=2"],
            "--set learning_rate=2: learning_rate is set already, to '1'",
        ),
        (["=3"], "must look like key=value"),
        (["learning_rate=abc"], "base: learning_rate='abc': must be a number"),
        (["source_set=[no"], None),
        (["source_set=[no, [sv]]]"], "--set source_set=.*is not YAML"),
        (["MAX_STEPS=4"], "unknown key 'MAX_STEPS'; did you mean 'max_steps'"),
        (["dataset="], "dataset='': string should have at least 1 character"),
        (["scheduler={grace_perod: 3}"], "unknown key 'grace_perod'; did you mean 'grace_period'"),
    ],
)
def test_a_mistaken_set_value_is_refused(write: Write, overrides: list[str], message: str | None) -> None:
    if message is None:
        assert load_search(write("base: {max_steps: 100}\n"), overrides)[1].config().data.source_set == "[no"
        return
    with pytest.raises(InputError, match=message) as refusal:
        load_experiment(write("base: {max_steps: 100}\n"), overrides)
    assert "\n" not in str(refusal.value)


def test_lists_and_keys_are_set_where_they_are_taken(write: Write) -> None:
    grid = write("kind: grid\nbase: {max_steps: 100}\narms: {a: {}}\nsource_sets: [x]\n")
    overrides = ["source_sets=no,[sv]", "seeds=[1-3, 7]", "evaluation={languages: [no, sv], max_examples: null}"]
    with pytest.raises(InputError):
        load_experiment(grid, ["source_sets=[no, [sv]"])
    sweep = load_experiment(grid, ["source_sets=[no, [no, sv]]", *overrides[1:]])[1]
    assert sweep.kind == "grid"
    assert (sweep.source_sets, sweep.seeds) == (("no", "no,sv"), (1, 2, 3, 7))
    assert (sweep.evaluation.languages, sweep.evaluation.max_examples) == (("no", "sv"), None)
    sweep = load_experiment(grid, ["source_sets=no, sv"])[1]
    assert sweep.kind == "grid" and sweep.source_sets == ("no", "sv")


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfbase: {max_steps: 100}\nseeds: 1-3\n",
        "base: {max_steps: 100}\nseeds: 1-3\n".encode("utf-16"),
        b"base:\r\n  max_steps: 100\r\nseeds: 1-3\r\n",
        b"base:\r  max_steps: 100\rseeds: 1-3\r",
        b"---\nbase: {max_steps: 100}\nseeds: [1, 2-3]\n...\n---\n",
        b"base: {max_steps: !!int 1e2}\nseeds: 1 - 3\n",
    ],
)
def test_a_file_is_read_as_editors_save_it(write: Write, content: bytes) -> None:
    sweep = load_search(write(content))[1]
    assert (sweep.config().training.max_steps, sweep.seeds) == (100, (1, 2, 3))


def test_anchors_and_merge_keys_are_taken_as_people_use_them(write: Write) -> None:
    file = write(
        "kind: grid\nbase: {max_steps: 100}\narms:\n  spt: &spt {encoder_ratio: 0, learning_rate: 5e-3}\n"
        "  xpe: {<<: *spt, encoder_ratio: 1}\n  dual:\n    <<: [{patience: 3}, *spt]\n    <<: {batch_size: 8}\n"
        "    encoder_ratio: .3\n"
    )
    spt, xpe, dual = load_experiment(file)[1].corners
    assert (xpe.values["encoder_ratio"], xpe.training.learning_rate) == (1.0, spt.training.learning_rate)
    assert (
        dual.values["encoder_ratio"],
        dual.training.patience,
        dual.training.batch_size,
        dual.training.learning_rate,
    ) == (0.3, 3, 8, 0.005)
    pinned = load_experiment(file, ["learning_rate=1e-2"])[1]  # aliases are values of their own
    assert {corner.training.learning_rate for corner in pinned.corners} == {0.01}


def test_choices_are_of_their_fields_type(write: Write) -> None:
    file = write("space: {num_virtual_tokens: {choice: [4, 8.0, 1e1]}}\n")
    choice = load_search(file)[1].space["num_virtual_tokens"].choice
    assert choice == (4, 8, 10) and all(type(value) is int for value in choice)
    sets = load_search(write("space: {source_set: {choice: [010, 1.0, no]}}\n"))[1].space["source_set"].choice
    assert sets == ("010", "1.0", "no")


def test_an_older_experiment_with_numbers_as_text_is_the_same_one(tmp_path: Path) -> None:
    values = {"base": {"max_steps": 100}, "num_samples": 2, "space": {"learning_rate": {"choice": [5e-3, 1e-2]}}}
    sweep, prints = Search(**values), {"backbone": "b", "data": "d"}
    before = yaml.safe_load(yaml.safe_dump(specify(sweep, prints).to_yaml()))
    before["space"]["learning_rate"]["choice"] = ["5e-3", "1e-2"]
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(before))
    refuse_another(Folder(tmp_path), specify(sweep, prints))
    assert Sampler(sweep, {}).propose(0, set()) is not None


def test_an_older_experiment_that_lacks_a_later_field_is_the_one_with_its_default(tmp_path: Path) -> None:
    prints = {"backbone": "b", "data": "d"}

    def say(**values: object) -> Specification:
        space = {"learning_rate": {"choice": [5e-3, 1e-2]}}
        return specify(Search(base={"max_steps": 100, **values}, num_samples=2, space=space), prints)

    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(say().to_yaml()))
    refuse_another(Folder(tmp_path), say(task="topic", on_bad_rows="refuse"))
    for other in ({"on_bad_rows": "skip"}, {"batch_size": 32}):
        with pytest.raises(InputError, match=f"base.{next(iter(other))} was None"):
            refuse_another(Folder(tmp_path), say(**other))


@pytest.mark.parametrize("source", ["quickstart", "own"])
def test_a_grace_period_that_nobody_wrote_is_not_complained_about(write: Write, source: str) -> None:
    file = write("base: {max_steps: 100}\n") if source == "own" else source
    sweep = load_search(file, ["max_steps=4", "eval_steps=2"])[1]
    assert (sweep.longest, sweep.grace_period) == (4, 4)
    with pytest.raises(InputError, match="scheduler.grace_period=20 is longer than max_steps=4"):
        load_experiment(file, ["max_steps=4", "scheduler.grace_period=20"])
    own = write("base: {max_steps: 100}\nscheduler: {grace_period: 30}\n")
    with pytest.raises(InputError, match="scheduler.grace_period=30 is longer than max_steps=4"):
        load_experiment(own, ["max_steps=4"])


def test_a_dry_run_refuses_what_a_start_would(
    base: dict[str, object],
    tmp_path: Path,
    run_here: Callable[..., str],
    refuse: Callable[..., str],
    local_ray: None,
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"kind": "grid", "base": base, "arms": {"low": {}}, "seeds": [1]}), "utf-8")
    start = ("grid", str(file), "--storage", str(tmp_path), "--dry-run", "--tflops", "1")
    plan = prepare("mine", load_experiment(str(file))[1])
    ExperimentFolder(tmp_path / "mine", plan.sweep, plan.fingerprints).close()
    run_here(*start)
    said = refuse(*start, "--set", "batch_size=4")
    assert "holds another experiment: base.batch_size was 8 and is now 4; give this one a --name of its own" in said
