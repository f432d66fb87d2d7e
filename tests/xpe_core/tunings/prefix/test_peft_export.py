"""Prefixes as folders of peft: written, loaded by stock peft without this project, and read again."""

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

from tests.making.encoders import build_modernbert, save_encoder
from tests.xpe_core.adapters.test_peft_folder import (
    LOADER,
    NAMES,
    TEXTS,
    backbones,
    change_config,
    classify,
    refusal,
)
from xpe_core.adapters import Adapter, read_adapter, write_peft
from xpe_core.backbones.backbone import find_shape, load_tokenizer
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.pack import build_run

assert backbones  # a fixture
CASES = [
    ("xlm-roberta", "first", None),
    ("xlm-roberta", "mean", None),
    ("xlm-roberta", "first", 6),
    ("bert", "first", None),
    ("bert", "first", 6),
    ("bert", "mean", None),
]
Case = tuple[str, str, int | None]
Exported = dict[Case, tuple[Adapter, Path, str]]


def make_adapter(backbone: str, **values: Any) -> Adapter:
    """Return an adapter whose numbers are large enough to show in the logits."""
    settings = {"tuning": "prefix", "num_virtual_tokens": 5, "max_length": 8, "precision": "float32", "dataset": "cldr"}
    settings["prefix_init"] = "normal"
    config = RunConfig(**{**settings, "backbone": backbone, "source_set": "eng_Latn", "seed": 3, **values})
    draw = torch.Generator().manual_seed(7)
    tensors = build_run(config, find_shape(backbone), len(NAMES)).state_dict()
    parameters = {name: torch.randn(value.shape, generator=draw) * 0.4 for name, value in tensors.items()}
    return Adapter(config, NAMES, parameters, None, {"best_step": 20})


def name(case: Case) -> str:
    return "-".join(map(str, case))


@pytest.fixture(scope="module")
def exported(backbones: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Write every case; give its adapter, its folder and what `write_peft` said."""
    folder, made = tmp_path_factory.mktemp("peft"), {}
    for case in CASES:
        kind, pooling, projection = case
        adapter = make_adapter(backbones[kind], pooling=pooling, prefix_projection=projection)
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
def test_what_was_written_is_read_as_keys_and_values(exported: Exported, case: Case) -> None:
    adapter, folder, said = exported[case]
    assert said.startswith("peft loads the prefix")
    found = read_adapter(folder)
    assert found.config.values["prefix_projection"] is None and found.config.values["num_virtual_tokens"] == 5
    assert ("exported_from" in found.facts) == (case[2] is not None)
    assert case[2] is not None or found.parameters.keys() == adapter.parameters.keys()
    assert found.label_names == NAMES
    torch.testing.assert_close(classify(found), classify(adapter), atol=0 if case[2] is None else 1e-5, rtol=0)


@pytest.fixture(params=[False, True], ids=["table", "projection"])
def from_stock(request: pytest.FixtureRequest, backbones: dict[str, str], tmp_path: Path) -> tuple[Path, Any]:
    """Save a prefix that stock peft made, and give its folder and its model."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = AutoModelForSequenceClassification.from_pretrained(backbones["xlm-roberta"], num_labels=len(NAMES))
        settings = peft.PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=4, prefix_projection=request.param)
        settings.encoder_hidden_size = 7
        model = peft.get_peft_model(model.float(), settings).eval()
    model.save_pretrained(tmp_path / "stock")
    return tmp_path / "stock", model


def test_what_stock_peft_saved_is_read_with_its_logits(from_stock: tuple[Path, Any]) -> None:
    folder, model = from_stock
    adapter = read_adapter(folder, NAMES)
    assert adapter.config.values["num_virtual_tokens"] == 4
    adapter = Adapter(adapter.config.with_values(precision="float32", max_length=8), NAMES, adapter.parameters)
    batch = load_tokenizer(adapter.config.backbone)(TEXTS, truncation=True, max_length=8, padding=True)
    with torch.no_grad():
        mask = torch.tensor(batch["attention_mask"])
        theirs = model(input_ids=torch.tensor(batch["input_ids"]), attention_mask=mask).logits
    torch.testing.assert_close(classify(adapter), theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("from_stock", [False], indirect=True)
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"num_layers": 3}, "its keys and values have the shape [4, 128]; adapter_config.json wants [4, 192]"),
        ({"token_dim": 64}, "its keys and values have the shape [4, 128]; adapter_config.json wants [4, 256]"),
        ({"num_virtual_tokens": 0}, "num_virtual_tokens=0: input should be greater than or equal to 1"),
    ],
)
def test_a_table_of_another_shape_is_refused(from_stock: tuple[Path, Any], values: dict[str, Any], said: str) -> None:
    change_config(from_stock[0], **values)
    assert said in refusal(from_stock[0])


def test_what_peft_cannot_hold_is_refused(backbones: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="prefix_layers=1: peft puts keys into all 2 layers; allowed are null, or"):
        write_peft(make_adapter(backbones["bert"], prefix_layers=1), tmp_path / "top")
    modernbert = save_encoder(tmp_path / "modernbert", build_modernbert())
    with pytest.raises(InputError, match="peft cannot put keys into .*, whose class takes no past_key_values"):
        write_peft(make_adapter(modernbert), tmp_path / "modern")
