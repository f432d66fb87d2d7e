"""Fully fine-tuned runs as files: our own, and folders that transformers loads."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import xpe_core
from tests.making.encoders import ENCODERS
from xpe_core.adapters import Adapter, build_classifier, read_adapter, take_adapter, write_adapter, write_transformers
from xpe_core.adapters.peft_folder import write_peft
from xpe_core.backbones.backbone import load_backbone, load_tokenizer
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.pack import Pack

LABELS = ("sports", "travel", "health")
TEXTS = ["spdeu1 spdeu2 trdeu3", "heeng5", "tryor1 " * 14]


@pytest.fixture
def encoders(backbone: str, tmp_path: Path) -> dict[str, str]:
    """Give backbones of several kinds with one tokenizer."""
    folders = {"xlm-roberta": backbone}
    for kind in ("bert", "mdeberta-v3"):
        torch.manual_seed(0)
        model = ENCODERS[kind]()
        model.resize_token_embeddings(len(load_tokenizer(backbone)))
        folders[kind] = str(shutil.copytree(backbone, tmp_path / kind))
        model.save_pretrained(folders[kind])
    return folders


def make_adapter(backbone: str, pooling: str = "first") -> Adapter:
    """Return a run whose weights are far from the backbone's."""
    config = RunConfig(
        tuning="full", backbone=backbone, dataset="some", max_length=16, pooling=pooling, precision="float32"
    )
    model = Pack(load_backbone(backbone), [config], len(LABELS))
    generator = torch.Generator().manual_seed(1)
    for value in model.parameters.values():
        value.add_(torch.randn(value.shape, generator=generator) * 0.05)
    return take_adapter(model, 0, LABELS, {"run_id": "some"})


def compute_logits(adapter: Adapter, backbone: str) -> torch.Tensor:
    """Return our logits of the texts [N, C]."""
    texts = load_tokenizer(backbone)(TEXTS, truncation=True, max_length=16, padding=True, return_tensors="pt")
    model = build_classifier(load_backbone(backbone), [adapter])
    with torch.inference_mode():
        insertion = model.insert(model.parameters, [0])
        lengths = texts["attention_mask"].sum(1).numpy()
        return model.outputs(model.parameters, insertion, texts["input_ids"][None], lengths)[0]


@pytest.mark.parametrize("kind", ["xlm-roberta", "bert"])
def test_transformers_gives_our_logits(encoders: dict[str, str], kind: str, tmp_path: Path) -> None:
    adapter = make_adapter(encoders[kind])
    assert "AutoModelForSequenceClassification" in write_transformers(adapter, tmp_path / "out")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    batch = tokenizer(TEXTS, truncation=True, max_length=16, padding=True, return_tensors="pt")
    batch.pop("token_type_ids", None)
    with torch.inference_mode():
        logits = model(**batch).logits
    torch.testing.assert_close(logits, compute_logits(adapter, encoders[kind]), atol=1e-5, rtol=0)
    assert model.config.id2label == dict(enumerate(LABELS))
    assert logits.std() > 0.01


