"""On a network file system the ledger keeps no write-ahead log."""

from __future__ import annotations

from pathlib import Path

import pytest

from distilmq_broker.adapters.file_systems import on_network

MOUNTS = r"""/dev/vda / ext4 rw 0 0
server:/home /mnt/home nfs4 rw 0 0
/dev/vdb /mnt/home/local\040disk xfs rw 0 0
sshfs /mnt/remote fuse.sshfs rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/var/lib", False),
        ("/mnt", False),
        ("/mnt/home", True),
        ("/mnt/home/me/runs", True),
        ("/mnt/home/local disk/runs", False),
        ("/mnt/homes", False),
        ("/mnt/remote/x", True),
    ],
)
def test_the_innermost_mount_decides(tmp_path: Path, folder: str, expected: bool) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)

    assert on_network(Path(folder), mounts) is expected
