"""Which recorded batches a revision of a run takes again: those with failed rows, and what was made from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from distilmq.protocol.plan import Plan
from distilmq.protocol.seq_no import SeqNo
from distilmq_broker.core.topology import Place, Topology

Sources = Iterable[tuple[str, SeqNo]]
"""The batches that a batch took rows of."""


def retaken(
    plan: Plan, recorded: Mapping[str, Mapping[SeqNo, Sources]], failed: Mapping[str, Iterable[SeqNo]]
) -> dict[str, list[SeqNo]]:
    """The batches that are taken again, by step.

    What is left is a state that the run could have been in: no batch of it was made from one that is taken again.

    Args:
        plan: of the run.
        recorded: every batch of each step, with the batches it took rows of.
        failed: the batches that hold rows to be computed again.
    """
    taken: dict[str, set[SeqNo]] = {}
    for place in Topology(plan).places:
        batches = recorded.get(place.name, {})
        made = [number for number, sources in batches.items() if _made_from(sources, taken)]
        again = _with_dependants(place, sorted(batches), made, failed.get(place.name, ()))
        if again:
            taken[place.name] = set(again)
    return {step: sorted(numbers) for step, numbers in taken.items()}


def _made_from(sources: Sources, taken: Mapping[str, set[SeqNo]]) -> bool:
    return any(number in taken.get(step, ()) for step, number in sources)


def _with_dependants(
    place: Place, batches: Sequence[SeqNo], made: Sequence[SeqNo], failed: Iterable[SeqNo]
) -> list[SeqNo]:
    known = set(batches)
    again = {*made, *(number for number in failed if number in known)}
    if again and place.spec.stateful:
        # What it remembers of a row decides on all later ones, and a new process remembers nothing.
        return list(batches)
    if made and place.manner != "batchwise":
        # A batch that gives another number of rows this time shifts all cuts behind it.
        again.update(number for number in batches if number >= min(made))
    return list(again)
