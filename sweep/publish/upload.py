"""Revisions to the hub, so that a killed upload is continued by the same command.

Every revision is one commit, so it is as it was or whole. Branches start at the repository's first commit, which is
empty, and `main` comes last: no revision ever holds another seed's adapter, and a repository with a card is whole.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
)
from huggingface_hub.utils import validate_repo_id

from sweep.analysis.chosen_adapter import RULE
from sweep.experiment.evaluated import HUB
from sweep.publish.card import Mark, read_mark
from sweep.publish.revisions import MAIN, README
from xpe_core.backbones.files import first_line, silence_libraries
from xpe_core.errors import InputError
from xpe_core.steps import long_step

NO_TOKEN = "there is no token: set HF_TOKEN, or log in with `hf auth login` (a token that may write)"
KEPT_FILES = (".gitattributes", "LICENSE")
"""On the hub, files that are left as they are: the hub's own, and one that somebody has put there on purpose."""


def parse_target(target: str) -> str:
    """Return USER/NAME of `hub:USER/NAME`; InputError for others."""
    repo = target.removeprefix(HUB)
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise InputError(f"--to {target}: {first_line(error).split(': ', 1)[1]}") from None
    if repo.count("/") != 1:
        raise InputError(f"--to {target}: must be hub:USER/NAME")
    return repo


def check_token() -> None:
    """Raise InputError where the hub's client has no token."""
    if get_token() is None:
        raise InputError(NO_TOKEN)


def upload(
    folder: Path, repo: str, revisions: Sequence[str], config_id: str, private: bool, say: Callable[[str], None]
) -> str:
    """Make a repository's revisions (and `main`) hold what their subfolders do, and return its address.

    InputError in one sentence where there is no token, no permission or no network, where the repository holds
    something else, or where it is public and was asked for as a private one.
    """
    with _explain(repo), silence_libraries(), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        api = HfApi(token=True)  # with the token that the client finds, or not at all
        address = str(api.create_repo(repo, private=private or None, exist_ok=True))
        if private and not api.model_info(repo).private:
            raise InputError(
                f"--private: the repository {repo} is there already and public; change it on the hub first"
            )
        before = _check_content(api, repo, config_id)
        first = api.list_repo_commits(repo)[-1].commit_id
        for revision in (*revisions, MAIN):
            if revision != MAIN:
                api.create_branch(repo, branch=revision, revision=first, exist_ok=True)
            _commit(api, repo, revision, folder / revision)
            say(f"{revision} is on the hub")
    after = read_mark((folder / MAIN / README).read_text(encoding="utf-8"))
    if before is not None and after is not None and before.main_seed not in (None, after.main_seed):
        say(f"main was seed {before.main_seed} and is now seed {after.main_seed}: it has {RULE}")
    for text in dict.fromkeys(str(one.message) for one in warned if "README.md" in str(one.message)):
        say(" ".join(text.split()))
    return address


def _check_content(api: HfApi, repo: str, config_id: str) -> Mark | None:
    """Return what an earlier upload of this configuration says of itself, None where there was none.

    InputError where the repository holds something else.
    """
    names = [name for name in api.list_repo_files(repo) if name not in KEPT_FILES]
    if not names:
        return None
    mark = None
    if README in names:
        mark = read_mark(Path(api.hf_hub_download(repo, README)).read_text(encoding="utf-8"))
    if mark is None and names != [README]:
        raise InputError(f"the repository {repo} holds something else ({', '.join(names[:3])}); give another name")
    if mark is not None and mark.config_id != config_id:
        raise InputError(
            f"the repository {repo} holds the adapters of another configuration (config_id {mark.config_id}, not "
            f"{config_id}); give another name, or delete it on the hub"
        )
    return mark


@long_step("Uploading")
def _commit(api: HfApi, repo: str, revision: str, folder: Path) -> None:
    """Make a revision hold a folder's files and no others; nothing is done where it does already."""
    files = {file.name: file for file in sorted(folder.iterdir())}
    there = api.list_repo_files(repo, revision=revision)
    operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=file) for name, file in files.items()]
    operations += [CommitOperationDelete(name) for name in there if name not in files and name not in KEPT_FILES]
    what = "Publish the adapter that main is" if revision == MAIN else f"Publish the adapter of {revision}"
    api.create_commit(repo, operations, commit_message=what, revision=revision)


@contextmanager
def _explain(repo: str) -> Iterator[None]:
    """Turn what the hub and its client raise into one sentence."""
    again = "the same command goes on from what is there"
    try:
        yield
    except (InputError, KeyboardInterrupt):
        raise
    except LocalTokenNotFoundError:
        raise InputError(NO_TOKEN) from None
    except OfflineModeIsEnabled:
        raise InputError(f"{repo} cannot be published: HF_HUB_OFFLINE is set, so the hub is not asked") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status == 401:
            raise InputError(f"{repo}: the hub does not know the token; is it still valid? (HF_TOKEN)") from None
        if status == 403:
            owner = repo.split("/")[0]
            raise InputError(f"{repo}: the token may not write there; it needs write access to {owner}") from None
        raise InputError(f"{repo}: the hub refuses ({_say(error)}); {again}") from None
    except ValueError as error:
        raise InputError(f"{repo}: the hub does not take it: {' '.join(str(error).split())}") from None
    except Exception as error:  # the hub's client raises the types of whichever HTTP library it uses
        raise InputError(f"{repo}: the hub cannot be reached ({_say(error)}); {again}") from None


def _say(error: Exception) -> str:
    token = get_token()
    said = first_line(error)
    return said.replace(token, "...") if token else said
