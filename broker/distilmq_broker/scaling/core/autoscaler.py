"""How many workers there shall be, and of what kind: launched while batches wait, drained when nothing is to be done.

Laws: never more workers than the most, those that are leaving or have not joined counted in; a drain leaves no fewer
that have joined than the least, but where the least is the most, and one makes room for a worker of another kind; no
worker with a process is told to leave, but to make room for a need that no worker is there for, once it has had its
turn; a need for which a kind exists that does join, however long that takes, is not left for ever without a worker
that could take it (whose turn it is there, the broker decides); workers of others are never told to leave.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass

from distilmq.protocol.messages.slots import HostShown, Need, NeedShown
from distilmq_broker.scaling.core.commands import Cancel, Command, Drain, Launch, TellUnserved
from distilmq_broker.scaling.core.events import DemandSeen, Event, LaunchFailed
from distilmq_broker.scaling.core.kinds import Kind, KindFor
from distilmq_broker.scaling.core.policy import ScalingPolicy
from distilmq_broker.scaling.core.spots import Spot, Spots, waiting

REPEAT = 5.0
"""Seconds after which a worker that does not leave yet is told again."""
PATIENCE = 2.0
"""A worker is waited for so many times as long as others of its kind took to join."""
DOUBLINGS = 6
"""Where none of its kind has joined yet, each further one is waited for twice as long as the one before, first a turn;
after so many it begins anew, as it may never join."""


@dataclass(frozen=True, slots=True)
class _Launched:
    """A worker that has not joined yet."""

    name: str
    kind: Kind
    at: float
    need: tuple[str, str] | None = None
    """Run and need that it was launched for; None where it is one of the least."""

    def is_it(self, worker: str) -> bool:
        return worker == self.name or worker.startswith(f"{self.name}-")


@dataclass(frozen=True, slots=True)
class _Vain:
    """Workers of a kind that could not load a step."""

    workers: frozenset[str] = frozenset()
    until: float = 0.0
    """When the next one may be tried."""

    def after(self, refused: Set[str], policy: ScalingPolicy, now: float) -> _Vain:
        """With more of them, perhaps."""
        workers = self.workers | refused
        return self if workers == self.workers else _Vain(workers, now + policy.backoff(len(workers)))


class Autoscaler:
    """Decides everything and does nothing itself.

    Args:
        policy: the operator's.
        kind_for: what the launcher could start.
        new_name: makes the name of the next worker.
    """

    def __init__(self, policy: ScalingPolicy, *, kind_for: KindFor, new_name: Callable[[], str]) -> None:
        self._policy = policy
        self._kind_for = kind_for
        self._new_name = new_name
        self._launched: dict[str, _Launched] = {}
        """Not joined, by name."""
        self._ours: dict[str, HostShown] = {}
        """Joined, by name."""
        self._joined_at: dict[str, float] = {}
        """When these were seen first."""
        self._told: dict[str, float] = {}
        """Workers that were told to leave and are there still, and when they were told last."""
        self._unused_since: dict[str, float] = {}
        """Workers and launches that nothing needs, and since when."""
        self._starving_since: dict[tuple[str, str], float] = {}
        """Run and need that has work and no process, and since when."""
        self._helpless_since: dict[tuple[str, str], float] = {}
        """Those of them for which no worker is there that could take a process, and since when, or since when it was
        tried last."""
        self._real: dict[str, Kind] = {}
        """What a worker of some kind turned out to be: a machine may have less than was thought."""
        self._launched_as: dict[str, str] = {}
        """Those that have joined and are there, and the key of the kind that they were launched as."""
        self._vain: dict[tuple[str, str, str], _Vain] = {}
        """Run, need and key of a kind of which some could not load it."""
        self._joining: dict[str, float] = {}
        """Seconds that a worker of some kind took to join, when one last did."""
        self._given_up: Counter[str] = Counter()
        """How many of some kind were given up for others, since one last joined."""
        self._failures = 0
        self._launch_at = 0.0
        """Before, nothing is launched."""
        self._unserved: set[tuple[str, str]] = set()

    @property
    def awaited(self) -> tuple[str, ...]:
        """The workers that were launched and have not joined."""
        return tuple(self._launched)

    def handle(self, event: Event, now: float) -> list[Command]:
        """What follows from an event."""
        match event:
            case LaunchFailed(name):
                if (launched := self._launched.get(name)) is not None:
                    self._failed(launched, now)
                return []
            case DemandSeen(needs, hosts):
                late = self._look_at_hosts(hosts, now)
                self._look_at_refusals(needs, now)
                self._look_at_needs(needs, hosts, now)
                return [*late, *self._decide(needs, hosts, now)]

    # ---------------------------------------------------------------- what is there

    def _look_at_hosts(self, hosts: Iterable[HostShown], now: float) -> list[Cancel]:
        """Notes who has joined; who should have by now is not waited for any longer."""
        late: list[Cancel] = []
        self._ours = {host.worker: host for host in hosts if host.worker.startswith(f"{self._policy.prefix}-")}
        for launched in list(self._launched.values()):
            joined = next((host for host in self._ours.values() if launched.is_it(host.worker)), None)
            if joined is not None:
                del self._launched[launched.name]
                key = _key(launched.kind)
                self._real[key], self._joining[key] = _kind_of(joined), now - launched.at
                del self._given_up[key]
                self._launched_as[joined.worker] = key
                self._failures = 0
            elif self._policy.join_within is not None and now >= launched.at + self._policy.join_within:
                self._failed(launched, now)
                late.append(Cancel(launched.name))
        self._launched_as = {worker: key for worker, key in self._launched_as.items() if worker in self._ours}
        self._told = {worker: at for worker, at in self._told.items() if worker in self._ours}
        self._joined_at = {worker: self._joined_at.get(worker, now) for worker in self._ours}
        return late

    def _look_at_needs(self, needs: Iterable[NeedShown], hosts: Iterable[HostShown], now: float) -> None:
        staying = [host for host in hosts if self._stays(host)]
        starving = {_id(shown): shown for shown in needs if _starves(shown)}
        helpless = [key for key, shown in starving.items() if not any(_is_of_use(host, shown) for host in staying)]
        self._starving_since = {key: self._starving_since.get(key, now) for key in starving}
        self._helpless_since = {key: self._helpless_since.get(key, now) for key in helpless}

    def _look_at_refusals(self, needs: Iterable[NeedShown], now: float) -> None:
        """Where what was launched cannot load a step, others of its kind may not, either: they are tried ever later."""
        vain: dict[tuple[str, str, str], _Vain] = {}
        for shown in needs:
            refused = {worker: kind for worker, kind in self._launched_as.items() if worker in shown.refused_by}
            for kind in sorted({*refused.values(), *(key[2] for key in self._vain if key[:2] == _id(shown))}):
                key = (*_id(shown), kind)
                known = self._vain.get(key, _Vain())
                vain[key] = known.after({worker for worker, of in refused.items() if of == kind}, self._policy, now)
        self._vain = vain

    def _failed(self, launched: _Launched, now: float) -> None:
        self._give_up(launched, now)
        self._failures += 1
        self._launch_at = max(self._launch_at, now + self._policy.backoff(self._failures))

    def _give_up(self, launched: _Launched, now: float) -> None:
        """What has been tried in vain goes to the end of the line: what could be served is not behind it for ever."""
        del self._launched[launched.name]
        if launched.need in self._helpless_since:
            self._helpless_since[launched.need] = now

    # ---------------------------------------------------------------- decisions

    def _decide(self, needs: Iterable[NeedShown], hosts: Iterable[HostShown], now: float) -> list[Command]:
        spots = Spots(Spot.of(host) for host in hosts if self._stays(host))
        for launched in self._launched.values():
            spots.add(Spot.coming(launched.name, self._as_it_is(launched.kind)))
        commands = [*self._serve(needs, spots, now), *self._keep_least(spots, now)]
        if commands:
            self._launch_at = max(self._launch_at, now + self._policy.cooldown)
        self._look_at_use(spots.used, now)
        return [*commands, *self._tell_unserved(needs), *self._let_go(now), *self._tell_again(now)]

    def _serve(self, needs: Iterable[NeedShown], spots: Spots, now: float) -> Iterator[Command]:
        """Launches for what fits nowhere, those that have waited longest first."""
        in_turn = sorted(needs, key=lambda shown: self._turn(shown, now))
        # All are placed first: what is coming for one that is not next is of use, too.
        left = [shown for shown in waiting(in_turn, eager=self._policy.eager) if not spots.place(shown)]
        for shown in left:
            if spots.place(shown):
                continue
            kind = self._kind(shown)
            if kind is None or not self._may_try(shown, kind, now):
                continue
            if self._full:
                yield from self._make_room(shown, spots, now)
            # Room that is there at once is for who made it, not for who comes next.
            if not self._full and now >= self._launch_at:
                yield self._launch(kind, spots, now, _id(shown))
                spots.place(shown)

    def _keep_least(self, spots: Spots, now: float) -> Iterator[Launch]:
        while self._staying < self._policy.least and not self._full and now >= self._launch_at:
            kind = self._kind_for(None)
            if kind is None:
                return
            yield self._launch(kind, spots, now)

    def _launch(self, kind: Kind, spots: Spots, now: float, need: tuple[str, str] | None = None) -> Launch:
        name = self._new_name()
        self._launched[name] = _Launched(name, kind, now, need)
        spots.add(Spot.coming(name, self._as_it_is(kind)))
        return Launch(name, kind)

    def _make_room(self, shown: NeedShown, spots: Spots, now: float) -> Iterator[Cancel | Drain]:
        """Has a worker leave that is of no use to a need for which none is there or coming.

        What has something to do stays until it has had its turn, and the need has waited for one. Where there is a
        worker of use, the broker sees to it that the need has its turn there.
        """
        since = self._helpless_since.get(_id(shown))
        if since is None or self._leaving or self._is_coming_for(shown, now):
            return
        turn = self._policy.turn
        for launched in self._launched.values():
            is_late = now >= max(since + turn, launched.at + self._patience(launched.kind))
            if launched.name not in spots.used or is_late:
                self._give_up(launched, now)
                self._given_up[_key(launched.kind)] += is_late
                yield Cancel(launched.name)
                return
        if self._launched and len(self._stayers) <= self._policy.least:
            # Who is coming is one of the least when it has come: it may never.
            return
        unused = {host.worker for host in self._stayers if not host.processes} - spots.used
        had_turn = {worker for worker, at in self._joined_at.items() if now >= max(since, at) + turn}
        useless = [host for host in self._stayers if host.worker in unused | had_turn]
        if useless:
            yield self._drain(min(useless, key=lambda host: len(host.processes)), now)

    def _look_at_use(self, used: set[str], now: float) -> None:
        unused = [host.worker for host in self._stayers if not host.processes and host.worker not in used]
        unused += [name for name in self._launched if name not in used]
        self._unused_since = {name: self._unused_since.get(name, now) for name in unused}

    def _let_go(self, now: float) -> Iterator[Cancel | Drain]:
        """What nothing has needed for long, those first that have not even joined."""
        overdue = [name for name, since in self._unused_since.items() if now >= since + self._policy.idle]
        for name in sorted(overdue, key=lambda name: (name in self._ours, self._unused_since[name])):
            if self._is_of_the_least(name):
                continue
            del self._unused_since[name]
            if name in self._ours:
                yield self._drain(self._ours[name], now)
            else:
                del self._launched[name]
                yield Cancel(name)

    def _drain(self, host: HostShown, now: float) -> Drain:
        self._told[host.worker] = now
        return Drain(host.worker)

    def _tell_again(self, now: float) -> Iterator[Drain]:
        for worker, at in self._told.items():
            if not self._ours[worker].leaving and now >= at + REPEAT:
                self._told[worker] = now
                yield Drain(worker)

    def _tell_unserved(self, needs: Iterable[NeedShown]) -> Iterator[TellUnserved]:
        unserved = {
            _id(shown): shown for shown in needs if _id(shown) in self._starving_since and not self._kind(shown)
        }
        new = [shown for key, shown in unserved.items() if key not in self._unserved]
        self._unserved = set(unserved)
        for shown in new:
            yield TellUnserved(shown.run, shown.need)

    # ---------------------------------------------------------------- what follows from what is there

    def _turn(self, shown: NeedShown, now: float) -> tuple[float, float, tuple[int, int, int, int]]:
        """What has had no worker for longest is next.

        Were it what has had no process, one that the broker passes over would take every place that is made for others.
        """
        key = _id(shown)
        return self._helpless_since.get(key, now), self._starving_since.get(key, now), _demands(shown.need)

    def _is_of_the_least(self, name: str) -> bool:
        """Whether there would be too few without it. What was launched for a need, of another kind, may never come."""
        if name in self._ours:
            return len(self._stayers) <= self._policy.least
        return self._staying <= self._policy.least and self._launched[name].kind == self._kind_for(None)

    def _is_coming_for(self, shown: NeedShown, now: float) -> bool:
        """Whether a worker that could take it is on its way: its own kind takes what time it takes."""
        own = self._kind(shown)
        return any(
            launched.kind == own or now < launched.at + self._patience(launched.kind)
            for launched in self._launched.values()
            if self._as_it_is(launched.kind).suits(shown.need)
        )

    def _patience(self, kind: Kind) -> float:
        """Seconds for which one that was launched keeps its place from others."""
        key = _key(kind)
        if key in self._joining:
            return max(self._policy.turn, PATIENCE * self._joining[key])
        return self._policy.turn * 2.0 ** (self._given_up[key] % DOUBLINGS)

    def _stays(self, host: HostShown) -> bool:
        return not host.leaving and host.worker not in self._told

    def _kind(self, shown: NeedShown) -> Kind | None:
        """What to launch for a need; nothing where it is known that it would not do."""
        kind = self._kind_for(shown.need)
        return kind if kind is not None and self._as_it_is(kind).suits(shown.need) else None

    def _may_try(self, shown: NeedShown, kind: Kind, now: float) -> bool:
        vain = self._vain.get((*_id(shown), _key(kind)))
        return vain is None or now >= vain.until

    def _as_it_is(self, kind: Kind) -> Kind:
        return self._real.get(_key(kind), kind)

    @property
    def _stayers(self) -> list[HostShown]:
        return [host for host in self._ours.values() if self._stays(host)]

    @property
    def _leaving(self) -> bool:
        return len(self._stayers) < len(self._ours)

    @property
    def _staying(self) -> int:
        return len(self._stayers) + len(self._launched)

    @property
    def _full(self) -> bool:
        return len(self._ours) + len(self._launched) >= self._policy.most


def _id(shown: NeedShown) -> tuple[str, str]:
    return shown.run, shown.need.id


def _is_of_use(host: HostShown, shown: NeedShown) -> bool:
    return host.worker not in shown.refused_by and _kind_of(host).suits(shown.need)


def _starves(shown: NeedShown) -> bool:
    return bool(shown.need.work and shown.need.count and not shown.processes and not shown.need.waits)


def _kind_of(host: HostShown) -> Kind:
    return Kind(host.offer, host.steps)


def _key(kind: Kind) -> str:
    return f"{kind.steps} {kind.offer.model_dump_json()}"


def _demands(need: Need) -> tuple[int, int, int, int]:
    """What asks for more is placed before what would take its place from it."""
    return -need.gpus, -len(need.resources), -need.memory, -need.cpus
