"""Why a need is not met, in words for whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from distilmq.protocol.messages.runs import Unmet
from distilmq.protocol.messages.slots import Need
from distilmq_broker.front.core.claims import Claim
from distilmq_broker.front.core.hosts import Host


def unmet(claim: Claim, need: Need, hosts: Collection[Host]) -> Unmet:
    """It waits for its turn where there is a host for it; else it is said which demand leaves none over."""
    if any(claim.may_have(host, need) for host in hosts if not host.leaving):
        return Unmet(need=need.id, reason="waits for a free slot")
    left = [host for host in hosts if not host.leaving]
    if not left:
        return Unmet(need=need.id, reason="no worker is there: start one with `distilmq worker --connect …`")
    for reason, meets in _demands(need):
        able = [host for host in left if meets(host)]
        if not able:
            return Unmet(need=need.id, reason=reason)
        left = able
    left = [host for host in left if host.suits(need)]
    if not left:
        return Unmet(need=need.id, reason="no one worker has all that it needs")
    return Unmet(need=need.id, reason=_refused(claim, need, left), refused=True)


def _demands(need: Need) -> Iterator[tuple[str, Callable[[Host], bool]]]:
    yield f"no worker takes step {' and '.join(need.steps)} (see its `--steps`)", lambda host: host.takes(need)
    for name, value in need.labels.items():
        words = f"needs a worker with the label {name}={value}, and none has it"
        yield words, lambda host, name=name, value=value: host.offer.labels.get(name) == value
    if need.gpus:
        words = f"needs {_count(need.gpus, 'GPU')}, and no worker has as many"
        yield words, lambda host: len(host.offer.gpus) >= need.gpus
    if need.cpus:
        words = f"needs {_count(need.cpus, 'CPU')}, and no worker has as many"
        yield words, lambda host: host.offer.cpus >= need.cpus
    if need.memory:
        words = f"needs {need.memory / 2**30:.1f} GiB of memory, and no worker has as much"
        yield words, lambda host: host.offer.memory >= need.memory
    for name, amount in need.resources.items():
        words = f"needs {amount} of the resource {name}, and no worker has as much"
        yield words, lambda host, name=name, amount=amount: host.offer.resources.get(name, 0) >= amount


def _refused(claim: Claim, need: Need, hosts: Iterable[Host]) -> str:
    named = "; ".join(f"{host.worker}: {claim.refused_by(host.worker, need.id)}" for host in hosts)
    return f"every worker that it would fit on has refused it ({named})"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
