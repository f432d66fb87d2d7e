"""Adapters in peft's format: loaded by peft itself in a process without this project, and read back, and refused."""

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from tests import conftest
from tests.making.encoders import ENCODERS, save_encoder
from tests.making.runs import compute_outputs, make_run
from xpe_core.adapters import Adapter, build_classifier, read_adapter, write_peft
from xpe_core.adapters.peft_readme import write_readme
from xpe_core.backbones.backbone import load_backbone, load_tokenizer
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.readouts.head.in_transformers import CLASSIFICATION
from xpe_core.tunings.prompt.in_peft import write_prompt

NAMES = ("sports", "science/technology", 'said "so"')
TEXTS = ["a b c", "d", "e f g h a b c d e f", "h h"]
RATIOS = {"spt": 0.0, "dual": 0.5, "xpe": 1.0}
CASES = [(kind, method, "first") for kind in ("xlm-roberta", "bert") for method in RATIOS]
CASES += [("bert", "dual", "mean"), ("xlm-roberta", "spt", "mean"), ("mdeberta-v3", "dual", "first")]
STOCK = [case for case in CASES if case[0] != "mdeberta-v3" and case[2] == "first"]
Case = tuple[str, str, str]
Exported = dict[Case, tuple[Adapter, Path, str]]
LOADER = """
import json, pathlib, re, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("xpe_core", "sweep", "tests"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
try:
    import xpe_core
except ImportError:
    pass
else:
    raise SystemExit("the project can be imported")
import warnings
import torch
warnings.filterwarnings("error", message="Found missing adapter keys")
logits = {}
for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    code = re.search(r"```python\\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.S)[1]
    code = code.replace('folder = "."', f"folder = {str(folder)!r}")
    code = re.sub(r"texts = .*", f"texts = {sys.argv[2]}", code)
    values = {}
    exec(code, values)
    logits[folder.name] = values["logits"]
    classes = getattr(values["model"].config, "id2label", None)
    assert "head" in values or list(classes.values()) == values["names"], classes
assert not any(name.split(".")[0] in ("xpe_core", "sweep") for name in sys.modules)
import safetensors.torch
safetensors.torch.save_file(logits, sys.argv[3])
"""


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {kind: make_backbone(kind, tmp_path_factory.mktemp(kind)) for kind in ("xlm-roberta", "bert", "mdeberta-v3")}


