"""A Hugging Face Hub on loopback: real HTTP, good enough for `huggingface_hub` and `datasets` themselves.

    with running_hub(tmp_path) as hub:
        hub.add_dataset("somebody/numbers", {"test": [{"n": 1}, {"n": 2}]})
        subprocess.run([sys.executable, "script.py"], env={**os.environ, **hub.environment})
        hub.read("somebody/made", "README.md")

The libraries read `HF_ENDPOINT` when they are imported, so what talks to it runs in a process of its own.
"""

from __future__ import annotations

import base64
import io
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from tests.servers.hub_store import Blob, Commit, HubError, Repo, Store, is_large

TOKEN = "hf_a_token_for_tests"
USER = "tester"
MINI = "distilabel-internal-testing/instruction-dataset-mini"
_DATE = "2026-01-01T00:00:00.000Z"


@dataclass(frozen=True)
class Request:
    """One request that was answered."""

    method: str
    path: str
    status: int
    token: str | None


class Hub:
    """A running Hub."""

    def __init__(self, store: Store, directory: Path) -> None:
        self.store = store
        self.url = ""
        self.requests: list[Request] = []
        self._directory = directory

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find it, logged in, with caches of its own."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(self._directory / "home"),
            "HF_HUB_OFFLINE": "0",
            "HF_DATASETS_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }

    def add_files(self, repo_id: str, files: Mapping[str, bytes], *, kind: str = "dataset") -> str:
        """Commits files to a repository, made where there is none; gives the commit's hash."""
        with self.store.lock:
            try:
                repo = self.store.repo(kind, repo_id, allowed=True)
            except HubError:
                repo = self.store.create(kind, repo_id)
            head = repo.commit("main")
            added = {
                path: self.store.blob(self.store.keep(content), large=is_large(path, len(content)))
                for path, content in files.items()
            }
            return repo.add("main", "Add files", {**head.files, **added}, head.oid).oid

    def add_folder(self, repo_id: str, folder: Path) -> str:
        """Commits a local folder to a dataset repository."""
        paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return self.add_files(repo_id, {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths})

    def add_dataset(self, repo_id: str, splits: Mapping[str, list[dict[str, Any]]]) -> str:
        """Commits rows as a dataset, each split one Parquet file with features, as `push_to_hub` lays it out."""
        from datasets import Dataset, DatasetInfo, Features
        from datasets.splits import SplitDict, SplitInfo

        files: dict[str, bytes] = {}
        info = DatasetInfo(splits=SplitDict())
        for split, rows in splits.items():
            dataset = Dataset.from_list(rows)
            buffer = io.BytesIO()
            dataset.to_parquet(buffer)
            files[f"data/{split}-00000-of-00001.parquet"] = buffer.getvalue()
            info.features = Features(dataset.features)
            info.splits.add(SplitInfo(split, num_examples=len(rows), num_bytes=len(buffer.getvalue())))
        info.download_size = info.dataset_size = sum(map(len, files.values()))
        paths = [{"split": split, "path": f"data/{split}-*"} for split in splits]
        card = {"configs": [{"config_name": "default", "data_files": paths}], "dataset_info": info._to_yaml_dict()}
        files["README.md"] = f"---\n{yaml.safe_dump(card)}---\n".encode()
        return self.add_files(repo_id, files)

    def add_mini(self) -> str:
        """The dataset of the guide: three rows of `prompt`, `completion` and `meta` in the split `test`."""
        rows = [
            {
                "prompt": f"What is {n} + {n}?",
                "completion": str(n + n),
                "meta": {"category": "Sums", "motivation_app": None},
            }
            for n in range(1, 4)
        ]
        return self.add_dataset(MINI, {"test": rows})

    def files(self, repo_id: str, *, revision: str = "main") -> list[str]:
        """The paths in a dataset repository."""
        return list(self.store.repo("dataset", repo_id, allowed=True).commit(revision).files)

    def read(self, repo_id: str, path: str, *, revision: str = "main") -> bytes:
        """A file of a dataset repository."""
        return self.store.content(self.store.repo("dataset", repo_id, allowed=True).file(revision, path).sha256)

    def messages(self, repo_id: str) -> list[str]:
        """The messages of a dataset repository's commits, oldest first."""
        return [commit.message for commit in self.store.repo("dataset", repo_id, allowed=True).commits.values()]


