"""Adapters that are read from the hub, and from its cache where the hub is out of reach."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.making.adapters import LABELS, make_adapter
from tests.making.hub import Hub, Repository, serve_hub
from tests.sweep.publish.test_publish import name_settings
from xpe_core.adapters import Adapter, read_adapter, write_adapter
from xpe_core.adapters.hub import Source, parse_source
from xpe_core.adapters.peft_folder import write_peft
from xpe_core.config import RunConfig
from xpe_core.errors import InputError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def adapter(backbone: str, dataset: str) -> Adapter:
    return make_adapter(RunConfig(**name_settings(backbone, dataset), encoder_ratio=0.5))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serve_hub(monkeypatch, str(tmp_path / "cache")) as hub:
        yield hub


@pytest.fixture
def repository(hub: Hub, adapter: Adapter, tmp_path: Path) -> Repository:
    """Put an adapter on the hub, among files that an adapter does not need."""
    write_peft(adapter, tmp_path / "adapter")
    files = {file.name: file.read_bytes() for file in (tmp_path / "adapter").iterdir()}
    others = ("adapter_model.bin", "run.py", "model.safetensors", "sub/more.safetensors", "README.md")
    repository = hub.repositories["org/tiny"] = Repository(False)
    repository.commit("main", {**files, **dict.fromkeys(others, b"not needed")})
    repository.commit("seed-03", files)
    return repository


def resolved(hub: Hub) -> set[str]:
    return {path.split("/")[-1] for method, path, *_ in hub.requests if "/resolve/" in path}


def test_only_json_and_safetensors_are_downloaded(hub: Hub, repository: Repository, adapter: Adapter) -> None:
    found = read_adapter("hub:org/tiny")
    assert found.virtual_tokens().equal(adapter.virtual_tokens()) and found.label_names == LABELS
    assert resolved(hub) == {"adapter_config.json", "adapter_model.safetensors", "xpe_sweep.json"}


def test_a_revision_is_read_by_its_branch_or_commit(hub: Hub, repository: Repository, adapter: Adapter) -> None:
    for revision in ("seed-03", repository.branches["seed-03"][-1]):
        assert read_adapter(f"hub:org/tiny@{revision}").virtual_tokens().equal(adapter.virtual_tokens())
    with pytest.raises(InputError, match="hub:org/tiny@seed-04: the repository has no revision 'seed-04'"):
        read_adapter("hub:org/tiny@seed-04")


def test_a_branch_that_moved_is_read_anew_and_the_cache_serves_while_the_hub_is_away(
    hub: Hub, repository: Repository, adapter: Adapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_adapter("hub:org/tiny")
    other = make_adapter(adapter.config.with_seed(7))
    write_peft(other, tmp_path / "other")
    repository.commit("main", {file.name: file.read_bytes() for file in (tmp_path / "other").iterdir()})
    assert read_adapter("hub:org/tiny").virtual_tokens().equal(other.virtual_tokens())
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert read_adapter("hub:org/tiny").virtual_tokens().equal(other.virtual_tokens())
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    assert read_adapter("hub:org/tiny@main").virtual_tokens().equal(other.virtual_tokens())
    assert not hub.requests


def test_a_cache_that_another_tool_has_filled_is_read_offline(
    adapter: Adapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "hub" / "models--org--tiny" / "snapshots" / COMMIT
    refs = tmp_path / "hub" / "models--org--tiny" / "refs"
    snapshot.mkdir(parents=True)
    refs.mkdir()
    write_adapter(adapter, snapshot / "adapter.safetensors")
    (refs / "seed-03").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for revision in ("seed-03", COMMIT):
        assert read_adapter(f"hub:org/tiny@{revision}").fingerprint == adapter.fingerprint
    with pytest.raises(InputError, match="hub:org/tiny@main is not .* in the hub's cache, and HF_HUB_OFFLINE is set"):
        read_adapter("hub:org/tiny")


def test_what_is_no_adapter_is_refused_before_anything_is_downloaded(hub: Hub) -> None:
    repository = hub.repositories["org/tiny"] = Repository(False)
    for files, holds in (
        (["adapter_config.json", "adapter_model.bin"], "only adapter_model.bin"),
        (["config.json", "model.safetensors"], "only model.safetensors"),
        (["README.md"], "none"),
    ):
        repository.commit("main", dict.fromkeys(files, b"{}"))
        with pytest.raises(InputError, match=f"hub:org/tiny@main: the repository has no adapter in .*, {holds}"):
            read_adapter("hub:org/tiny")
    assert not resolved(hub)


def test_a_repository_that_is_not_there_or_private_is_named(hub: Hub, repository: Repository) -> None:
    repository.private = True
    for name in ("org/tiny", "org/tinny"):
        with pytest.raises(InputError, match=f"hub:{name}@main: there is no such repository .* private: set HF_TOKEN"):
            read_adapter(f"hub:{name}")


def test_a_source_is_a_repository_and_maybe_a_revision() -> None:
    assert parse_source("hub:org/tiny") == Source("org/tiny", "main")
    assert parse_source("hub:org/tiny@refs/pr/1") == Source("org/tiny", "refs/pr/1")
    for text in ("hub:", "hub:a/b/c", "hub:org/ti ny", "hub:org/tiny@", "hub:org/tiny@../../x y"):
        with pytest.raises(InputError, match=f"^adapter {text}: "):
            parse_source(text)
