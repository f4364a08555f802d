"""What the Hub answers to each kind of request, as `huggingface_hub` expects it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

import yaml

from tests.servers.hub_store import Blob, Commit, HubError, Repo, Store, is_large

TOKEN = "hf_a_token_for_tests"
USER = "tester"
_DATE = "2026-01-01T00:00:00.000Z"


@dataclass
class Call:
    """A request on its way."""

    url: str
    store: Store
    method: str
    query: Mapping[str, list[str]]
    body: bytes
    token: str | None

    @property
    def allowed(self) -> bool:
        return self.token == TOKEN

    def json(self) -> Any:
        return json.loads(self.body or b"{}")

    def repo(self, kind: str, repo_id: str) -> Repo:
        return self.store.repo(kind, repo_id, allowed=self.allowed)

    def needs_token(self) -> None:
        if not self.allowed:
            raise HubError(401, "", "Invalid username or password.")


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] | None = None


def _json(value: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def _whoami(call: Call) -> Reply:
    call.needs_token()
    access = {"role": "write", "displayName": "tests"}
    return _json(
        {"type": "user", "id": "1", "name": USER, "fullname": USER, "orgs": [], "auth": {"accessToken": access}}
    )


def _create(call: Call) -> Reply:
    call.needs_token()
    wanted = call.json()
    kind = wanted.get("type") or "model"
    repo_id = f"{wanted.get('organization') or USER}/{wanted['name']}"
    url = f"{call.url}/{'' if kind == 'model' else f'{kind}s/'}{repo_id}"
    try:
        call.store.create(kind, repo_id, private=wanted.get("private") or wanted.get("visibility") == "private")
    except HubError as error:
        return _json({"error": str(error), "url": url, "name": repo_id}, error.status)
    return _json({"url": url, "name": repo_id, "id": repo_id})


def _delete(call: Call) -> Reply:
    call.needs_token()
    wanted = call.json()
    call.store.delete(wanted.get("type") or "model", f"{wanted.get('organization') or USER}/{wanted['name']}")
    return _json({})


def _validate_yaml(call: Call) -> Reply:
    content = call.json()["content"]
    header = re.match(r"---\r?\n(.*?)\r?\n---", content, re.DOTALL)
    try:
        yaml.safe_load(header[1] if header else "")
    except yaml.YAMLError as error:
        return _json({"errors": [{"message": str(error)}], "warnings": []}, 400)
    return _json({"errors": [], "warnings": []})


def _info(call: Call, kind: str, repo_id: str, revision: str = "main") -> Reply:
    repo = call.repo(kind, repo_id)
    commit = repo.commit(revision)
    return _json(
        {
            "_id": "0",
            "id": repo_id,
            "author": repo_id.split("/")[0],
            "sha": commit.oid,
            "createdAt": _DATE,
            "lastModified": _DATE,
            "private": repo.private,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "cardData": _card_data(call.store, commit),
            "siblings": [{"rfilename": path} for path in commit.files],
        }
    )


def _card_data(store: Store, commit: Commit) -> Any:
    if "README.md" not in commit.files:
        return {}
    header = re.match(r"---\r?\n(.*?)\r?\n---", store.content(commit.files["README.md"].sha256).decode(), re.DOTALL)
    return yaml.safe_load(header[1]) if header else {}


def _entry(path: str, blob: Blob) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "oid": blob.sha1, "size": blob.size, "path": path}
    if blob.large:
        entry["lfs"] = {"oid": blob.sha256, "size": blob.size, "pointerSize": 130}
    last = {"id": "0" * 40, "title": "commit", "date": _DATE}
    return {**entry, "lastCommit": last}


def _folder(path: str) -> dict[str, Any]:
    return {"type": "directory", "oid": "0" * 40, "size": 0, "path": path}


def _tree(call: Call, kind: str, repo_id: str, revision: str, path: str = "") -> Reply:
    files = call.repo(kind, repo_id).commit(revision).files
    prefix = f"{path}/" if path else ""
    inside = {name: blob for name, blob in files.items() if name.startswith(prefix)}
    if path and not inside:
        raise HubError(404, "EntryNotFound", f"{path} does not exist")
    recursive = call.query.get("recursive", ["false"])[0].lower() in ("true", "1")
    entries: dict[str, dict[str, Any]] = {}
    for name, blob in inside.items():
        parts = name.removeprefix(prefix).split("/")
        for depth in range(1, len(parts)) if recursive else range(1, min(2, len(parts))):
            folder = prefix + "/".join(parts[:depth])
            entries[folder] = _folder(folder)
        if recursive or len(parts) == 1:
            entries[name] = _entry(name, blob)
    return _json(list(entries.values()))


def _paths_info(call: Call, kind: str, repo_id: str, revision: str) -> Reply:
    files = call.repo(kind, repo_id).commit(revision).files
    wanted = parse_qs(call.body.decode()).get("paths", [])
    found = [_entry(path, files[path]) for path in wanted if path in files]
    folders = [path for path in wanted if path not in files and any(name.startswith(f"{path}/") for name in files)]
    return _json([*found, *map(_folder, folders)])


def _refs(call: Call, kind: str, repo_id: str) -> Reply:
    refs = call.repo(kind, repo_id).refs
    branches = [
        {"name": name, "ref": f"refs/heads/{name}", "targetCommit": oid}
        for name, oid in refs.items()
        if not name.startswith("refs/pr/")
    ]
    return _json({"branches": branches, "tags": [], "converts": []})


def _branch(call: Call, kind: str, repo_id: str, name: str) -> Reply:
    call.needs_token()
    repo = call.repo(kind, repo_id)
    if name in repo.refs:
        raise HubError(409, "", "Reference already exists")
    repo.refs[name] = repo.commit(call.json().get("startingPoint") or "main").oid
    return _json({})


def _commits(call: Call, kind: str, repo_id: str, revision: str) -> Reply:
    repo = call.repo(kind, repo_id)
    listed: list[dict[str, Any]] = []
    oid: str | None = repo.commit(revision).oid
    while oid is not None:
        commit = repo.commits[oid]
        listed.append({"id": oid, "title": commit.message, "message": "", "date": _DATE, "authors": []})
        oid = commit.parent
    return _json(listed)


def _preupload(call: Call, kind: str, repo_id: str, revision: str) -> Reply:
    call.needs_token()
    files = call.repo(kind, repo_id).commit(revision).files
    answers: list[dict[str, Any]] = []
    for file in call.json()["files"]:
        path = file["path"]
        mode = "lfs" if is_large(path, file["size"]) else "regular"
        known = files.get(path)
        oid = None if known is None else known.sha256 if known.large else known.sha1
        answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, **({"oid": oid} if oid else {})})
    return _json({"files": answers})


def _commit(call: Call, kind: str, repo_id: str, revision: str) -> Reply:
    call.needs_token()
    repo = call.repo(kind, repo_id)
    head = repo.commit(revision)
    files = dict(head.files)
    message = ""
    for line in call.body.splitlines():
        operation = json.loads(line)
        value = operation["value"]
        match operation["key"]:
            case "header":
                message = value["summary"]
                if value.get("parentCommit") not in (None, head.oid):
                    raise HubError(412, "", "A commit has happened since. Please refresh and try again.")
            case "file":
                files[value["path"]] = call.store.blob(call.store.keep(base64.b64decode(value["content"])), large=False)
            case "lfsFile":
                if not call.store.has(value["oid"]):
                    raise HubError(400, "", f"LFS object {value['oid']} was not uploaded")
                files[value["path"]] = call.store.blob(value["oid"], large=True)
            case "deletedFile":
                files.pop(value["path"], None)
            case "deletedFolder":
                files = {
                    path: blob for path, blob in files.items() if not path.startswith(f"{value['path'].rstrip('/')}/")
                }
            case key:
                raise HubError(400, "", f"unknown operation {key}")
    target, url = revision, None
    if call.query.get("create_pr"):
        number = 1 + sum(name.startswith("refs/pr/") for name in repo.refs)
        target = f"refs/pr/{number}"
        url = f"{call.url}/datasets/{repo_id}/discussions/{number}"
    made = repo.add(target, message, files, head.oid)
    commit_url = f"{call.url}/{'' if kind == 'model' else f'{kind}s/'}{repo_id}/commit/{made.oid}"
    return _json({"success": True, "commitOid": made.oid, "commitUrl": commit_url, "pullRequestUrl": url})


def _lfs_batch(call: Call, kind: str, repo_id: str) -> Reply:
    call.needs_token()
    call.repo(kind, repo_id)
    objects: list[dict[str, Any]] = []
    for wanted in call.json()["objects"]:
        answer = {"oid": wanted["oid"], "size": wanted["size"]}
        if not call.store.has(wanted["oid"]):
            answer["actions"] = {"upload": {"href": f"{call.url}/lfs/{wanted['oid']}", "header": {}}}
        objects.append(answer)
    return _json({"transfer": "basic", "objects": objects})


def _lfs_upload(call: Call, oid: str) -> Reply:
    if call.store.keep(call.body) != oid:
        raise HubError(400, "", "the content is not that of its hash")
    return Reply()


def _resolve(call: Call, kind: str, repo_id: str, revision: str, path: str) -> Reply:
    repo = call.repo(kind, repo_id)
    commit = repo.commit(revision)
    blob = repo.file(revision, path)
    return Reply(
        body=call.store.content(blob.sha256),
        headers={
            "ETag": f'"{blob.sha256 if blob.large else blob.sha1}"',
            "X-Repo-Commit": commit.oid,
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        },
    )


_NAME = r"([\w.-]+/[\w.-]+)"
_KIND = r"(model|dataset|space)s"
_FILES = rf"/(?:(dataset|space)s/)?{_NAME}"

# Revisions with a slash come quoted, so the pattern of a revision has none.
_ROUTES: list[tuple[str, str, Callable[..., Reply]]] = [
    ("GET", r"/api/whoami-v2", _whoami),
    ("POST", r"/api/repos/create", _create),
    ("DELETE", r"/api/repos/delete", _delete),
    ("POST", r"/api/validate-yaml", _validate_yaml),
    ("GET", rf"/api/{_KIND}/{_NAME}", _info),
    ("GET", rf"/api/{_KIND}/{_NAME}/revision/([^/]+)", _info),
    ("GET", rf"/api/{_KIND}/{_NAME}/tree/([^/]+)", _tree),
    ("GET", rf"/api/{_KIND}/{_NAME}/tree/([^/]+)/(.+)", _tree),
    ("POST", rf"/api/{_KIND}/{_NAME}/paths-info/([^/]+)", _paths_info),
    ("GET", rf"/api/{_KIND}/{_NAME}/refs", _refs),
    ("POST", rf"/api/{_KIND}/{_NAME}/branch/([^/]+)", _branch),
    ("GET", rf"/api/{_KIND}/{_NAME}/commits/([^/]+)", _commits),
    ("POST", rf"/api/{_KIND}/{_NAME}/preupload/([^/]+)", _preupload),
    ("POST", rf"/api/{_KIND}/{_NAME}/commit/([^/]+)", _commit),
    ("POST", rf"{_FILES}\.git/info/lfs/objects/batch", _lfs_batch),
    ("PUT", r"/lfs/([0-9a-f]{64})", _lfs_upload),
    ("GET", rf"{_FILES}/(?:resolve|raw)/([^/]+)/(.+)", _resolve),
]


def answer(call: Call, path: str) -> Reply:
    """The reply to a request."""
    method = "GET" if call.method == "HEAD" else call.method
    for verb, pattern, function in _ROUTES:
        found = re.fullmatch(pattern, path) if verb == method else None
        if found:
            parts = [None if part is None else unquote(part) for part in found.groups()]
            if pattern.startswith(_FILES):
                parts[0] = parts[0] or "model"
            with call.store.lock:
                return function(call, *parts)
    raise HubError(404, "", f"no such page: {call.method} {path}")