def make_backbone(kind: str, folder: Path) -> str:
    """Write a tiny encoder in whose first state the whole text shows, as it does after training."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = ENCODERS[kind]()
        for weight in model.parameters():
            if weight.ndim == 2:
                weight *= 10
        return save_encoder(folder, model)


def make_adapter(backbone: str, hidden_size: int = 32, **values: Any) -> Adapter:
    """Return an adapter whose numbers, biases too, are large enough to show in the logits."""
    settings: dict[str, Any] = {
        "backbone": backbone,
        "dataset": "cldr",
        "source_set": "eng_Latn",
        "num_virtual_tokens": 6,
    }
    settings |= {"encoder_hidden_size": 8, "max_length": 8, "precision": "float32"}
    config = RunConfig(**{**settings, **values}).with_seed(3)
    draw = torch.Generator().manual_seed(7)
    shapes = make_run(config, hidden_size, len(NAMES)).state_dict()
    parameters = {name: torch.randn(value.shape, generator=draw) * 0.4 for name, value in shapes.items()}
    return Adapter(config, NAMES, parameters, None, {"best_step": 20})


def classify(adapter: Adapter, texts: list[str] = TEXTS) -> torch.Tensor:
    """Return our logits of texts in one padded batch."""
    name = adapter.config.backbone
    tokenizer = load_tokenizer(name)
    encoded = tokenizer(texts, truncation=True, max_length=adapter.config.data.max_length)["input_ids"]
    lengths = np.array([len(tokens) for tokens in encoded])
    token_ids = torch.full((len(texts), int(lengths.max())), tokenizer.pad_token_id)
    for row, tokens in zip(token_ids, encoded, strict=True):
        row[: len(tokens)] = torch.tensor(tokens)
    model = build_classifier(load_backbone(name), [adapter])
    with torch.inference_mode():
        return compute_outputs(model, token_ids[None], lengths)[0]


@pytest.fixture(scope="module")
def exported(backbones: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Write every case; give its adapter, its folder and what `write_peft` said."""
    folder = tmp_path_factory.mktemp("peft")
    made = {}
    for case in CASES:
        kind, method, pooling = case
        encoder = {"dual": "lstm"}.get(method, "mlp")
        adapter = make_adapter(backbones[kind], encoder_ratio=RATIOS[method], pooling=pooling, encoder_type=encoder)
        target = folder / "-".join(case)
        made[case] = (adapter, target, write_peft(adapter, target))
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


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_peft_gives_our_logits_by_the_lines_of_the_readme(
    exported: Exported,
    from_peft: dict[str, torch.Tensor],
    case: Case,
) -> None:
    ours = classify(exported[case][0])
    assert ours.std(0).min() > 0.01, "texts must differ in their logits for the comparison to say anything"
    torch.testing.assert_close(from_peft["-".join(case)], ours, atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_what_was_written_is_read_as_the_same_table_head_and_classes(exported: Exported, case: Case) -> None:
    adapter, folder, _ = exported[case]
    found = read_adapter(folder)
    assert found.label_names == NAMES and found.config.method == "spt" and found.config.values["pooling"] == case[2]
    assert torch.equal(found.parameters["prompt.embedding.weight"], adapter.virtual_tokens())
    assert all(
        torch.equal(found.parameters[name], adapter.parameters[name]) for name in found.parameters if "head" in name
    )
    assert found.config.data.source_set == "eng_Latn" and found.config.seed == 3 and found.facts["best_step"] == 20
    if case[1] == "spt":
        assert found.config == adapter.config and found.fingerprint == adapter.fingerprint
    else:
        assert found.facts["exported_from"] == adapter.fingerprint
        assert "encoder_type" not in found.config.fields_set


def test_it_is_said_whether_the_head_is_in_what_peft_loads(exported: Exported) -> None:
    for case, (_, folder, said) in exported.items():
        readme = (folder / "README.md").read_text(encoding="utf-8")
        assert (folder / "head.safetensors").is_file() == (case not in STOCK)
        assert said.startswith(
            "peft loads the prompt and head" if case in STOCK else "peft loads the prompt, into AutoModel;"
        )
        assert ("The head is not part of what peft loads" in readme) == (case not in STOCK)
        for name in NAMES:
            assert name in readme


def test_the_bundled_backbones_readme_says_how_to_write_its_folder() -> None:
    adapter = make_adapter("e5-small", pooling="mean")
    readme = write_readme(adapter, write_prompt(adapter.build_tuning()), "bert", CLASSIFICATION, "it reads the mean")
    assert "python write_e5_small.py e5-small" in readme and 'base = "e5-small"' in readme
    assert "xpe-sweep[" not in readme and "sweep/run.py" not in readme and "xpe_core" not in readme


@pytest.fixture
def folder(exported: Exported, tmp_path: Path) -> Path:
    """Give a copy of an XLM-R adapter as another tool would have saved it: without our file beside it."""
    target = tmp_path / "adapter"
    shutil.copytree(exported["xlm-roberta", "dual", "first"][1], target)
    (target / "xpe_sweep.json").unlink()
    return target


def test_an_adapter_that_another_tool_saved_has_unknown_classes_until_they_are_given(folder: Path) -> None:
    found = read_adapter(folder)
    assert found.label_names == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert found.config.fields_set == {"backbone", "num_virtual_tokens", "encoder_ratio", "pooling"}
    assert read_adapter(folder, ["x", "y", "z"]).label_names == ("x", "y", "z")
    assert "its head has 3 classes; label_names names 2" in refusal(folder, ["x", "y"])


def test_an_adapter_of_another_tool_with_one_output_is_none_of_classes(folder: Path) -> None:
    head = "base_model.classifier.out_proj"
    change_tensors(folder, **{f"{head}.weight": torch.zeros(1, 32), f"{head}.bias": torch.zeros(1)})
    assert "its model has a single output; allowed is one class out of several" in refusal(folder)


def test_known_classes_are_not_renamed(exported: Exported) -> None:
    folder = exported["bert", "xpe", "first"][1]
    assert read_adapter(folder, NAMES).label_names == NAMES
    assert "label_names cannot make them x, y, z" in refusal(folder, ["x", "y", "z"])


def test_pefts_own_p_tuning_is_read_as_the_table_that_it_saves(folder: Path) -> None:
    table = read_adapter(folder).virtual_tokens()
    change_config(folder, peft_type="P_TUNING", encoder_hidden_size=8)
    assert torch.equal(read_adapter(folder).virtual_tokens(), table)


def test_another_backbone_is_refused(folder: Path, backbones: dict[str, str]) -> None:
    with pytest.raises(InputError, match="hidden size 32 .* has 64"):
        build_classifier(load_backbone(conftest.make_backbone(folder.parent / "wide", 64)), [read_adapter(folder)])
    adapter = make_adapter(backbones["xlm-roberta"], 64)
    with pytest.raises(InputError, match="is for a backbone of hidden size 64; .* has 32"):
        write_peft(adapter, folder)


def refusal(folder: Path, label_names: list[str] | None = None) -> str:
    with pytest.raises(InputError) as caught:
        read_adapter(folder, label_names)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    return str(caught.value).replace(str(folder), "HERE")


def change_config(folder: Path, **values: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def change_tensors(folder: Path, **values: torch.Tensor | None) -> None:
    path = folder / "adapter_model.safetensors"
    tensors = {**safetensors.torch.load(path.read_bytes()), **values}
    safetensors.torch.save_file({name: value for name, value in tensors.items() if value is not None}, path)
    sidecar = folder / "xpe_sweep.json"
    if sidecar.exists():  # so that the folder is not merely damaged
        sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "files": {}}))


