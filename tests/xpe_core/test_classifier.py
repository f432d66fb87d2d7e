"""A trained adapter answers texts: one by one, many, without end, and what it refuses."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

import xpe_core
from tests.conftest import make_backbone, make_words
from tests.making.runs import compute_outputs
from xpe_core import trained as module
from xpe_core.adapters import Adapter, build_classifier, take_adapter, write_adapter
from xpe_core.backbones.backbone import load_backbone, load_tokenizer
from xpe_core.classifier import TextClassifier
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.pack import Pack, count_tokens
from xpe_core.trained import choose_precision, cut_windows, find_device, has_bfloat16

NAMES = ("sports", "travel", "health")
WORDS = [word for words in make_words().values() for word in words]


def make_adapter(base: dict[str, Any], **values: Any) -> Adapter:
    """Return an adapter whose head tells texts apart."""
    config = RunConfig(**{**base, **values})
    model = Pack(load_backbone(config.backbone), [config], len(NAMES))
    adapter = take_adapter(model, 0, NAMES)
    adapter.parameters["head.dense.weight"] *= 5
    adapter.parameters["head.out.weight"] *= 50
    mean = np.log(answer_alone(adapter, make_texts(30))).mean(0)
    adapter.parameters["head.out.bias"] -= torch.from_numpy(mean)  # no class is far above the others
    return adapter


def make_texts(number: int) -> list[str]:
    draw = np.random.default_rng(0)
    return [" ".join(draw.choice(WORDS, draw.integers(0, 20))) for _ in range(number)]


def answer_alone(adapter: Adapter, texts: list[str]) -> np.ndarray:
    """Return the probabilities of texts, each computed by itself, as training's own forward pass gives them."""
    backbone = load_backbone(adapter.config.backbone)
    tokenizer = load_tokenizer(adapter.config.backbone)
    model = build_classifier(backbone, [adapter])
    rows = []
    for text in texts:
        ids = tokenizer(text, truncation=True, max_length=adapter.config.data.max_length)["input_ids"]
        logits = compute_outputs(model, torch.tensor([[ids]]), np.array([len(ids)]))
        rows.append(torch.softmax(logits[0, 0], -1).numpy())
    return np.array(rows)


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_a_texts_probabilities_are_those_of_the_text_alone(base: dict[str, Any], pooling: str) -> None:
    adapter = make_adapter(base, pooling=pooling)
    texts = make_texts(60)
    expected = answer_alone(adapter, texts)
    found = xpe_core.load(adapter).probabilities(texts)
    assert found.shape == (60, 3) and found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-5
    assert len(set(expected.argmax(-1))) > 1  # the texts are not all of one class