@contextmanager
def running_hub(directory: Path) -> Iterator[Hub]:
    """Runs a Hub until the block ends; what it keeps lies below `directory`."""
    hub = Hub(Store(directory), directory)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://localhost:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="hub")
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class _Call:
    """A request on its way."""

    hub: Hub
    method: str
    query: Mapping[str, list[str]]
    body: bytes
    token: str | None

    @property
    def store(self) -> Store:
        return self.hub.store

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
class _Reply:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] | None = None


def _json(value: Any, status: int = 200) -> _Reply:
    return _Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def _whoami(call: _Call) -> _Reply:
    call.needs_token()
    access = {"role": "write", "displayName": "tests"}
    return _json(
        {"type": "user", "id": "1", "name": USER, "fullname": USER, "orgs": [], "auth": {"accessToken": access}}
    )


def _create(call: _Call) -> _Reply:
    call.needs_token()
    wanted = call.json()
    kind = wanted.get("type") or "model"
    repo_id = f"{wanted.get('organization') or USER}/{wanted['name']}"
    url = f"{call.hub.url}/{'' if kind == 'model' else f'{kind}s/'}{repo_id}"
    try:
        call.store.create(kind, repo_id, private=wanted.get("private") or wanted.get("visibility") == "private")
    except HubError as error:
        return _json({"error": str(error), "url": url, "name": repo_id}, error.status)
    return _json({"url": url, "name": repo_id, "id": repo_id})


def _delete(call: _Call) -> _Reply:
    call.needs_token()
    wanted = call.json()
    call.store.delete(wanted.get("type") or "model", f"{wanted.get('organization') or USER}/{wanted['name']}")
    return _json({})


def _validate_yaml(call: _Call) -> _Reply:
    content = call.json()["content"]
    header = re.match(r"---\r?\n(.*?)\r?\n---", content, re.DOTALL)
    try:
        yaml.safe_load(header[1] if header else "")
    except yaml.YAMLError as error:
        return _json({"errors": [{"message": str(error)}], "warnings": []}, 400)
    return _json({"errors": [], "warnings": []})


def _info(call: _Call, kind: str, repo_id: str, revision: str = "main") -> _Reply:
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


def _tree(call: _Call, kind: str, repo_id: str, revision: str, path: str = "") -> _Reply:
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


def _paths_info(call: _Call, kind: str, repo_id: str, revision: str) -> _Reply:
    files = call.repo(kind, repo_id).commit(revision).files
    wanted = parse_qs(call.body.decode()).get("paths", [])
    found = [_entry(path, files[path]) for path in wanted if path in files]
    folders = [path for path in wanted if path not in files and any(name.startswith(f"{path}/") for name in files)]
    return _json([*found, *map(_folder, folders)])


def _refs(call: _Call, kind: str, repo_id: str) -> _Reply:
    refs = call.repo(kind, repo_id).refs
    branches = [
        {"name": name, "ref": f"refs/heads/{name}", "targetCommit": oid}
        for name, oid in refs.items()
        if not name.startswith("refs/pr/")
    ]
    return _json({"branches": branches, "tags": [], "converts": []})


def _branch(call: _Call, kind: str, repo_id: str, name: str) -> _Reply:
    call.needs_token()
    repo = call.repo(kind, repo_id)
    if name in repo.refs:
        raise HubError(409, "", "Reference already exists")
    repo.refs[name] = repo.commit(call.json().get("startingPoint") or "main").oid
    return _json({})