@pytest.mark.parametrize(
    ("kind", "pooling"), [("xlm-roberta", "first"), ("xlm-roberta", "mean"), ("mdeberta-v3", "first")]
)
def test_the_lines_of_the_readme_give_our_labels(
    encoders: dict[str, str], kind: str, pooling: str, tmp_path: Path
) -> None:
    adapter = make_adapter(encoders[kind], pooling)
    write_transformers(adapter, tmp_path / "out")
    found = re.search(r"```python\n(.*?)\n```", (tmp_path / "out/README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert found
    code = re.sub(r"^texts = .*$", f"texts = {TEXTS!r}", found[1], flags=re.M)
    code = code.replace("print([names", "print(logits.tolist(), [names")
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path / "out", capture_output=True, text=True, check=True
    )
    logits, labels = eval(done.stdout.strip().splitlines()[-1].replace("]] [", "]], ["))
    ours = compute_logits(adapter, encoders[kind])
    torch.testing.assert_close(torch.tensor(logits), ours, atol=1e-5, rtol=0)
    assert labels == [LABELS[index] for index in ours.argmax(-1)]


@pytest.mark.parametrize(("kind", "pooling"), [("bert", "first"), ("xlm-roberta", "mean"), ("mdeberta-v3", "mean")])
@pytest.mark.parametrize("form", ["transformers", "own"])
def test_a_run_is_read_as_it_was_written(
    encoders: dict[str, str], kind: str, pooling: str, form: str, tmp_path: Path
) -> None:
    adapter = make_adapter(encoders[kind], pooling)
    if form == "own":
        write_adapter(adapter, tmp_path / "run.safetensors")
    else:
        write_transformers(adapter, tmp_path / "run")
    read = read_adapter(tmp_path / ("run.safetensors" if form == "own" else "run"))
    assert (read.fingerprint, read.config, read.label_names) == (adapter.fingerprint, adapter.config, LABELS)
    probabilities = xpe_core.load(read, "cpu", "float32").probabilities(TEXTS)
    expected = compute_logits(adapter, encoders[kind]).softmax(-1)
    torch.testing.assert_close(torch.from_numpy(probabilities), expected, atol=1e-5, rtol=0)


def test_a_model_that_other_tools_have_fine_tuned_is_read(encoders: dict[str, str], tmp_path: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(
        encoders["bert"], num_labels=3, id2label=dict(enumerate(LABELS)), label2id={}
    ).eval()
    folder = shutil.copytree(encoders["bert"], tmp_path / "theirs")
    model.save_pretrained(folder)
    read = read_adapter(folder)
    assert read.label_names == LABELS
    read = replace(read, config=read.config.with_values(max_length=16, precision="float32"))
    batch = load_tokenizer(str(folder))(TEXTS, truncation=True, max_length=16, padding=True, return_tensors="pt")
    batch.pop("token_type_ids", None)
    with torch.inference_mode():
        expected = model(**batch).logits
    torch.testing.assert_close(compute_logits(read, str(folder)), expected, atol=1e-5, rtol=0)


def test_a_damaged_model_is_refused(encoders: dict[str, str], tmp_path: Path) -> None:
    write_transformers(make_adapter(encoders["xlm-roberta"]), tmp_path / "out")
    content = bytearray((tmp_path / "out/model.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "out/model.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="model.safetensors is damaged, or was changed"):
        read_adapter(tmp_path / "out")


def test_what_a_format_cannot_hold_is_refused_in_a_sentence(encoders: dict[str, str], tmp_path: Path) -> None:
    adapter = make_adapter(encoders["xlm-roberta"])
    with pytest.raises(InputError, match="tuning=full: it is not written in peft's format"):
        write_peft(adapter, tmp_path / "peft")
    config = RunConfig(tuning="none", backbone=encoders["xlm-roberta"])
    head: dict[str, Any] = {name: value for name, value in adapter.parameters.items() if name.startswith("head.")}
    with pytest.raises(InputError, match="tuning=none: it changes an encoder that stays as it is"):
        write_transformers(replace(adapter, config=config, parameters=head), tmp_path / "none")
    with pytest.raises(InputError, match="does not fit|is for a backbone of hidden size"):
        build_classifier(load_backbone(encoders["mdeberta-v3"]), [adapter])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"num_labels": 1}, "its model has a single output; allowed is one class out of several"),
        ({"problem_type": "multi_label_classification"}, "has problem_type=multi_label_classification; allowed is one"),
    ],
)
def test_a_model_that_chooses_no_single_class_is_refused(
    encoders: dict[str, str], values: dict[str, Any], said: str, tmp_path: Path
) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(encoders["bert"], **{"num_labels": 3, **values})
    folder = shutil.copytree(encoders["bert"], tmp_path / "theirs")
    model.save_pretrained(folder)
    with pytest.raises(InputError, match=said):
        read_adapter(folder)
