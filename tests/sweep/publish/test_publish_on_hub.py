"""Publishing with the hub's own client, against a hub that runs here."""

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from rich.console import Console
from typer.testing import CliRunner

from sweep.publish import HubOptions, publish
from sweep.publish.upload import upload
from sweep.run import app
from sweep.storage import Folder
from tests.making.adapters import PROVENANCE, make_accuracy, write_experiment
from tests.making.experiments import make_rows, put
from tests.making.hub import TOKEN, USER, Hub, Repository, serve_hub
from tests.sweep.publish.test_publish import name_settings
from tests.xpe_core.adapters.test_peft_folder import classify
from xpe_core.adapters import read_adapter
from xpe_core.config import RunConfig
from xpe_core.errors import InputError

REPO = f"{USER}/dual-prompts"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """Serve an empty hub to somebody who is logged in."""
    with serve_hub(monkeypatch, str(tmp_path / "cache")) as hub:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


@pytest.fixture(scope="module")
def experiment(backbone: str, dataset: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Folder, RunConfig]:
    folder = tmp_path_factory.mktemp("storage") / "table1"
    sweep = write_experiment(folder, name_settings(backbone, dataset), [1, 2, 3], kept=lambda seed: seed < 4)
    return Folder(folder), sweep.corners[2]


def publish_to(
    repo: str,
    experiment: tuple[Folder, RunConfig],
    config_id: str | None = None,
    seeds: Sequence[int] | None = None,
    **options: Any,
) -> str:
    console = Console(record=True, width=200)
    folder, config = experiment
    publish(console, folder, f"hub:{repo}", config_id or config.config_id, seeds, HubOptions(**options))
    return console.export_text()