def test_a_file_that_is_not_what_was_written_is_refused(exported: Exported, tmp_path: Path) -> None:
    for case, name in (
        (("bert", "spt", "first"), "adapter_model.safetensors"),
        (("bert", "dual", "mean"), "head.safetensors"),
    ):
        folder = shutil.copytree(exported[case][1], tmp_path / name)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert f"{name} is damaged, or was changed" in refusal(folder)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"peft_type": "LOHA"},
            "peft_type 'LOHA': allowed are PROMPT_TUNING, P_TUNING, LORA, PREFIX_TUNING, IA3 and XPE",
        ),
        ({"peft_type": "LORA"}, "r is missing; lora_alpha is missing"),
        ({"peft_type": ["a\nb"]}, "allowed are PROMPT_TUNING"),
        ({"peft_type": None}, "peft_type None: allowed are"),
        ({"task_type": "CAUSAL_LM"}, "task_type 'CAUSAL_LM': allowed is SEQ_CLS"),
        ({"task_type": "FEATURE_EXTRACTION"}, "task_type 'FEATURE_EXTRACTION': allowed is SEQ_CLS"),
        ({"num_virtual_tokens": None}, "num_virtual_tokens is empty"),
        ({"num_virtual_tokens": [6]}, "num_virtual_tokens=[6]: must be a whole number"),
        ({"num_virtual_tokens": "6"}, "num_virtual_tokens='6': must be a whole number"),
        ({"num_virtual_tokens": True}, "num_virtual_tokens=True: must be a whole number"),
        ({"num_virtual_tokens": 7}, "have the shape [6, 32]; adapter_config.json wants [7, 32]"),
        ({"num_virtual_tokens": 10**30}, "less than or equal to 65536"),
        ({"token_dim": 16}, "have the shape [6, 32]; adapter_config.json wants [6, 16]"),
        ({"num_transformer_submodules": 2}, "num_transformer_submodules=2: must be 1"),
        ({"base_model_name_or_path": 3}, "base_model_name_or_path=3: input should be a valid string"),
    ],
)
def test_a_config_that_is_no_prompts_is_refused(folder: Path, values: dict[str, Any], said: str) -> None:
    change_config(folder, **values)
    assert said in refusal(folder)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "[" * 100_000, "\x00"])
def test_a_broken_config_is_refused(folder: Path, text: str) -> None:
    (folder / "adapter_config.json").write_text(text)
    assert "adapter_config.json is no JSON object" in refusal(folder)
    (folder / "adapter_config.json").write_bytes(b"\xff\xfe{}")
    assert "adapter_config.json is no JSON object" in refusal(folder)


