"""A Hugging Face Hub on loopback: real HTTP, good enough for `huggingface_hub` and `datasets` themselves.

    with running_hub(tmp_path) as hub:
        hub.add_dataset("somebody/numbers", {"test": [{"n": 1}, {"n": 2}]})
        subprocess.run([sys.executable, "script.py"], env={**os.environ, **hub.environment})
        hub.read("somebody/made", "README.md")

The libraries read `HF_ENDPOINT` when they are imported, so what talks to it runs in a process of its own.
"""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.servers.hub_api import TOKEN, USER, Call, Reply, answer
from tests.servers.hub_store import HubError, Store, is_large

__all__ = ["MINI", "TOKEN", "USER", "Hub", "Request", "running_hub"]

MINI = "distilabel-internal-testing/instruction-dataset-mini"


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


class _Handler(BaseHTTPRequestHandler):
    """Finds the function of a request and writes its reply."""

    hub: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def reply(self) -> None:
        url = urlsplit(self.path)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        call = Call(self.hub.url, self.hub.store, self.command, parse_qs(url.query), self._body(), token)
        try:
            reply = answer(call, url.path)
        except HubError as error:
            body = json.dumps({"error": str(error)}).encode()
            headers = {"Content-Type": "application/json", "X-Error-Message": str(error)}
            reply = Reply(error.status, body, {**headers, **({"X-Error-Code": error.code} if error.code else {})})
        reply = self._ranged(reply)
        self.hub.requests.append(Request(self.command, self.path, reply.status, token))
        self.send_response(reply.status)
        for name, value in (reply.headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = reply  # the names that http.server calls

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _ranged(self, reply: Reply) -> Reply:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not wanted or reply.status != 200:
            return reply
        start, size = int(wanted[1]), len(reply.body)
        end = min(int(wanted[2] or size - 1), size - 1)
        headers = {**(reply.headers or {}), "Content-Range": f"bytes {start}-{end}/{size}"}
        return Reply(206, reply.body[start : end + 1], headers)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: `Hub.requests` has it all."""
