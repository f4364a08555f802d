"""Repositories as the Hub keeps them: commits of files, branches that name them, content by its hash."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

LARGE_SUFFIXES = (".parquet", ".arrow", ".bin", ".png", ".jpg", ".zip", ".gz", ".npz", ".gguf")
LARGE_BYTES = 10 * 1024 * 1024


class HubError(Exception):
    """What the Hub answers instead: a status, and the code by which clients know the case."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Blob:
    """A file's content."""

    sha256: str
    sha1: str
    size: int
    large: bool


@dataclass(frozen=True)
class Commit:
    """A state of a repository."""

    oid: str
    message: str
    files: Mapping[str, Blob]
    parent: str | None = None


@dataclass
class Repo:
    """One repository; `refs` names the tip of each branch and pull request."""

    kind: str
    id: str
    private: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, revision: str) -> Commit:
        """The commit that a branch, a pull request or a hash names."""
        oid = self.refs.get(revision, revision)
        if oid not in self.commits:
            raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return self.commits[oid]

    def file(self, revision: str, path: str) -> Blob:
        """A file of a commit."""
        files = self.commit(revision).files
        if path not in files:
            raise HubError(404, "EntryNotFound", f"Entry not found: {path}")
        return files[path]

    def add(self, revision: str, message: str, files: Mapping[str, Blob], parent: str | None) -> Commit:
        """Makes the branch's next commit."""
        text = "\n".join(
            [str(len(self.commits)), parent or "", message, *(f"{p} {b.sha256}" for p, b in files.items())]
        )
        commit = Commit(hashlib.sha1(text.encode()).hexdigest(), message, dict(sorted(files.items())), parent)
        self.commits[commit.oid] = commit
        self.refs[revision] = commit.oid
        return commit


class Store:
    """All repositories; content lies below `directory`, by its SHA-256."""

    def __init__(self, directory: Path) -> None:
        self.lock = threading.RLock()
        self._repos: dict[tuple[str, str], Repo] = {}
        self._blobs = directory / "blobs"
        self._blobs.mkdir(parents=True, exist_ok=True)

    def create(self, kind: str, repo_id: str, *, private: bool = False) -> Repo:
        """A new repository with one commit that is empty but for its attributes."""
        if (kind, repo_id) in self._repos:
            raise HubError(409, "", "You already created this repo")
        repo = self._repos[kind, repo_id] = Repo(kind, repo_id, private)
        attributes = self.keep("".join(f"*{suffix} filter=lfs\n" for suffix in LARGE_SUFFIXES).encode())
        repo.add("main", "initial commit", {".gitattributes": self.blob(attributes, large=False)}, None)
        return repo

    def repo(self, kind: str, repo_id: str, *, allowed: bool) -> Repo:
        """A repository; a private one is not there for others."""
        repo = self._repos.get((kind, repo_id))
        if repo is None or (repo.private and not allowed):
            raise HubError(404 if allowed else 401, "RepoNotFound", "Repository not found")
        return repo

    def delete(self, kind: str, repo_id: str) -> None:
        """Forgets a repository."""
        self.repo(kind, repo_id, allowed=True)
        del self._repos[kind, repo_id]

    def keep(self, content: bytes) -> str:
        """Keeps content and gives its SHA-256."""
        sha256 = hashlib.sha256(content).hexdigest()
        (self._blobs / sha256).write_bytes(content)
        return sha256

    def has(self, sha256: str) -> bool:
        """Whether the content of this hash is here."""
        return (self._blobs / sha256).is_file()

    def content(self, sha256: str) -> bytes:
        """The content of this hash."""
        return (self._blobs / sha256).read_bytes()

    def blob(self, sha256: str, *, large: bool) -> Blob:
        """The content of this hash as a file."""
        content = self.content(sha256)
        sha1 = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return Blob(sha256, sha1, len(content), large)


def is_large(path: str, size: int) -> bool:
    """Whether the Hub stores a file outside of git."""
    return path.endswith(LARGE_SUFFIXES) or size > LARGE_BYTES