def _commits(call: _Call, kind: str, repo_id: str, revision: str) -> _Reply:
    repo = call.repo(kind, repo_id)
    listed: list[dict[str, Any]] = []
    oid: str | None = repo.commit(revision).oid
    while oid is not None:
        commit = repo.commits[oid]
        listed.append({"id": oid, "title": commit.message, "message": "", "date": _DATE, "authors": []})
        oid = commit.parent
    return _json(listed)


def _preupload(call: _Call, kind: str, repo_id: str, revision: str) -> _Reply:
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


def _commit(call: _Call, kind: str, repo_id: str, revision: str) -> _Reply:
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
        url = f"{call.hub.url}/datasets/{repo_id}/discussions/{number}"
    made = repo.add(target, message, files, head.oid)
    commit_url = f"{call.hub.url}/{'' if kind == 'model' else f'{kind}s/'}{repo_id}/commit/{made.oid}"
    return _json({"success": True, "commitOid": made.oid, "commitUrl": commit_url, "pullRequestUrl": url})


def _lfs_batch(call: _Call, kind: str, repo_id: str) -> _Reply:
    call.needs_token()
    call.repo(kind, repo_id)
    objects: list[dict[str, Any]] = []
    for wanted in call.json()["objects"]:
        answer = {"oid": wanted["oid"], "size": wanted["size"]}
        if not call.store.has(wanted["oid"]):
            answer["actions"] = {"upload": {"href": f"{call.hub.url}/lfs/{wanted['oid']}", "header": {}}}
        objects.append(answer)
    return _json({"transfer": "basic", "objects": objects})


def _lfs_upload(call: _Call, oid: str) -> _Reply:
    if call.store.keep(call.body) != oid:
        raise HubError(400, "", "the content is not that of its hash")
    return _Reply()


def _resolve(call: _Call, kind: str, repo_id: str, revision: str, path: str) -> _Reply:
    repo = call.repo(kind, repo_id)
    commit = repo.commit(revision)
    blob = repo.file(revision, path)
    return _Reply(
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
_ROUTES: list[tuple[str, str, Callable[..., _Reply]]] = [
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


class _Handler(BaseHTTPRequestHandler):
    """Finds the function of a request and writes its reply."""

    hub: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self) -> None:
        url = urlsplit(self.path)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        call = _Call(self.hub, self.command, parse_qs(url.query), self._body(), token)
        try:
            reply = self._routed(call, url.path)
        except HubError as error:
            body = json.dumps({"error": str(error)}).encode()
            headers = {"Content-Type": "application/json", "X-Error-Message": str(error)}
            reply = _Reply(error.status, body, {**headers, **({"X-Error-Code": error.code} if error.code else {})})
        reply = self._ranged(reply)
        self.hub.requests.append(Request(self.command, self.path, reply.status, token))
        self.send_response(reply.status)
        for name, value in (reply.headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer  # the names that http.server calls

    def _routed(self, call: _Call, path: str) -> _Reply:
        method = "GET" if call.method == "HEAD" else call.method
        for verb, pattern, function in _ROUTES:
            found = re.fullmatch(pattern, path) if verb == method else None
            if found:
                parts = [None if part is None else unquote(part) for part in found.groups()]
                if pattern.startswith(_FILES):
                    parts[0] = parts[0] or "model"
                with self.hub.store.lock:
                    return function(call, *parts)
        raise HubError(404, "", f"no such page: {call.method} {path}")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _ranged(self, reply: _Reply) -> _Reply:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not wanted or reply.status != 200:
            return reply
        start, size = int(wanted[1]), len(reply.body)
        end = min(int(wanted[2] or size - 1), size - 1)
        headers = {**(reply.headers or {}), "Content-Range": f"bytes {start}-{end}/{size}"}
        return _Reply(206, reply.body[start : end + 1], headers)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: `Hub.requests` has it all."""
