"""Which kind of file system a folder lies on: SQLite's shared index must not be used over a network."""

from __future__ import annotations

from pathlib import Path

_NETWORK = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2",
        "orangefs", "panfs", "smb2", "smb3", "smbfs", "virtiofs", "wekafs",
    }
)  # fmt: skip


def on_network(folder: Path, mounts: Path = Path("/proc/mounts")) -> bool:
    """Whether the folder lies on a network file system, or on one in user space, which may be one."""
    kind = _kind_of_mount(folder.resolve(), mounts)
    return kind in _NETWORK or kind.startswith("fuse")


def _kind_of_mount(folder: Path, mounts: Path) -> str:
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return ""
    best, kind = -1, ""
    for line in lines:
        parts = line.split(" ")
        if len(parts) < 3:
            continue
        point = Path(parts[1].encode().decode("unicode_escape"))
        # Of two mounts on the same point the later one is seen.
        if folder.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), parts[2]
    return kind
