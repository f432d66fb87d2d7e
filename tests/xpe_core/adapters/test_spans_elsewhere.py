"""Adapters that answer questions, in other tools: by the lines of their READMEs these give our answers."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForQuestionAnswering

from tests.making.pairs import make_encoder
from tests.xpe_core.adapters.test_peft_folder import LOADER
from xpe_core.adapters import Adapter, read_adapter, take_adapter, write_micm, write_peft, write_transformers
from xpe_core.answerer import load_answerer
from xpe_core.backbones.backbone import load_backbone
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.pack import Pack

PASSAGE = "a b c d e f g h a c e g b d f h a a b b c c d d e e f f g g h h"
QUESTIONS = [("a b", PASSAGE), ("g", "b c d"), ("c c c", "a b c d e f g h " * 2), ("h", "f")]
"""The first and the third take several windows of 14 tokens."""
OWN: dict[str, dict[str, Any]] = {
    "prompt": {"num_virtual_tokens": 5, "encoder_ratio": 0.5, "encoder_hidden_size": 8},
    "prefix": {"num_virtual_tokens": 5, "prefix_init": "normal"},
    "lora": {"rank": 2, "target_modules": "query,value"},
    "ia3": {},
    "full": {},
}
CASES = [("bert", tuning) for tuning in OWN] + [("xlm-roberta", tuning) for tuning in OWN]
CASES += [("deberta-v2", tuning) for tuning in ("prompt", "lora", "full")]
WHOLE = {("xlm-roberta", "lora"), ("xlm-roberta", "ia3"), ("deberta-v2", "lora")} | {
    (kind, "full") for kind, _ in CASES
}
"""Where the head is part of what is loaded: peft passes no types of tokens on, and these encoders have none."""
OF_QUESTIONS = LOADER.replace(
    "    values = {}\n",
    "    for name, texts in json.loads(sys.argv[2]).items():\n"
    "        code = re.sub(f'^{name} = .*', f'{name} = {texts}', code, flags=re.M)\n    values = {}\n",
)
OF_QUESTIONS = OF_QUESTIONS.replace('values["logits"]', 'values["answers"]')
OF_QUESTIONS = re.sub(r"\n    classes = .*\n    assert .*", "", OF_QUESTIONS)
OF_QUESTIONS = re.sub(
    r"import safetensors.torch\n.*", "pathlib.Path(sys.argv[3]).write_text(json.dumps(logits))", OF_QUESTIONS
)
Case = tuple[str, str]


def make_adapter(backbone: str, tuning: str) -> Adapter:
    """Return an adapter whose numbers are large enough to show in the answers."""
    values: dict[str, Any] = {
        "backbone": backbone,
        "task": "qa",
        "readout": "span",
        "tuning": tuning,
        "dataset": "some",
    }
    values |= {"max_length": 14, "doc_stride": 3, "max_answer_length": 6, "precision": "float32"}
    config = RunConfig(**values, source_set="eng_Latn", **OWN[tuning])
    pack = Pack(load_backbone(backbone), [config], 0)
    draw = torch.Generator().manual_seed(11)
    for name, value in pack.parameters.items():
        scale = 1.0 if name == "span.out.weight" else 0.05 if tuning == "full" else 0.4
        value.add_(torch.randn(value.shape, generator=draw) * scale)
    return take_adapter(pack, 0, ())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[Case, tuple[Adapter, Path, str]]:
    folder, made = tmp_path_factory.mktemp("spans"), {}
    backbones = {
        kind: make_encoder(kind, tmp_path_factory.mktemp(kind), with_types=kind != "xlm-roberta")
        for kind in dict.fromkeys(kind for kind, _ in CASES)
    }
    for case in CASES:
        kind, tuning = case
        adapter, target = make_adapter(backbones[kind], tuning), folder / "-".join(case)
        write = write_transformers if tuning == "full" else write_peft
        made[case] = (adapter, target, write(adapter, target))
    return made


@pytest.fixture(scope="module")
def from_elsewhere(
    exported: dict[Case, tuple[Adapter, Path, str]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[str]]:
    """Run every folder's README in one process without this project; give the answers by folder."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    root = next(iter(exported.values()))[1].parent
    texts = json.dumps(dict(zip(("questions", "passages"), map(list, zip(*QUESTIONS, strict=True)), strict=True)))
    command = [sys.executable, "-I", "-c", OF_QUESTIONS, str(root), texts, str(elsewhere / "answers")]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads((elsewhere / "answers").read_text())
    return found


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_the_lines_of_a_readme_give_our_answers(
    exported: dict[Case, tuple[Adapter, Path, str]], from_elsewhere: dict[str, list[str]], case: Case
) -> None:
    ours = [answer.text for answer in load_answerer(exported[case][0]).answer(QUESTIONS)]
    assert from_elsewhere["-".join(case)] == ours
    assert len(set(ours)) > 2


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_what_is_written_is_read_as_what_it_was(exported: dict[Case, tuple[Adapter, Path, str]], case: Case) -> None:
    adapter, folder, said = exported[case]
    read = read_adapter(folder)
    assert (read.config.task, read.config.readout.readout, read.label_names) == ("qa", "span", ())
    assert torch.equal(read.parameters["span.out.weight"], adapter.parameters["span.out.weight"])
    for found, expected in zip(*(load_answerer(one).answer(QUESTIONS) for one in (read, adapter)), strict=True):
        assert found[:2] == expected[:2] and found.score == pytest.approx(expected.score, abs=1e-5)
    assert ("into AutoModelForQuestionAnswering" in said) == (case in WHOLE)
    assert (folder / "head.safetensors").is_file() == (case not in WHOLE)