def test_answers_stand_in_the_order_of_the_texts(base: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW", 8)
    monkeypatch.setattr(module, "FIRST_WINDOW", 2)
    classifier = xpe_core.load(make_adapter(base))
    texts = [*make_texts(30), "", *make_texts(5)]
    answers = classifier.predict(texts)
    for text, answer in zip(texts, answers, strict=True):
        (alone,) = classifier.predict([text])
        assert answer.label == alone.label and answer.probability == pytest.approx(alone.probability, abs=1e-5)
    assert [answer.label for answer in classifier.stream(texts)] == [answer.label for answer in answers]


def test_a_file_is_loaded_in_one_line(base: dict[str, Any], tmp_path: Path) -> None:
    adapter = make_adapter(base)
    write_adapter(adapter, tmp_path / "one.safetensors")
    loaded = xpe_core.load(tmp_path / "one.safetensors")
    (answer,) = loaded.predict([WORDS[0]])
    row = answer_alone(adapter, [WORDS[0]])[0]
    assert answer.label == NAMES[row.argmax()] and answer.probability == pytest.approx(row.max(), abs=1e-5)
    assert (loaded.label_names, loaded.precision, loaded.device.type) == (NAMES, "float32", find_device(None).type)


def test_a_stream_reads_no_further_than_its_window(base: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW", 8)
    read = 0

    def write_without_end() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield WORDS[read % len(WORDS)]

    answers = xpe_core.load(make_adapter(base)).stream(write_without_end())
    next(answers)
    assert read == 8
    for _ in range(24):
        next(answers)
    assert read == 32


def test_windows_grow_so_that_the_first_answers_come_soon() -> None:
    assert [len(window) for window in cut_windows(map(str, range(9_000)))] == [256, 512, 1024, 2048, 4096, 1064]


def test_equal_texts_of_a_window_are_computed_once(base: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = xpe_core.load(make_adapter(base))
    computed: list[int] = []
    outputs = classifier._model.outputs

    def count(*arguments: Any) -> torch.Tensor:
        computed.append(arguments[2].shape[1])
        return outputs(*arguments)

    monkeypatch.setattr(classifier._model, "outputs", count)
    found = classifier.probabilities([WORDS[0], WORDS[1], WORDS[0], WORDS[0]])
    assert sum(computed) == 2
    assert np.array_equal(found[0], found[2]) and np.array_equal(found[0], found[3])


def test_no_texts_have_no_answers(base: dict[str, Any]) -> None:
    classifier = xpe_core.load(make_adapter(base))
    assert classifier.predict([]) == [] and list(classifier.stream([])) == []
    assert classifier.probabilities([]).shape == (0, 3)


def test_an_empty_text_and_a_very_long_one_have_an_answer(base: dict[str, Any]) -> None:
    adapter = make_adapter(base)
    long = " ".join([WORDS[0]] * 100_000)
    found = xpe_core.load(adapter).probabilities(["", long])
    assert np.abs(found - answer_alone(adapter, ["", " ".join([WORDS[0]] * 50)])).max() < 1e-5


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        ("one text", "texts: must be a list, or another iterable, of strings; this is a single one"),
        (["a", "b", 7], "text 3 is no string but of the type int"),
        (["a", None], "text 2 is no string but of the type NoneType"),
        (["a", "half \ud83d"], "text 2 holds half a character"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(base: dict[str, Any], texts: Any, sentence: str) -> None:
    classifier = xpe_core.load(make_adapter(base))
    with pytest.raises(InputError, match=sentence):
        classifier.predict(texts)


def test_a_text_that_is_refused_is_counted_over_all_windows(
    base: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WINDOW", 4)
    classifier = xpe_core.load(make_adapter(base))
    texts: list[Any] = ["a"] * 9 + [7]
    with pytest.raises(InputError, match="^text 10 is no string"):
        classifier.predict(texts)
    answers = classifier.stream(texts)
    assert [next(answers) for _ in range(8)]
    with pytest.raises(InputError, match="^text 10 is no string"):
        next(answers)


def test_another_folder_with_the_same_backbone_gives_the_same_answers(base: dict[str, Any], tmp_path: Path) -> None:
    adapter, texts = make_adapter(base), make_texts(5)
    same = make_backbone(tmp_path / "same")
    found = xpe_core.load(adapter, backbone=same).probabilities(texts)
    assert np.array_equal(found, xpe_core.load(adapter).probabilities(texts))


def test_another_backbone_is_refused(base: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is for a backbone of hidden size 32"):
        xpe_core.load(make_adapter(base), backbone=make_backbone(tmp_path / "wider", 64))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"device": "tpu7"}, "device='tpu7': must be cpu, cuda, or one GPU such as cuda:1"),
        ({"device": "meta"}, "device='meta': must be cpu, cuda, or one GPU such as cuda:1"),
        ({"device": "cuda:99"}, "device='cuda:99': this machine has "),
        ({"precision": "float16"}, "the classifier: precision='float16': input should be 'float32' or 'bfloat16'"),
    ],
)
def test_a_device_or_precision_that_there_is_not_is_refused(
    base: dict[str, Any], values: dict[str, str], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        xpe_core.load(make_adapter(base), **values)


def test_the_precision_is_that_of_training_where_the_device_has_it(base: dict[str, Any]) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    half = RunConfig(**{**base, "precision": "bfloat16"})
    assert choose_precision(half, gpu) == "bfloat16"
    assert choose_precision(half, cpu) == ("bfloat16" if has_bfloat16() else "float32")
    assert choose_precision(RunConfig(**base), gpu) == "float32"
    # what another tool trained says nothing of its precision
    assert choose_precision(RunConfig(backbone="a", imported="0" * 16), gpu) == "float32"


def test_bfloat16_is_near_float32(base: dict[str, Any]) -> None:
    adapter, texts = make_adapter(base), make_texts(20)
    half = xpe_core.load(adapter, precision="bfloat16")
    assert half.precision == "bfloat16"
    difference = np.abs(half.probabilities(texts) - xpe_core.load(adapter).probabilities(texts))
    assert 0 < difference.max() < 0.1


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, xpe_core; assert 'torch' not in sys.modules; xpe_core.load; assert 'torch' in sys.modules"
    code += "; assert not {'ray', 'optuna'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_that_the_package_has_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'xpe_core' has no attribute 'laod'"):
        xpe_core.laod  # noqa: B018
    assert isinstance(xpe_core.load, type(lambda: None)) and TextClassifier.__module__ == "xpe_core.classifier"


def test_a_text_with_a_token_that_has_no_embedding_is_refused(base: dict[str, Any], tmp_path: Path) -> None:
    folder = make_backbone(tmp_path / "backbone")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["newword"])
    tokenizer.save_pretrained(folder)
    classifier = xpe_core.load(make_adapter(base, backbone=folder))
    assert len(classifier.predict(make_texts(3))) == 3
    with pytest.raises(InputError, match="its tokenizer gives the token 'newword' .id 76., and the backbone has"):
        classifier.predict([*make_texts(3), "a newword"])


def test_blanks_around_a_text_change_nothing_as_they_do_not_in_training(base: dict[str, Any], tmp_path: Path) -> None:
    """As with XLM-R's own tokenizer, a blank at the end is a token."""
    backbone = shutil.copytree(base["backbone"], tmp_path / "metaspace")
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "▁": 4, "▁a": 5, "▁b": 6}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>").save_pretrained(backbone)
    assert load_tokenizer(str(backbone))("a b ")["input_ids"] == [5, 6, 4]
    config = RunConfig(**{**base, "backbone": str(backbone)})
    adapter = take_adapter(Pack(load_backbone(config.backbone), [config], len(NAMES)), 0, NAMES)
    plain, *others = xpe_core.load(adapter).probabilities(["a b", "a b ", " a b", "a b\n"])
    assert all((other == plain).all() for other in others)


def test_an_adapter_of_another_tool_takes_texts_as_long_as_its_backbone(base: dict[str, Any]) -> None:
    adapter = make_adapter(base)
    known = {name: value for name, value in adapter.config.known.items() if name != "max_length"}
    foreign = Adapter(RunConfig(**known), adapter.label_names, adapter.parameters)
    classifier = xpe_core.load(foreign)
    positions = load_backbone(base["backbone"]).max_positions
    num_tokens = count_tokens(adapter.config)
    assert classifier.adapter.config.data.max_length == positions - num_tokens
    assert classifier.probabilities([" ".join(WORDS[:1] * 500)]).shape == (1, 3)
