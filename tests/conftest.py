"""A tiny real backbone, a tiny real data set, and one local Ray for all tests."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sweep.storage import Folder

# before transformers and huggingface_hub are imported: no test may need the network
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# before torch is: on tiny tensors a second thread gains nothing, and on a busy machine the two wait for one another
os.environ["OMP_NUM_THREADS"] = "1"

LABELS = ("sports", "travel", "health")
LANGUAGES = ("deu_Latn", "eng_Latn", "kat_Geor", "yor_Latn")
SIZES = {"train": 48, "dev": 12, "test": 18}
ONE_THREAD = {"max_concurrent_trials": 1, "cpus_per_trial": 1}
"""One trial at a time, with a single thread, however many cores there are."""


LONGEST = ("test_end_to_end.py", "test_two_experiments.py", "test_machines.py", "test_object_storage.py")
"""Files that take minutes: they begin first, so that no process is left with one of them alone at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, and leave the others in their order."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the tests a cache of their own, one for all processes: the real encoder is written once."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "cache"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XPE_CACHE_DIR", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Leave torch with one thread, whatever a test asked for: two on tiny tensors cost many times one's CPU time."""
    yield
    if (torch := sys.modules.get("torch")) is not None and torch.get_num_threads() > 1:
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write a folder in SIB-200's layout: four languages, three labels, each with words of its own."""
    return write_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write a folder with an XLM-R of two layers and random weights, and a word tokenizer."""
    return make_backbone(tmp_path_factory.mktemp("xlm-roberta-tiny"))


def make_backbone(folder: Path, hidden_size: int = 32) -> str:
    """Write a tiny XLM-R and return its folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    for word in sorted({word for words in make_words().values() for word in words}):
        vocabulary[word] = len(vocabulary)
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = XLMRobertaConfig(
            vocab_size=len(vocabulary),
            hidden_size=hidden_size,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=2 * hidden_size,
            max_position_embeddings=96,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
            type_vocab_size=1,
            initializer_range=0.2 * (32 / hidden_size) ** 0.5,
        )
        XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def bert(tmp_path: Path) -> str:
    """Write a folder with a tiny BERT, whose tokenizer knows single letters."""
    import torch

    from tests.making.encoders import build_bert, save_encoder

    torch.manual_seed(0)
    return save_encoder(tmp_path / "bert", build_bert())


@pytest.fixture
def base(dataset: str, backbone: str) -> dict[str, Any]:
    """Give the settings of a small DUAL run."""
    return {
        "backbone": backbone,
        "dataset": dataset,
        "source_set": "eng_Latn,deu_Latn",
        "num_virtual_tokens": 6,
        "encoder_ratio": 0.5,
        "encoder_hidden_size": 16,
        "batch_size": 8,
        "max_steps": 30,
        "eval_steps": 10,
        "max_length": 16,
        "learning_rate": 2e-3,
        "encoder_prompt_learning_rate": 2e-3,
        "optimizer": "adamw",
        "precision": "float32",
        "pooling": "mean",
    }


@pytest.fixture(scope="session")
def preloaded() -> Iterator[str]:
    """Start the process that Ray's workers can be copies of, and return the job configuration that says so."""
    from tests.making.preloaded_workers import preloaded_workers

    with tempfile.TemporaryDirectory(prefix="xw", dir="/tmp") as folder, preloaded_workers(folder) as runtime_env:
        yield json.dumps({"runtime_env": runtime_env})


