"""Adapters of a task about pairs: peft gives our logits by the lines of their READMEs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.making.pairs import PAIRS, make_encoder
from tests.xpe_core.adapters.test_peft_folder import LOADER, NAMES
from xpe_core.adapters import Adapter, build_classifier, read_adapter, write_peft
from xpe_core.adapters.transformers_folder import write_transformers
from xpe_core.backbones.backbone import load_backbone, load_tokenizer
from xpe_core.classifier import TextClassifier
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.pack import build_run

MAX_LENGTH = 10
"""Shorter than the longest of the pairs."""
CASES = [("bert", tuning, "first") for tuning in ("prompt", "prefix", "lora", "none")]
CASES += [("xlm-roberta", tuning, "first") for tuning in ("prompt", "prefix", "lora")]
CASES += [("bert", "prompt", "mean"), ("bert", "lora", "mean"), ("deberta-v2", "prompt", "first")]
OWN: dict[str, dict[str, Any]] = {
    "prompt": {"num_virtual_tokens": 6, "encoder_ratio": 0.5, "encoder_hidden_size": 8},
    "prefix": {"num_virtual_tokens": 6, "prefix_init": "normal"},
    "lora": {"rank": 2, "target_modules": "query,value"},
    "none": {},
    "full": {},
}
Case = tuple[str, str, str]
OF_PAIRS = LOADER.replace(
    "    values = {}\n", "    code = re.sub(r'pairs = .*', f'pairs = {sys.argv[4]}', code)\n    values = {}\n"
)


def make_adapter(backbone: str, tuning: str, pooling: str) -> Adapter:
    """Return an adapter whose numbers are large enough to show in the logits."""
    values: dict[str, Any] = {
        "backbone": backbone,
        "task": "nli",
        "tuning": tuning,
        "pooling": pooling,
        "dataset": "pairs",
    }
    values |= {"max_length": MAX_LENGTH, "precision": "float32", "source_set": "eng_Latn"}
    config = RunConfig(**values, **OWN[tuning])
    draw = torch.Generator().manual_seed(7)
    shapes = build_run(config, load_backbone(backbone).shape, len(NAMES)).state_dict()
    parameters = {name: torch.randn(value.shape, generator=draw) * 0.4 for name, value in shapes.items()}
    return Adapter(config, NAMES, parameters)


def compute_logits(adapter: Adapter) -> torch.Tensor:
    """Return our logits of the pairs in one padded batch."""
    name = adapter.config.backbone
    tokenizer = load_tokenizer(name)
    first, second = map(list, zip(*PAIRS, strict=True))
    batch = tokenizer(first, second, truncation=True, max_length=MAX_LENGTH, padding=True, return_tensors="pt")
    lengths = batch["attention_mask"].sum(1).numpy()
    types = batch.get("token_type_ids")
    model = build_classifier(load_backbone(name), [adapter])
    with torch.inference_mode():
        insertion = model.insert(model.parameters, [0])
        types = None if types is None else types[None]
        return model.outputs(model.parameters, insertion, batch["input_ids"][None], lengths, (), types)[0]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[Case, tuple[Adapter, Path]]:
    folder, made = tmp_path_factory.mktemp("peft"), {}
    for case in CASES:
        kind, tuning, pooling = case
        backbone = make_encoder(kind, tmp_path_factory.mktemp(kind), with_types=kind != "xlm-roberta")
        made[case] = (make_adapter(backbone, tuning, pooling), folder / "-".join(case))
        if tuning != "none":
            write_peft(*made[case])
    return made


@pytest.fixture(scope="module")
def from_peft(
    exported: dict[Case, tuple[Adapter, Path]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, torch.Tensor]:
    """Run every folder's README in one process that has peft, but not this project; give the logits by folder."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    root = next(iter(exported.values()))[1].parent
    first, second = (json.dumps(texts) for texts in zip(*PAIRS, strict=True))
    command = [sys.executable, "-I", "-c", OF_PAIRS, str(root), first, str(elsewhere / "logits"), second]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return safetensors.torch.load_file(elsewhere / "logits")


@pytest.mark.parametrize("case", [case for case in CASES if case[1] != "none"], ids="-".join)
def test_peft_gives_our_logits_of_pairs(
    exported: dict[Case, tuple[Adapter, Path]], from_peft: dict[str, torch.Tensor], case: Case
) -> None:
    ours = compute_logits(exported[case][0])
    assert ours.std(0).min() > 0.01, "pairs must differ in their logits for the comparison to say anything"
    torch.testing.assert_close(from_peft["-".join(case)], ours, atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_classifier_of_pairs_has_the_same_probabilities(
    exported: dict[Case, tuple[Adapter, Path]], case: Case
) -> None:
    adapter, _ = exported[case]
    classifier = TextClassifier(adapter, load_backbone(adapter.config.backbone))
    expected = compute_logits(adapter).softmax(-1).numpy()
    np.testing.assert_allclose(classifier.probabilities(PAIRS), expected, atol=1e-5)
    swapped = classifier.probabilities([(second, first) for first, second in PAIRS])
    assert np.abs(swapped - expected).max() > 0.01


def test_what_peft_loads_is_read_back_with_its_task(exported: dict[Case, tuple[Adapter, Path]]) -> None:
    for case, (_, folder) in exported.items():
        if case[1] != "none":
            assert read_adapter(folder).config.task == "nli"


@pytest.mark.parametrize("text", ["one text", ("one",), ("a", 1), ["a", "b"]])
def test_what_is_no_pair_is_refused(exported: dict[Case, tuple[Adapter, Path]], text: Any) -> None:
    adapter, _ = exported["bert", "lora", "first"]
    classifier = TextClassifier(adapter, load_backbone(adapter.config.backbone))
    with pytest.raises(InputError, match=r"text 2 is no pair \(premise, hypothesis\) of strings but"):
        classifier.predict([("a", "b"), text])


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])
def test_transformers_gives_our_logits_of_pairs_of_a_fully_fine_tuned_run(kind: str, tmp_path: Path) -> None:
    backbone = make_encoder(kind, tmp_path / kind, with_types=kind != "xlm-roberta")
    adapter = make_adapter(backbone, "full", "first")
    write_transformers(adapter, tmp_path / "whole")
    first, second = map(list, zip(*PAIRS, strict=True))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "whole")
    batch = tokenizer(first, second, truncation=True, max_length=MAX_LENGTH, padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits = AutoModelForSequenceClassification.from_pretrained(tmp_path / "whole").eval()(**batch).logits
    ours = compute_logits(adapter)
    assert ours.std(0).min() > 0.01
    torch.testing.assert_close(logits, ours, atol=1e-5, rtol=0)