def read_folder(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def without_own(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name != ".gitattributes"}


def test_the_hub_holds_what_the_dry_run_shows_byte_by_byte_and_main_came_last(
    hub: Hub, experiment: tuple[Folder, RunConfig], tmp_path: Path
) -> None:
    publish_to(REPO, experiment, dry_run=True, into=str(tmp_path / "out"))
    assert not hub.requests
    said = publish_to(REPO, experiment)
    repository = hub.repositories[REPO]
    assert sorted(repository.branches) == ["main", "seed-01", "seed-02", "seed-03"]
    for revision in repository.branches:
        assert without_own(repository.files(revision)) == read_folder(tmp_path / "out" / revision)
        assert ".gitattributes" in repository.files(revision)
    assert hub.commits() == ["seed-01", "seed-02", "seed-03", "main"]
    assert f"Published: {hub.address}/{REPO}" in said


def test_what_was_published_is_read_back_from_the_hub(hub: Hub, experiment: tuple[Folder, RunConfig]) -> None:
    folder, config = experiment
    publish_to(REPO, experiment)
    for source, seed in ((f"hub:{REPO}@seed-03", 3), (f"hub:{REPO}", 1)):
        kept = read_adapter(f"{folder}/adapters/{config.with_seed(seed).run_id}.safetensors")
        found = read_adapter(source)
        assert found.virtual_tokens().equal(kept.virtual_tokens())
        assert found.config.seed == seed and found.label_names == kept.label_names


def test_the_token_is_in_the_header_and_nowhere_else(
    hub: Hub, experiment: tuple[Folder, RunConfig], capfd: pytest.CaptureFixture[str]
) -> None:
    said = publish_to(REPO, experiment)
    output, errors = capfd.readouterr()
    assert TOKEN not in said + output + errors
    writing = [headers for method, path, headers, _ in hub.requests if method == "POST"]
    assert writing and all(headers["authorization"] == f"Bearer {TOKEN}" for headers in map(_lower, writing))
    for _, path, headers, body in hub.requests:
        assert TOKEN not in path and TOKEN.encode() not in body
        assert [name for name, value in _lower(headers).items() if TOKEN in value] in ([], ["authorization"])


def _lower(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def test_the_same_command_again_uploads_nothing_and_takes_away_what_does_not_belong(
    hub: Hub, experiment: tuple[Folder, RunConfig]
) -> None:
    publish_to(REPO, experiment)
    repository = hub.repositories[REPO]
    before = {name: repository.files(name) for name in repository.branches}
    hub.requests.clear()
    publish_to(REPO, experiment)
    assert hub.commits() == []
    repository.commit("seed-02", {**repository.files("seed-02"), "pytorch_model.bin": b"pickle", "LICENSE": b"mine"})
    publish_to(REPO, experiment)
    assert hub.commits() == ["seed-02"]
    assert repository.files("seed-02") == {**before["seed-02"], "LICENSE": b"mine"}
    assert repository.files("main") == before["main"]


def test_an_upload_that_was_killed_is_continued_by_the_same_command(
    hub: Hub, experiment: tuple[Folder, RunConfig], tmp_path: Path
) -> None:
    publish_to(REPO, experiment, dry_run=True, into=str(tmp_path / "out"))
    seeds, said = ["seed-01", "seed-02", "seed-03"], []

    def die(line: str) -> None:
        said.append(line)
        if len(said) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upload(tmp_path / "out", REPO, seeds, experiment[1].config_id, False, die)
    assert list(without_own(hub.repositories[REPO].files("main"))) == []  # nobody takes it for a whole one
    hub.requests.clear()
    publish_to(REPO, experiment)
    assert hub.commits() == ["seed-03", "main"]
    for revision in (*seeds, "main"):
        assert without_own(hub.repositories[REPO].files(revision)) == read_folder(tmp_path / "out" / revision)


def test_a_hub_that_fails_in_the_middle_leaves_no_branch_with_another_seeds_adapter(
    hub: Hub, experiment: tuple[Folder, RunConfig]
) -> None:
    hub.commits_until_failure = 1
    with pytest.raises(InputError, match=f"^{REPO}: the hub refuses .*500.*; the same command goes on from what is"):
        publish_to(REPO, experiment)
    repository = hub.repositories[REPO]
    assert without_own(repository.files("seed-01")) and not without_own(repository.files("seed-02"))
    hub.commits_until_failure = None
    publish_to(REPO, experiment)
    assert without_own(repository.files("main")) == without_own(repository.files("seed-01"))


def test_a_repository_with_something_else_is_not_written_into(hub: Hub, experiment: tuple[Folder, RunConfig]) -> None:
    other = hub.repositories[REPO] = Repository(False)
    other.commit("main", {".gitattributes": b"", "README.md": b"# mine", "model.safetensors": b"weights"})
    with pytest.raises(InputError, match=f"{REPO} holds something else .README.md, model.safetensors.; give another"):
        publish_to(REPO, experiment)
    hub.repositories.clear()
    publish_to(REPO, experiment)
    spt = experiment[1].with_values(encoder_ratio=0.0).config_id
    with pytest.raises(InputError, match=f"of another configuration .config_id {experiment[1].config_id}, not {spt}"):
        publish_to(REPO, experiment, config_id=spt)
    assert sorted(hub.repositories[REPO].branches) == ["main", "seed-01", "seed-02", "seed-03"]


def test_a_private_repository_is_made_private_and_a_public_one_is_never_taken_for_it(
    hub: Hub, experiment: tuple[Folder, RunConfig]
) -> None:
    publish_to(REPO, experiment, private=True, seeds=[1])
    assert hub.repositories[REPO].private
    hub.repositories[f"{USER}/open"] = Repository(False)
    hub.repositories[f"{USER}/open"].commit("main", {".gitattributes": b""})
    with pytest.raises(InputError, match=f"--private: the repository {USER}/open is there already and public"):
        publish_to(f"{USER}/open", experiment, private=True)
    assert list(hub.repositories[f"{USER}/open"].files()) == [".gitattributes"]


@pytest.mark.parametrize(
    ("token", "repo", "message"),
    [
        (None, REPO, "there is no token: set HF_TOKEN, or log in with `hf auth login`"),
        ("hf_wrong", REPO, "the hub does not know the token; is it still valid"),
        (TOKEN, "else/x", "the token may not write there; it needs write access to else"),
    ],
)
def test_a_token_that_may_not_is_said_in_a_sentence_that_does_not_hold_it(
    hub: Hub,
    experiment: tuple[Folder, RunConfig],
    monkeypatch: pytest.MonkeyPatch,
    token: str | None,
    repo: str,
    message: str,
) -> None:
    monkeypatch.delenv("HF_TOKEN") if token is None else monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(InputError, match=message) as refused:
        publish_to(repo, experiment)
    assert "\n" not in str(refused.value) and (token is None or token not in str(refused.value))


def test_a_hub_that_is_out_of_reach_is_said_in_a_sentence(
    hub: Hub, experiment: tuple[Folder, RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="the hub cannot be reached .ConnectError.*; the same command goes on"):
        publish_to(REPO, experiment)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set, so the hub is not asked"):
        publish_to(REPO, experiment)


def test_the_command_publishes_all_seeds_of_an_arm_or_the_one_run_that_is_named(
    hub: Hub, experiment: tuple[Folder, RunConfig]
) -> None:
    folder, config = experiment
    storage = ("--storage", str(folder.parent))
    arguments = ["export", folder.name, "--arm", "dual_30", "--to", f"hub:{REPO}", "--license", "mit", *storage]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert sorted(hub.repositories[REPO].branches) == ["main", "seed-01", "seed-02", "seed-03"]
    assert b"license: mit" in hub.repositories[REPO].files()["README.md"]
    run_id = config.with_seed(2).run_id
    result = CliRunner().invoke(app, ["export", folder.name, "--run", run_id, "--to", f"hub:{USER}/one", *storage])
    assert result.exit_code == 0, result.output
    assert sorted(hub.repositories[f"{USER}/one"].branches) == ["main", "seed-02"]
    result = CliRunner().invoke(app, ["export", folder.name, "--to", "folder", "--private", *storage])
    assert str(result.exception) == "--private is for --to hub:USER/NAME"
    result = CliRunner().invoke(app, ["export", folder.name, "--best", "--to", f"hub:{REPO}", *storage])
    assert str(result.exception).startswith("--best is one run; to the hub go all seeds of a configuration")


def test_the_cards_lines_load_main_in_stock_peft(hub: Hub, experiment: tuple[Folder, RunConfig], backbone: str) -> None:
    folder, config = experiment
    encoder = hub.repositories[f"{USER}/encoder"] = Repository(False)
    encoder.commit("main", read_folder(Path(backbone)))
    publish_to(REPO, experiment, base_model=f"{USER}/encoder")
    card = hub.repositories[REPO].files()["README.md"].decode()
    values: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", card, re.S)[0], values)
    kept = read_adapter(f"{folder}/adapters/{config.with_seed(1).run_id}.safetensors")
    expected = classify(replace(kept, backbone_weights=None), values["texts"])
    torch.testing.assert_close(values["logits"], expected, atol=1e-5, rtol=0)


def test_main_is_the_seed_with_the_highest_validation_accuracy_also_where_an_older_upload_had_the_first(
    hub: Hub, experiment: tuple[Folder, RunConfig], tmp_path: Path
) -> None:
    publish_to(REPO, experiment)
    repository = hub.repositories[REPO]
    older = repository.files("main")["README.md"].decode().replace("  main_seed: 1\n", "")
    assert "main_seed" not in older
    repository.commit("main", {**repository.files("main"), "README.md": older.encode()})  # before there was a rule
    copy, config = tmp_path / "table1", experiment[1]
    shutil.copytree(str(experiment[0]), copy)
    put(copy, *make_rows(config, 2, [3], make_accuracy, arm="dual_30", **{**PROVENANCE, "validation_accuracy": 0.9}))
    said = publish_to(REPO, (Folder(copy), config))
    assert "main was seed 1 and is now seed 3: it has the highest validation accuracy" in said
    assert without_own(repository.files("main")) == without_own(repository.files("seed-03"))
    card = repository.files("main")["README.md"].decode()
    assert "`main` is seed 3, which has the highest validation accuracy on the source languages" in card
    assert "(test accuracy played no part)" in card and "such as `seed-03`" in card
    assert "now seed" not in publish_to(REPO, (Folder(copy), config))