@pytest.fixture
def preloaded_commands(preloaded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the workers of the commands that a test starts be preloaded; without it they start as a user's do."""
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", preloaded)


@pytest.fixture(scope="session")
def local_ray(preloaded: str) -> Iterator[None]:
    """Start a Ray of two CPUs with preloaded workers, in a folder of its own.

    The folder's path is short: Unix sockets allow no long ones.
    """
    import ray

    from sweep.cluster.start import start_ray

    folder = tempfile.mkdtemp(prefix="xr", dir="/tmp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", "local")
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", preloaded)
        with start_ray(num_cpus=2):
            patch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR")
            yield
    assert not ray.is_initialized()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server that speaks S3, in a process of its own on this machine, and return its address."""
    log = tmp_path_factory.mktemp("s3") / "log"
    with log.open("wb") as file:
        arguments = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=file)
    try:
        deadline = time.monotonic() + 120
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield found[0]
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make an empty bucket, let the environment lead to it, and return its URI."""
    return make_bucket(s3_server, monkeypatch)


def make_bucket(server: str, patch: pytest.MonkeyPatch) -> str:
    """Make an empty bucket, let the environment lead to it, and return its URI."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        patch.delenv(name)
    patch.setenv("AWS_ENDPOINT_URL", server)
    patch.setenv("AWS_ACCESS_KEY_ID", "anyone")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "never-to-be-seen")
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    name = f"bucket-{uuid.uuid4().hex}"
    with urllib.request.urlopen(urllib.request.Request(f"{server}/{name}", method="PUT")):
        return f"s3://{name}"


Run = Callable[..., str]


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Give a function that runs a command in this process, on its Ray, and returns what it prints."""
    from sweep.run import main

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        output, errors = capsys.readouterr()
        assert (end.value.code, errors) == (0, ""), output + errors
        return output

    return run


RunWithNotes = Callable[..., tuple[str, str]]


@pytest.fixture
def run_with_notes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunWithNotes:
    """Give a function that runs a command in this process, and returns what it prints and what it says beside that."""
    from sweep.run import main

    def run(*arguments: str) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        output, notes = capsys.readouterr()
        assert end.value.code == 0, output + notes
        return output, notes

    return run


Refuse = Callable[..., str]


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Give a function that runs a command which must fail, and returns its one sentence."""
    from sweep.run import main

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        output, errors = capsys.readouterr()
        assert end.value.code == 2, output + errors
        assert errors.startswith("error: ") and errors.count("\n") == 1, errors
        return errors

    return run


@pytest.fixture
def values(dataset: str, backbone: str) -> dict[str, Any]:
    """Give a search of eight small trials, some of which learn nothing and are pruned."""
    return make_search(dataset, backbone)


def make_search(dataset: str, backbone: str) -> dict[str, Any]:
    """Return a search of eight small trials."""
    return {
        "kind": "search",
        "base": {
            "backbone": backbone,
            "dataset": dataset,
            "source_set": "eng_Latn,deu_Latn",
            "num_virtual_tokens": 4,
            "encoder_hidden_size": 8,
            "batch_size": 8,
            "max_steps": 60,
            "eval_steps": 20,
            "max_length": 16,
            "optimizer": "adamw",
            "encoder_prompt_learning_rate": 5e-3,
            "pooling": "mean",
            "precision": "float32",
        },
        "space": {
            "encoder_ratio": {"uniform": [0.1, 0.9], "step": 0.1},
            "learning_rate": {"choice": [1e-7, 5e-3]},
        },
        "num_samples": 8,
        "seeds": [1, 2],
        "scheduler": {"grace_period": 20, "reduction_factor": 3},
        "evaluation": {"languages": ["kat_Geor", "yor_Latn", "eng_Latn"], "max_examples": 10},
        "resources": ONE_THREAD,
    }


@pytest.fixture
def one_at_a_time(dataset: str, backbone: str) -> dict[str, Any]:
    """Give the search of `undisturbed`, whose numbers depend on nothing that happens to its driver or its workers."""
    return make_search_in_order(dataset, backbone)


def make_search_in_order(dataset: str, backbone: str) -> dict[str, Any]:
    """Return a search of five small trials, one after the other; the last one is pruned."""
    resources = {**ONE_THREAD, "checkpoint_seconds": 0}
    return {**make_search(dataset, backbone), "num_samples": 5, "resources": resources}


@pytest.fixture(scope="session")
def undisturbed(
    dataset: str, backbone: str, cache_folder: Path, local_ray: None, tmp_path_factory: pytest.TempPathFactory
) -> "Folder":
    """Run the search of `one_at_a_time` as a whole, for all tests: look at its folder, and change a copy of it only."""
    from sweep.driver.tuner import run_experiment
    from sweep.experiment.config import make_sweep
    from sweep.planning.plan import prepare

    plan = prepare("mine", make_sweep(**make_search_in_order(dataset, backbone)))
    return run_experiment(plan, tmp_path_factory.mktemp("undisturbed"))


def copy_experiment(folder: "Folder", storage: Path) -> None:
    """Copy an experiment's folder into a storage."""
    shutil.copytree(str(folder), storage / folder.name)


def make_words() -> dict[tuple[str, str], list[str]]:
    """Return six words for each language and label."""
    return {
        (language, label): [f"{label[:2]}{language[:3]}{number}" for number in range(6)]
        for language in LANGUAGES
        for label in LABELS
    }


def write_dataset(folder: Path) -> str:
    """Write the tiny data set and return its folder."""
    words = make_words()
    for language in LANGUAGES:
        draw = random.Random(language)
        (folder / language).mkdir()
        (folder / language / "labels.txt").write_text("\n".join(LABELS) + "\n", encoding="utf-8")
        for split, size in SIZES.items():
            rows = ["index_id\tcategory\ttext"]
            for number in range(size):
                label = LABELS[number % len(LABELS)]
                text = " ".join(draw.choices(words[language, label], k=draw.randint(2, 9)))
                rows.append(f"{split}{number}\t{label}\t{text}")
            (folder / language / f"{split}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return str(folder)
