"""A model hub on this machine: as much of its protocol as repositories, branches, commits and downloads need.

It keeps everything in memory, refuses who has no token or the wrong one, and remembers what it was asked.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

TOKEN = "hf_onlyForThisTest"
USER = "someone"
DATE = "2026-01-01T00:00:00.000Z"


@dataclass
class Repository:
    """Files by commit, and commits by branch."""

    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, list[str]] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        history = self.branches.setdefault(branch, [])
        sha = hashlib.sha1(f"{branch} {history} {sorted(files)} {len(self.commits)}".encode()).hexdigest()
        self.commits[sha] = dict(files)
        history.append(sha)
        return sha

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """Return what a branch or commit holds."""
        return self.commits[self.branches[revision][-1] if revision in self.branches else revision]


@dataclass
class Hub:
    """The repositories, and every request as (method, path, headers, body)."""

    address: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    commits_until_failure: int | None = None

    def commits(self) -> list[str]:
        """Return the branches that were committed to, in order."""
        return [unquote(path.split("/")[-1]) for method, path, *_ in self.requests if "/commit/" in path]


class Handler(BaseHTTPRequestHandler):
    """One request."""

    hub: Hub

    def do_GET(self) -> None:
        path = self.remember(b"")
        repo, rest = self.find(path)
        if repo is None or (repo.private and not self.is_known()):
            self.answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            return
        revision = unquote(rest[1]) if len(rest) > 1 else "main"
        if revision not in repo.branches and revision not in repo.commits:
            self.answer({"error": "Revision not found"}, 404, {"X-Error-Code": "RevisionNotFound"})
            return
        files, sha = repo.files(revision), repo.branches[revision][-1] if revision in repo.branches else revision
        match rest[:1]:
            case [] | ["revision"]:
                siblings = [{"rfilename": name} for name in files]
                self.answer({"id": f"{USER}/x", "sha": sha, "private": repo.private, "siblings": siblings})
            case ["tree"]:
                rows = [{"type": "file", "path": n, "size": len(c), "oid": _git_hash(c)} for n, c in files.items()]
                self.answer(rows)
            case ["commits"]:
                entry: dict[str, Any] = {"authors": [{"user": USER}], "date": DATE, "title": "", "message": ""}
                self.answer([{**entry, "id": one} for one in reversed(repo.branches[revision])])
            case ["resolve"]:
                content = files.get(unquote("/".join(rest[2:])))
                if content is None:
                    self.answer({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
                else:
                    tag = hashlib.sha256(content).hexdigest()
                    self.answer(content, 200, {"ETag": f'"{tag}"', "X-Repo-Commit": sha})

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        path = self.remember(content)
        self.hub.uploads[path.split("/")[-1]] = content
        self.answer({})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.remember(body)
        if path == "/api/validate-yaml":
            self.answer({"warnings": [], "errors": []})
            return
        if not self.is_known():
            self.answer({"error": "Invalid credentials in Authorization header"}, 401)
            return
        if path == "/api/repos/create":
            self.create(json.loads(body))
            return
        repo, rest = self.find(path)
        if repo is None:
            self.answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            return
        match rest[0]:
            case "branch":
                self.branch(repo, unquote(rest[1]), json.loads(body)["startingPoint"])
            case "preupload":
                self.answer({"files": [_choose_mode(repo, rest[1], one) for one in json.loads(body)["files"]]})
            case "info":
                self.answer({"objects": [self.describe_upload(one) for one in json.loads(body)["objects"]]})
            case "commit":
                self.commit(repo, unquote(rest[1]), [json.loads(line) for line in body.splitlines()])

    def create(self, values: dict[str, Any]) -> None:
        name = f"{values['organization']}/{values['name']}"
        if values["organization"] != USER:
            self.answer({"error": "You don't have the rights to create a model under this namespace"}, 403)
            return
        is_new = name not in self.hub.repositories
        if is_new:
            repo = self.hub.repositories[name] = Repository(values.get("visibility") == "private")
            repo.commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"})
        self.answer({"url": f"{self.hub.address}/{name}"}, 200 if is_new else 409)

    def branch(self, repo: Repository, name: str, start: str) -> None:
        if name in repo.branches:
            self.answer({"error": "Reference already exists"}, 409)
            return
        repo.branches[name] = [start]
        self.answer({})

    def describe_upload(self, one: dict[str, Any]) -> dict[str, Any]:
        if one["oid"] in self.hub.uploads:
            return one
        return {**one, "actions": {"upload": {"href": f"{self.hub.address}/lfs/{one['oid']}"}}}

    def commit(self, repo: Repository, branch: str, operations: list[dict[str, Any]]) -> None:
        if self.hub.commits_until_failure == 0:
            self.answer({"error": "Internal error"}, 500)
            return
        if self.hub.commits_until_failure is not None:
            self.hub.commits_until_failure -= 1
        files = dict(repo.files(branch))
        for operation in operations:
            value = operation["value"]
            match operation["key"]:
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.hub.uploads[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        sha = repo.commit(branch, files)
        name = next(name for name, one in self.hub.repositories.items() if one is repo)
        self.answer({"success": True, "commitOid": sha, "commitUrl": f"{self.hub.address}/{name}/commit/{sha}"})

    def find(self, path: str) -> tuple[Repository | None, list[str]]:
        """Return the repository that a path is about, and the rest of the path."""
        parts = path.strip("/").removeprefix("api/models/").split("/")
        return self.hub.repositories.get("/".join(parts[:2]).removesuffix(".git")), parts[2:]

    def is_known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def remember(self, body: bytes) -> str:
        path = urlsplit(self.path).path
        self.hub.requests.append((self.command, self.path, dict(self.headers), body))
        return path

    def answer(self, content: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""


@contextmanager
def serve_hub(monkeypatch: pytest.MonkeyPatch, cache: str) -> Iterator[Hub]:
    """Serve an empty hub, and let the hub's client find it, an empty cache, and no token."""
    hub = Hub()
    with ThreadingHTTPServer(("127.0.0.1", 0), type("TinyHub", (Handler,), {"hub": hub})) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        hub.address = f"http://127.0.0.1:{server.server_port}"
        template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", cache)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", f"{cache}/token")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # another protocol, with another server
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield hub
        server.shutdown()


def _choose_mode(repo: Repository, revision: str, one: dict[str, Any]) -> dict[str, Any]:
    """Say how a file is to be uploaded, and what the branch holds of that name."""
    name, mode = one["path"], "lfs" if one["path"].endswith(".safetensors") else "regular"
    there = repo.files(unquote(revision)).get(name)
    oid = None if there is None else hashlib.sha256(there).hexdigest() if mode == "lfs" else _git_hash(there)
    return {"path": name, "uploadMode": mode, "shouldIgnore": False, "oid": oid}


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
