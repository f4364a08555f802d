"""What has happened to runs and workers, as the scaler sees it."""

from __future__ import annotations

from dataclasses import dataclass

from distilmq.protocol.messages.slots import HostShown, NeedShown


@dataclass(frozen=True, slots=True)
class DemandSeen:
    """What the broker said: all needs, all hosts."""

    needs: tuple[NeedShown, ...] = ()
    hosts: tuple[HostShown, ...] = ()


@dataclass(frozen=True, slots=True)
class LaunchFailed:
    """A worker could not be started, or ended before it joined."""

    name: str


Event = DemandSeen | LaunchFailed