def test_tensors_that_are_not_those_of_a_prompt_with_a_head_are_refused(folder: Path) -> None:
    whole = (folder / "adapter_model.safetensors").read_bytes()

    def refuse(**values: torch.Tensor | None) -> str:
        (folder / "adapter_model.safetensors").write_bytes(whole)
        change_tensors(folder, **values)
        return refusal(folder)

    head = "base_model.classifier"
    assert "the tensor prompt_embeddings is missing" in refuse(prompt_embeddings=None)
    assert "have the shape [32]" in refuse(prompt_embeddings=torch.zeros(32))
    assert "holds numbers that are not finite" in refuse(prompt_embeddings=torch.full((6, 32), torch.nan))
    assert "it has no classification head" in refuse(**{f"{head}.out_proj.weight": None, f"{head}.dense.weight": None})
    assert f"the tensor {head}.out_proj.bias is missing" in refuse(**{f"{head}.out_proj.bias": None})
    assert "head.out.weight has the shape [3, 31]" in refuse(**{f"{head}.out_proj.weight": torch.zeros(3, 31)})
    assert "has the shape []" in refuse(**{f"{head}.out_proj.bias": torch.tensor(1.0)})
    assert "no matrix head.dense.weight" in refuse(**{f"{head}.dense.weight": torch.tensor(1.0)})
    assert "'base_model.roberta.x' is none of a prompt" in refuse(**{"base_model.roberta.x": torch.zeros(2)})


def test_a_file_that_is_no_safetensors_is_refused(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    whole = path.read_bytes()
    for content in (whole[:-100], whole[:5], b"", b"\xff" * 100):
        path.write_bytes(content)
        assert "cannot be read as safetensors" in refusal(folder)
    path.unlink()
    assert "there is adapter_config.json, but no adapter_model.safetensors" in refusal(folder)


class Payload:
    """What a pickle would do to whoever opens it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return open, (str(self.path), "w")


def test_nothing_in_a_pickle_is_executed(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    trace = folder / "trace"
    pickle.loads(pickle.dumps(Payload(trace))).close()
    assert trace.exists(), "the payload must work for this test to say anything"
    trace.unlink()
    path.write_bytes(pickle.dumps({"prompt_embeddings": Payload(trace)}))
    assert "pickles are never opened" in refusal(folder)
    torch.save({"prompt_embeddings": Payload(trace)}, path)
    assert "pickles are never opened" in refusal(folder)
    path.rename(folder / "adapter_model.bin")
    assert "it holds only a pickle (adapter_model.bin), which is never opened" in refusal(folder)
    with pytest.raises(InputError, match="a pickle is never opened"):
        read_adapter(folder / "adapter_model.bin")
    assert not trace.exists()


def test_a_bert_adapter_without_its_pooler_is_refused(exported: Exported, tmp_path: Path) -> None:
    folder = shutil.copytree(exported["bert", "spt", "first"][1], tmp_path / "bert")
    pooler = {f"base_model.bert.pooler.dense.{part}": None for part in ("weight", "bias")}
    change_tensors(folder, **pooler)
    assert "pooler.dense.weight is missing; a head is whole where all of its modules (pooler, classifier)" in refusal(
        folder
    )


def test_an_adapter_of_a_class_with_another_head_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "electra").mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / "electra" / name).write_text(json.dumps({"model_type": "electra"}))
    change_config(folder, base_model_name_or_path=str(tmp_path / "electra"))
    assert "is of the type 'electra', whose class has another head" in refusal(folder)


def test_a_sidecar_that_is_broken_or_of_another_head_is_refused(exported: Exported, tmp_path: Path) -> None:
    folder = shutil.copytree(exported["xlm-roberta", "spt", "first"][1], tmp_path / "one")
    path = folder / "xpe_sweep.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**values, "label_names": ["x", "y"]}))
    assert "its head has 3 classes; xpe_sweep.json names 2" in refusal(folder)
    path.write_text(json.dumps({**values, "config": {"encoder_ratio": "x"}}))
    assert "encoder_ratio='x'" in refusal(folder)
    path.write_text("[")
    assert "no JSON object" in refusal(folder)