def test_transformers_logits_of_a_fully_fine_tuned_run_are_those_of_the_adapter(
    exported: dict[Case, tuple[Adapter, Path, str]], tmp_path: Path
) -> None:
    """A model that transformers saves again is another tool's: it is read without what we wrote beside it."""
    for kind in ("bert", "xlm-roberta", "deberta-v2"):
        adapter, folder, _ = exported[kind, "full"]
        model = AutoModelForQuestionAnswering.from_pretrained(folder)
        theirs = Path(make_encoder(kind, tmp_path / kind, with_types=kind != "xlm-roberta"))
        model.save_pretrained(theirs)
        read = read_adapter(theirs)
        fields = {name: adapter.config.values[name] for name in ("max_length", "doc_stride", "max_answer_length")}
        config = read.config.with_values(**fields, precision="float32")
        answers = load_answerer(Adapter(config, (), read.parameters)).answer(QUESTIONS)
        assert answers == load_answerer(adapter).answer(QUESTIONS)


def test_an_adapter_that_peft_has_trained_for_question_answering_is_read(tmp_path: Path) -> None:
    backbone = make_encoder("xlm-roberta", tmp_path / "encoder", with_types=False)
    model = AutoModelForQuestionAnswering.from_pretrained(backbone)
    settings = LoraConfig(
        task_type="QUESTION_ANS", r=2, lora_alpha=4, target_modules=["query"], init_lora_weights=False
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        trained: PeftModel = get_peft_model(model, settings)
        trained.base_model.model.qa_outputs.modules_to_save["default"].weight.data.normal_()
    trained.save_pretrained(tmp_path / "theirs")
    read = read_adapter(tmp_path / "theirs")
    assert (read.config.task, read.config.readout.readout) == ("qa", "span")
    write_peft(read, tmp_path / "ours")
    again = PeftModel.from_pretrained(AutoModelForQuestionAnswering.from_pretrained(backbone), tmp_path / "ours").eval()
    batch = {"input_ids": torch.tensor([[0, 4, 2, 2, 5, 6, 7, 2]])}
    with torch.inference_mode():
        expected, found = trained.eval()(**batch), again(**batch)
    torch.testing.assert_close(found.start_logits, expected.start_logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.end_logits, expected.end_logits, atol=1e-5, rtol=0)


def test_what_has_no_spans_is_said(exported: dict[Case, tuple[Adapter, Path, str]], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="^micm-nlp's format takes classes, and the answers of readout=span are none$"):
        write_micm(exported["bert", "prompt"][0], tmp_path / "micm")
