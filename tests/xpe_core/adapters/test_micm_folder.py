"""Adapters in micm-nlp's format: those that it saves are read here, ours by it, and damaged ones are refused.

micm-nlp changes peft for the whole process, so it runs in one of its own, once for all cases. It is found where
XPE_MICM_DIR says (a folder with the unpacked package, and aenum where that is not installed), or where it is installed.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from tests.xpe_core.adapters.test_peft_folder import (
    NAMES,
    TEXTS,
    change_config,
    change_tensors,
    classify,
    make_adapter,
    make_backbone,
    refusal,
)
from xpe_core.adapters import Adapter, read_adapter, write_adapter, write_micm, write_peft
from xpe_core.backbones.backbone import load_tokenizer
from xpe_core.errors import InputError
from xpe_core.tunings.prompt.config import PromptConfig
from xpe_core.tunings.prompt.in_micm import find_ratio

KINDS = ("xlm-roberta", "bert")
ENCODERS: dict[str, dict[str, Any]] = {
    "mlp-1": {"encoder_reparameterization_type": "MLP", "encoder_num_layers": 1},
    "mlp-2": {"encoder_reparameterization_type": "MLP", "encoder_num_layers": 2},
    "mlp-4": {"encoder_reparameterization_type": "MLP", "encoder_num_layers": 4},
    "lstm-1": {"encoder_reparameterization_type": "LSTM", "encoder_num_layers": 1},
    "lstm-3": {"encoder_reparameterization_type": "LSTM", "encoder_num_layers": 3},
    "attn-8": {"encoder_reparameterization_type": "ATTN"},
    "attn-2": {"encoder_reparameterization_type": "ATTN", "encoder_num_heads": 2},
    "none": {"encoder_reparameterization_type": "NONE"},
}
THEIRS: dict[str, dict[str, Any]] = {
    f"{name}-{ratio}": {**values, "encoder_ratio": ratio} for name, values in ENCODERS.items() for ratio in (0.45, 1.0)
}
THEIRS |= {
    "spt": {"encoder_ratio": 0.0},
    "little": {"encoder_ratio": 0.01},
    "much": {"encoder_ratio": 0.99},
    "short of 2": {"encoder_ratio": 0.333333333333, "num_virtual_tokens": 6},
    "mlp-0": {"encoder_reparameterization_type": "MLP", "encoder_num_layers": 0, "encoder_ratio": 1.0},
    "wide mlp": {"encoder_input_size": 40, "encoder_ratio": 1.0},
    "wide lstm": {"encoder_input_size": 12, "encoder_ratio": 1.0, "encoder_reparameterization_type": "LSTM"},
    "wide attn": {"encoder_input_size": 24, "encoder_ratio": 1.0, "encoder_reparameterization_type": "ATTN"},
    "no hidden size": {"encoder_hidden_size": None, "encoder_ratio": 1.0},
    "bert": {"encoder_ratio": 0.5, "kind": "bert"},
    "bert with its pooler": {
        "encoder_ratio": 0.5,
        "kind": "bert",
        "modules_to_save": ["embedding", "xpe_embedding", "xpe_head", "pooler"],
    },
}
"""What is built and saved there, by the keys of its config."""
OURS: dict[str, dict[str, Any]] = {
    f"{kind}-{encoder}-{ratio}": {"kind": kind, "encoder_type": encoder, "encoder_ratio": ratio}
    for kind in KINDS
    for encoder in ("mlp", "lstm", "attention", "none")
    for ratio in (0.5, 1.0)
}
OURS |= {f"{kind}-spt": {"kind": kind, "encoder_ratio": 0.0} for kind in KINDS}
OURS["wide"] = {"kind": "xlm-roberta", "encoder_input_size": 40, "encoder_ratio": 1.0, "encoder_num_layers": 3}
OURS["short of 2"] = {"kind": "xlm-roberta", "encoder_ratio": 0.333333333333, "num_virtual_tokens": 6}
MICM = """
import contextlib, io, json, pathlib, sys
job = json.loads(pathlib.Path(sys.argv[1]).read_text())
sys.path[:0] = job["path"]
import torch
import safetensors.torch
from transformers import AutoModelForSequenceClassification
from micm_nlp.models.xpe import get_xpe_model, load_xpe_pretrained
batches = {kind: {name: torch.tensor(value) for name, value in batch.items()} for kind, batch in job["batches"].items()}
logits = {}

