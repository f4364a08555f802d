"""What this machine has for step processes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup/memory.max")
_MEMINFO = Path("/proc/meminfo")
_DEVICES = Path("/dev")


def cpus() -> int:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory(*, meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int:
    """Bytes: of the machine, or what a container may use; 0 where neither is told."""
    limits = [total for total in (_total(meminfo), _limit(cgroup)) if total is not None]
    return min(limits, default=0)


def gpus(environment: Mapping[str, str], *, devices: Path = _DEVICES) -> tuple[str, ...]:
    """The gpus that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(gpu.strip() for gpu in visible.split(",") if gpu.strip())
    numbers = [entry.name.removeprefix("nvidia") for entry in devices.glob("nvidia[0-9]*")]
    return tuple(str(place) for place, _ in enumerate(sorted(number for number in numbers if number.isdecimal())))


def _total(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    sizes = [line.split()[1] for line in lines if line.startswith("MemTotal:")]
    return int(sizes[0]) * 1024 if sizes else None


def _limit(cgroup: Path) -> int | None:
    try:
        text = cgroup.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
