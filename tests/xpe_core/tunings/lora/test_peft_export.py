"""LoRA as a folder of peft: written, loaded by stock peft without this project, and read again."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import peft
import pytest
import safetensors.torch
import torch
from transformers import AutoModelForSequenceClassification

from tests.xpe_core.adapters.test_peft_folder import (
    LOADER,
    NAMES,
    TEXTS,
    backbones,
    change_config,
    classify,
    refusal,
)
from xpe_core.adapters import Adapter, build_classifier, read_adapter, write_peft
from xpe_core.backbones.backbone import find_shape, load_backbone
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.pack import build_run

assert backbones  # a fixture
ALL = "query,key,value,attention_output,up,down"
CASES = [
    ("xlm-roberta", "query,value", "first"),
    ("xlm-roberta", ALL, "first"),
    ("xlm-roberta", "attention_output", "mean"),
    ("bert", ALL, "first"),
    ("bert", "down", "mean"),
    ("mdeberta-v3", "query,value", "first"),
    ("mdeberta-v3", "all", "mean"),
]
Case = tuple[str, str, str]
Exported = dict[Case, tuple[Adapter, Path, str]]


def make_adapter(backbone: str, **values: Any) -> Adapter:
    """Return an adapter whose numbers are large enough to show in the logits."""
    settings = {"tuning": "lora", "rank": 3, "alpha": 7.0, "max_length": 8, "precision": "float32", "dataset": "cldr"}
    config = RunConfig(**{**settings, "backbone": backbone, "source_set": "eng_Latn", "seed": 3, **values})
    draw = torch.Generator().manual_seed(7)
    tensors = build_run(config, find_shape(backbone), len(NAMES)).state_dict()
    parameters = {name: torch.randn(value.shape, generator=draw) * 0.4 for name, value in tensors.items()}
    return Adapter(config, NAMES, parameters, None, {"best_step": 20})


def name(case: Case) -> str:
    return "-".join(case).replace(",", "+")


@pytest.fixture(scope="module")
def exported(backbones: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Write every case; give its adapter, its folder and what `write_peft` said."""
    folder, made = tmp_path_factory.mktemp("peft"), {}
    for case in CASES:
        kind, roles, pooling = case
        adapter = make_adapter(backbones[kind], target_modules=roles, pooling=pooling)
        made[case] = (adapter, folder / name(case), write_peft(adapter, folder / name(case)))
    return made


@pytest.fixture(scope="module")
def from_peft(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """Run every folder's README in one process that has peft, but not this project; give the logits by folder."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    root = next(iter(exported.values()))[1].parent
    command = [sys.executable, "-I", "-c", LOADER, str(root), json.dumps(TEXTS), str(elsewhere / "logits")]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return safetensors.torch.load_file(elsewhere / "logits")


@pytest.mark.parametrize("case", CASES, ids=name)
def test_stock_peft_gives_our_logits_by_the_lines_of_the_readme(
    exported: Exported, from_peft: dict[str, torch.Tensor], case: Case
) -> None:
    ours = classify(exported[case][0])
    assert ours.std(0).min() > 0.01, "texts must differ in their logits for the comparison to say anything"
    torch.testing.assert_close(from_peft[name(case)], ours, atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", CASES, ids=name)
def test_what_was_written_is_read_as_it_was(exported: Exported, case: Case) -> None:
    adapter, folder, _ = exported[case]
    found = read_adapter(folder)
    assert found.parameters.keys() == adapter.parameters.keys()
    assert all(torch.equal(found.parameters[key], value) for key, value in adapter.parameters.items())
    assert found.label_names == NAMES and found.facts == {"best_step": 20}
    torch.testing.assert_close(classify(found), classify(adapter), atol=0, rtol=0)


def test_roles_that_no_other_layer_has_are_named_as_people_name_them(exported: Exported) -> None:
    config = json.loads((exported[CASES[0]][1] / "adapter_config.json").read_text())
    assert config["target_modules"] == ["query", "value"] and (config["r"], config["lora_alpha"]) == (3, 7.0)


@pytest.fixture
def from_stock(backbones: dict[str, str], tmp_path: Path) -> tuple[Path, Any]:
    """Save a LoRA that stock peft made, and give its folder and its model."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = AutoModelForSequenceClassification.from_pretrained(backbones["xlm-roberta"], num_labels=len(NAMES))
        settings = peft.LoraConfig(task_type="SEQ_CLS", r=2, lora_alpha=5, target_modules=["key", "dense"])
        settings.exclude_modules = "classifier.*"
        model = peft.get_peft_model(model.float(), settings).eval()
        for key, value in model.named_parameters():
            if "lora_" in key:
                value.data.normal_(std=0.3)
    model.save_pretrained(tmp_path / "stock")
    return tmp_path / "stock", model


def test_what_stock_peft_saved_is_read_with_its_logits(from_stock: tuple[Path, Any]) -> None:
    folder, model = from_stock
    adapter = read_adapter(folder, NAMES)
    assert adapter.config.values["target_modules"] == "key,attention_output,up,down"
    adapter = Adapter(adapter.config.with_values(precision="float32", max_length=8), NAMES, adapter.parameters)
    from xpe_core.backbones.backbone import load_tokenizer

    batch = load_tokenizer(adapter.config.backbone)(TEXTS, truncation=True, max_length=8, padding=True)
    with torch.no_grad():
        mask = torch.tensor(batch["attention_mask"])
        theirs = model(input_ids=torch.tensor(batch["input_ids"]), attention_mask=mask).logits
    torch.testing.assert_close(classify(adapter), theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"use_dora": True}, "use_dora=True: input should be False"),
        ({"use_rslora": True}, "use_rslora=True: input should be False"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights='pissa_niter_4'"),
        ({"init_lora_weights": "olora"}, "init_lora_weights='olora'"),
        ({"bias": "all"}, "bias='all': input should be 'none'"),
        ({"rank_pattern": {"query": 4}}, "rank_pattern"),
        ({"r": 0}, "r=0: input should be greater than or equal to 1"),
        ({"r": 4}, "has the shape [2, 32]; its configuration wants [4, 32]"),
    ],
)
def test_settings_that_change_what_is_computed_are_refused(
    from_stock: tuple[Path, Any], values: dict[str, Any], said: str
) -> None:
    change_config(from_stock[0], **values)
    assert said in refusal(from_stock[0])


def test_an_adapter_of_fewer_layers_than_the_backbone_has_is_refused(backbones: dict[str, str]) -> None:
    adapter = make_adapter(backbones["bert"])
    fewer = {key: value for key, value in adapter.parameters.items() if ".layers.1." not in key}
    with pytest.raises(InputError, match=r"only one of the two has lora\.layers\.1\.query\.down"):
        build_classifier(load_backbone(backbones["bert"]), [Adapter(adapter.config, NAMES, fewer)])


def test_a_tuning_that_peft_has_no_format_for_is_refused_with_what_is_allowed(
    backbones: dict[str, str], tmp_path: Path
) -> None:
    config = RunConfig(tuning="none", backbone=backbones["bert"], max_length=8)
    parameters = dict(build_run(config, find_shape(backbones["bert"]), len(NAMES)).state_dict())
    with pytest.raises(
        InputError, match="tuning=none: it is not written in peft's format; allowed are prompt, lora, prefix, ia3, or"
    ):
        write_peft(Adapter(config, NAMES, parameters), tmp_path / "none")
