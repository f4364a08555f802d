"""Which GPUs of this machine a process takes, so that two models do not meet on one.

A claim is a lock on a file: it is gone with the process that held it, however that ended.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from distilmq.errors import DistilmqUserError

DRIVER = Path("/proc/driver/nvidia/gpus")
"""Has a folder for each GPU."""
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class Claim:
    """GPUs that this process holds until `release`."""

    devices: tuple[str, ...]
    _files: tuple[TextIO, ...]

    def release(self) -> None:
        """Others may take them."""
        for file in self._files:
            file.close()


def visible_devices(driver: Path = DRIVER) -> list[str]:
    """The GPUs that this process may use: those that `CUDA_VISIBLE_DEVICES` names, else all of the machine."""
    named = os.environ.get(VISIBLE)
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    return [str(index) for index, _ in enumerate(sorted(driver.iterdir()))] if driver.is_dir() else []


def claim(devices: Sequence[str], wanted: int, *, who: str, folder: Path | None = None) -> Claim:
    """Takes so many of these GPUs that no other process has taken.

    Args:
        devices: to choose from, in order.
        wanted: how many.
        who: is named in the error.
        folder: of the lock files; the user's own in the system's temporary folder when it is not given.

    Raises:
        DistilmqUserError: not so many of them are free.
    """
    folder = folder or Path(tempfile.gettempdir()) / f"distilmq-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    taken: dict[str, TextIO] = {}
    for device in devices:
        if len(taken) < wanted and (file := _locked(folder / f"{device.replace('/', '_')}.lock")) is not None:
            taken[device] = file
    if len(taken) < wanted:
        Claim((), tuple(taken.values())).release()
        raise DistilmqUserError(
            f"`{who}` needs {wanted} GPU{'s' if wanted > 1 else ''}, and {len(taken)} of {list(devices)} are not taken"
            " by other models. Give it fewer replicas, name the devices with `cuda_devices`, or share them with"
            " `disable_cuda_device_placement=True`."
        )
    return Claim(tuple(taken), tuple(taken.values()))


def _locked(path: Path) -> TextIO | None:
    """The file, locked by this process; None where another holds the lock."""
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
