"""The folder of what is published: `main` and `seed-NN`, each with an adapter that stock PEFT loads and the card.

It is the same for a dry run and an upload, byte by byte, and holds nothing of the machine it was made on.
"""

import json
import platform
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import get_token

from sweep.analysis.chosen_adapter import choose_seed
from sweep.publish.card import Card, render_card
from sweep.publish.naming import check_public, public_name, publish_config, publish_facts
from sweep.publish.numbers import Numbers
from sweep.publish.tables import explain_missing
from sweep.records.adapters import read_kept
from sweep.records.states import State
from xpe_core.adapters import Adapter
from xpe_core.adapters.layout import CONFIG, SIDECAR
from xpe_core.adapters.peft_folder import write_peft
from xpe_core.adapters.transformers_folder import write_transformers
from xpe_core.errors import InputError
from xpe_core.tunings import is_alone

MAIN = "main"
README = "README.md"
VOCABULARY = "tokenizer.json"
"""The backbone's: pieces of words, of which some look like paths."""
HEADER_BYTES = 8
"""Of a safetensors file: the length of the JSON that follows."""


@dataclass(frozen=True)
class Request:
    """What is to be published, as it was asked for."""

    repo: str
    """USER/NAME on the hub."""
    license: str = "apache-2.0"
    datasets: tuple[str, ...] = ()
    """Names of the data set on the hub."""
    base_model: str | None = None
    """Name of the backbone on the hub."""
    seeds: Collection[int] | None = None
    """Only these; None is all."""


def name_revision(seed: int) -> str:
    """Return the branch of a seed."""
    return f"seed-{seed:02}"


def build_revisions(numbers: Numbers, request: Request, target: Path) -> dict[int, str]:
    """Write a subfolder a revision into an empty folder, and return the seeds' revisions; one seed is `main`, too.

    It is the one that `choose_seed` chooses among those whose adapters are there.

    InputError where no adapter of the configuration is there.
    """
    adapters, reasons = _read_adapters(numbers, request)
    revisions = {seed: name_revision(seed) for seed in adapters}
    validated = {one.seed: one.validation for one in numbers.runs}
    main_seed = choose_seed({seed: validated[seed] for seed in adapters})
    sentence = ""
    for seed, adapter in adapters.items():
        (target / revisions[seed]).mkdir()
        sentence = _write_adapter(adapter, target / revisions[seed], request)
    card = Card(
        repo=request.repo,
        license=request.license,
        datasets=request.datasets,
        base_model=request.base_model,
        label_names=next(iter(adapters.values())).label_names,
        revisions=revisions,
        main_seed=main_seed,
        reasons=reasons,
        fingerprints={revisions[seed]: adapter.fingerprint for seed, adapter in adapters.items()},
        sentence=sentence,
        readme=target / list(revisions.values())[-1] / README,
    )
    text = render_card(numbers, card)
    for revision in revisions.values():
        (target / revision / README).write_text(text, encoding="utf-8")
    shutil.copytree(target / revisions[main_seed], target / MAIN)
    secrets = _secrets(numbers)
    for file in sorted(path for path in target.rglob("*") if path.is_file() and path.name != VOCABULARY):
        check_public(_read_text(file), str(file.relative_to(target)), secrets)
    return revisions


def describe_names(numbers: Numbers, request: Request) -> list[str]:
    """Return what is said of names that lost their path."""
    config = numbers.cell.config
    said = []
    for what, name, given, option in (
        ("backbone", config.backbone, request.base_model, "--base-model"),
        ("data set", config.data.dataset, request.datasets, "--dataset"),
    ):
        if public_name(name) != name and not given:
            said.append(
                f"The {what} is a folder or file of this machine and is published as {public_name(name)!r}; "
                f"say with {option} USER/NAME where it is on the hub."
            )
    return said


def _read_adapters(numbers: Numbers, request: Request) -> tuple[dict[int, Adapter], dict[int, str]]:
    adapters: dict[int, Adapter] = {}
    reasons: dict[int, str] = {}
    first_error: InputError | None = None
    for one in numbers.runs:
        if one.state != State.COMPLETE:
            reasons[one.seed] = explain_missing(one)
        elif request.seeds is not None and one.seed not in request.seeds:
            reasons[one.seed] = "not chosen"
        else:
            try:
                adapters[one.seed] = publish_facts(read_kept(numbers.experiment.folder, one.run_id))
            except InputError as error:
                first_error = first_error or error
                reasons[one.seed] = explain_missing(one)
    if not adapters:
        raise first_error or InputError(f"{numbers.experiment.folder}: no seed of the configuration is to be published")
    classes = {adapter.label_names for adapter in adapters.values()}
    assert len(classes) == 1  # of one configuration, and so of one data set
    return adapters, reasons


def _write_adapter(adapter: Adapter, folder: Path, request: Request) -> str:
    """Write a folder that PEFT, or transformers alone, loads, with public names; return what they can do with it.

    The names come last: the backbone's folder on this machine says which kind of head it has.
    """
    alone = is_alone(adapter.config)
    sentence = (write_transformers if alone else write_peft)(adapter, folder)
    config = publish_config(adapter.config, request.base_model, next(iter(request.datasets), None))
    own = [] if alone else [(CONFIG, {"base_model_name_or_path": config.backbone})]
    for name, values in (*own, (SIDECAR, {"config": config.known})):
        content = json.loads((folder / name).read_text(encoding="utf-8")) | values
        (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return sentence


def _secrets(numbers: Numbers) -> list[str]:
    """Return what must not be published: the token, the home folder, hosts (plain words would be found in prose)."""
    hosts = {platform.node(), *numbers.values("host")}
    hosts = {host for host in hosts if host and not host.isalpha()}
    return [secret for secret in (get_token(), str(Path.home()), *sorted(hosts)) if secret and secret != "/"]


def _read_text(file: Path) -> bytes:
    """Return a file's text; of a safetensors file what stands before the numbers."""
    content = file.read_bytes()
    if file.suffix != ".safetensors":
        return content
    end = HEADER_BYTES + int.from_bytes(content[:HEADER_BYTES], "little")
    json.loads(content[HEADER_BYTES:end])
    return content[HEADER_BYTES:end]