def load(kind):
    torch.manual_seed(1)
    return AutoModelForSequenceClassification.from_pretrained(job["backbones"][kind], num_labels=3).float()

def run(name, model, kind):
    with torch.inference_mode():
        logits[name] = model.eval()(**batches[kind]).logits

for name, values in job["theirs"].items():
    kind = values.pop("kind")
    torch.manual_seed(2)
    model = get_xpe_model(load(kind), values)
    with torch.no_grad():
        for parameter in model.prompt_encoder.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.4)
        for key, parameter in model.named_parameters():
            if "modules_to_save" in key and "base_model" in key:
                parameter.copy_(torch.randn(parameter.shape) * 0.4)
    model.save_pretrained(pathlib.Path(job["folder"]) / name)
    run(f"theirs/{name}", model, kind)
for name, (kind, folder) in job["ours"].items():
    run(f"ours/{name}", load_xpe_pretrained(load(kind), folder), kind)
safetensors.torch.save_file(logits, job["logits"])
"""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {kind: make_backbone(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


@pytest.fixture(scope="module")
def ours(places: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, Adapter, Path]]:
    """Write ours; give the kind of the backbone, the adapter and the folder of each."""
    root = tmp_path_factory.mktemp("ours")
    made = {}
    for name, values in OURS.items():
        values = {"encoder_num_heads": 4, **values}
        kind = values.pop("kind")
        made[name] = (kind, make_adapter(places[kind], **values), root / name)
        write_micm(made[name][1], made[name][2])
    return made


@pytest.fixture(scope="module")
def micm(
    places: dict[str, str], ours: dict[str, tuple[str, Adapter, Path]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, torch.Tensor]]:
    """Let micm-nlp save its adapters and load ours; give the folder of the former, and all logits."""
    place = os.environ.get("XPE_MICM_DIR")
    if not place and importlib.util.find_spec("micm_nlp") is None:
        pytest.skip("micm-nlp is not here: XPE_MICM_DIR names no folder with it, and it is not installed")
    folder = tmp_path_factory.mktemp("theirs")
    common = {"peft_type": "XPE", "task_type": "SEQ_CLS", "num_virtual_tokens": 7, "encoder_hidden_size": 10}
    job = {
        "path": [place] if place else [],
        "backbones": places,
        "batches": {kind: dict(tokenise(places[kind])) for kind in KINDS},
        "folder": str(folder),
        "theirs": {name: {"kind": "xlm-roberta", **common, **values} for name, values in THEIRS.items()},
        "ours": {name: (kind, str(path)) for name, (kind, _, path) in ours.items()},
        "logits": str(folder / "logits"),
    }
    (folder / "job").write_text(json.dumps(job))
    done = subprocess.run([sys.executable, "-c", MICM, str(folder / "job")], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder, safetensors.torch.load_file(folder / "logits")


def tokenise(backbone: str) -> dict[str, Any]:
    batch = load_tokenizer(backbone)(TEXTS, padding=True, truncation=True, max_length=8)
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


@pytest.mark.parametrize("name", [name for name in THEIRS if name != "bert"])
@pytest.mark.parametrize("spelling", ["XPE", "P_TUNING"])
def test_what_micm_nlp_saves_is_read_with_its_logits(
    micm: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path, name: str, spelling: str
) -> None:
    folder = shutil.copytree(micm[0] / name, tmp_path / "one")
    assert json.loads((folder / "adapter_config.json").read_text())["peft_type"] == "XPE"
    change_config(folder, peft_type=spelling)
    adapter = read_adapter(folder, NAMES)
    assert adapter.config.method == {0.0: "spt", 1.0: "xpe"}.get(THEIRS[name]["encoder_ratio"], "dual")
    unknown = {"learning_rate", "source_set", "dataset", "seed", "imported", "max_length", "precision"}
    assert not unknown & adapter.config.fields_set
    config = adapter.config.with_values(precision="float32", max_length=8)
    adapter = Adapter(config, NAMES, adapter.parameters)
    theirs = micm[1][f"theirs/{name}"]
    assert theirs.std(0).min() > 0.01, "texts must differ in their logits for the comparison to say anything"
    torch.testing.assert_close(classify(adapter), theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", OURS)
def test_what_is_written_is_loaded_by_micm_nlp_with_our_logits(
    micm: tuple[Path, dict[str, torch.Tensor]], ours: dict[str, tuple[str, Adapter, Path]], name: str
) -> None:
    expected = classify(ours[name][1])
    assert expected.std(0).min() > 0.01, "texts must differ in their logits for the comparison to say anything"
    torch.testing.assert_close(micm[1][f"ours/{name}"], expected, atol=1e-5, rtol=0)


def test_a_bert_adapter_that_micm_nlp_saves_without_the_pooler_is_refused(
    micm: tuple[Path, dict[str, torch.Tensor]],
) -> None:
    assert "pooler.dense.weight is missing; a head is whole where all of its modules (pooler, classifier)" in refusal(
        micm[0] / "bert"
    )


@pytest.mark.parametrize("name", OURS)
def test_what_is_written_is_read_as_it_was(ours: dict[str, tuple[str, Adapter, Path]], name: str) -> None:
    _, adapter, folder = ours[name]
    found = read_adapter(folder)
    assert found.fingerprint == adapter.fingerprint and found.label_names == NAMES and found.facts == {"best_step": 20}
    assert found.config == adapter.config


def test_any_ratio_is_written_as_one_that_gives_as_many_tokens_and_is_read_as_the_same() -> None:
    ratios = [place / 100 for place in range(1, 100)] + [1 / 3, 1 / 7, 0.28999999999, 0.999999999999]
    for tokens in range(2, 257):
        for ratio in ratios:
            config = PromptConfig(num_virtual_tokens=tokens, encoder_ratio=ratio)
            written = find_ratio(config)
            in_micm_nlp = max(1, min(tokens - 1, int(tokens * written)))
            assert in_micm_nlp == config.num_encoder_tokens
            asked = config.encoder_ratio
            assert written == asked or int(tokens * asked) != config.num_encoder_tokens
            assert PromptConfig(num_virtual_tokens=tokens, encoder_ratio=written).num_encoder_tokens == (
                config.num_encoder_tokens
            )


@pytest.fixture
def folder(ours: dict[str, tuple[str, Adapter, Path]], tmp_path: Path) -> Path:
    """Give a copy of a DUAL adapter without our file beside it."""
    target = shutil.copytree(ours["xlm-roberta-mlp-0.5"][2], tmp_path / "one")
    (target / "xpe_sweep.json").unlink()
    return target


def test_what_another_tool_does_not_say_stays_unknown_in_any_format_it_is_written_to(folder: Path) -> None:
    adapter = read_adapter(folder)
    write_adapter(adapter, folder.parent / "own.safetensors")
    write_micm(adapter, folder.parent / "micm")
    for source in ("own.safetensors", "micm"):
        found = read_adapter(folder.parent / source)
        assert found.known == adapter.known and found.fingerprint == adapter.fingerprint
    write_peft(adapter, folder.parent / "peft")
    known = {"backbone", "num_virtual_tokens", "encoder_ratio", "pooling"}
    assert read_adapter(folder.parent / "peft").known.keys() == known


def test_what_a_config_leaves_out_has_micm_nlps_defaults(folder: Path) -> None:
    path = folder / "adapter_config.json"
    left_out = {"encoder_reparameterization_type", "encoder_num_layers", "encoder_dropout", "token_dim"}
    values = json.loads(path.read_text())
    assert left_out <= values.keys()
    path.write_text(json.dumps({name: value for name, value in values.items() if name not in left_out}))
    prompt = read_adapter(folder).config.tuning
    assert isinstance(prompt, PromptConfig)
    assert (prompt.encoder_type, prompt.encoder_num_layers, prompt.encoder_dropout) == ("mlp", 2, 0.0)


def test_a_table_of_the_same_prompt_beside_it_changes_nothing(folder: Path) -> None:
    expected = read_adapter(folder).fingerprint
    change_tensors(folder, prompt_embeddings=torch.zeros(7, 32))
    assert read_adapter(folder).fingerprint == expected


def test_the_size_of_input_embeddings_is_written_of_an_xpe_alone(places: dict[str, str], tmp_path: Path) -> None:
    for ratio, expected in ((1.0, 32), (0.5, None)):
        adapter = make_adapter(places["xlm-roberta"], encoder_ratio=ratio, encoder_input_size=32)
        write_micm(adapter, tmp_path / str(ratio))
        settings = json.loads((tmp_path / str(ratio) / "adapter_config.json").read_text())
        assert settings["encoder_input_size"] == expected


def test_an_adapter_of_a_class_that_micm_nlp_has_no_head_for_is_not_written(places: dict[str, str]) -> None:
    def refuse(**values: Any) -> str:
        with pytest.raises(InputError) as caught:
            write_micm(make_adapter(**{"backbone": places["bert"], **values}), "/nowhere")
        return str(caught.value)

    assert "pooling=mean: micm-nlp's classifiers read the first position" in refuse(pooling="mean")
    assert "which must then be the backbone's, 32" in refuse(encoder_input_size=40, encoder_ratio=0.5)
    assert "is for a backbone of hidden size 64" in refuse(hidden_size=64)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"encoder_ratio": "x"}, "encoder_ratio='x': must be a number"),
        ({"encoder_ratio": None}, "encoder_ratio is empty"),
        ({"encoder_ratio": True}, "encoder_ratio=True: must be a number"),
        ({"encoder_ratio": 1.5}, "encoder_ratio=1.5: input should be less than or equal to 1"),
        ({"encoder_ratio": float("nan")}, "encoder_ratio=nan: input should be"),
        ({"encoder_ratio": 0.0}, "is none of a prompt"),
        ({"encoder_ratio": 1.0}, "xpe_embedding.weight has the shape|prompt_encoder.embedding.weight' is none"),
        ({"encoder_ratio": 0.8}, "has the shape [3, 32]; its configuration wants [4, 32]"),
        ({"encoder_reparameterization_type": "GRU"}, "encoder_reparameterization_type='GRU': input should be 'MLP'"),
        ({"encoder_reparameterization_type": ["MLP"]}, "encoder_reparameterization_type=['MLP']: input should be"),
        ({"encoder_reparameterization_type": "LSTM"}, "the tensor prompt_encoder.xpe_head.lstm."),
        ({"encoder_num_layers": [2]}, "encoder_num_layers=[2]: must be a whole number"),
        ({"encoder_num_layers": 99}, "encoder_num_layers=99: input should be less than or equal to 16"),
        ({"encoder_num_layers": 3}, "the tensor prompt_encoder.xpe_head.9.weight is missing"),
        ({"encoder_num_layers": 1}, "'prompt_encoder.xpe_head.6.bias' is none of a prompt"),
        ({"encoder_hidden_size": 9}, "its configuration wants [9]"),
        ({"encoder_hidden_size": 10**30}, "input should be less than or equal to 65536"),
        ({"encoder_dropout": 1.0}, "encoder_dropout=1.0: input should be less than 1"),
        ({"encoder_input_size": 31}, "has the shape [3, 32]; its configuration wants [3, 31]"),
        ({"num_virtual_tokens": None}, "num_virtual_tokens is empty"),
        ({"num_virtual_tokens": 300}, "num_virtual_tokens=300: input should be less than or equal to 256"),
        ({"num_virtual_tokens": 1}, "num_virtual_tokens=1 with encoder_ratio=0.5 leaves no token"),
        ({"token_dim": 64}, "token_dim=64: its head is of size 32"),
        ({"task_type": "CAUSAL_LM"}, "task_type='CAUSAL_LM': input should be 'SEQ_CLS'"),
    ],
)
def test_a_config_that_is_none_of_micm_nlps_or_not_of_the_tensors_is_refused(
    folder: Path, values: dict[str, Any], said: str
) -> None:
    change_config(folder, **values)
    text = refusal(folder)
    assert any(part in text for part in said.split("|")), text


def test_damaged_tensors_of_micm_nlps_are_refused(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    whole = path.read_bytes()

    def refuse(**values: torch.Tensor | None) -> str:
        path.write_bytes(whole)
        change_tensors(folder, **values)
        return refusal(folder)

    encoder = "prompt_encoder.xpe_head"
    assert f"the tensor {encoder}.0.weight is missing" in refuse(**{f"{encoder}.0.weight": None})
    assert "the shape [3, 3]" in refuse(**{f"{encoder}.0.weight": torch.zeros(3, 3)})
    assert "not finite" in refuse(**{f"{encoder}.0.bias": torch.full((8,), torch.inf)})
    assert "it has no classification head" in refuse(
        **{"base_model.classifier.out_proj.weight": None, "base_model.classifier.dense.weight": None}
    )
    path.write_bytes(whole[:-50])
    assert "cannot be read as safetensors" in refusal(folder)
    torch.save({"x": torch.zeros(2)}, path)
    assert "pickles are never opened" in refusal(folder)
