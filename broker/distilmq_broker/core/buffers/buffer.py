"""What all input buffers have in common, and which manner of filling gets which class."""

from __future__ import annotations

from typing import Protocol

from distilmq.protocol.seq_no import SeqNo
from distilmq_broker.core.buffers.aligned import Aligned
from distilmq_broker.core.buffers.batchwise import Batchwise
from distilmq_broker.core.buffers.everything import Everything
from distilmq_broker.core.buffers.nothing import Nothing
from distilmq_broker.core.buffers.positional import Positional
from distilmq_broker.core.buffers.stream import Stream
from distilmq_broker.core.chunks import Chunk, Cut, Watermark
from distilmq_broker.core.facts import Slice
from distilmq_broker.core.topology import Place, Topology


class Buffer(Protocol):
    """Recorded batches of the predecessors go in, inputs of new batches come out.

    How rows are cut depends only on the plan, the rows and the routing, never on when something came.
    A buffer is exhausted when its predecessors are finished and `rows` is 0.
    """

    @property
    def rows(self) -> int:
        """Waiting: added and not taken."""
        ...

    def add(self, branch: int, chunk: Chunk) -> None:
        """A batch of the predecessor at that place is recorded, and routed here if it was routed."""
        ...

    def forget(self, seq_no: SeqNo, inputs: tuple[tuple[Slice, ...], ...], rows: int) -> None:
        """Batch `seq_no`, recorded before a restart, took these rows; to be told before they are added."""
        ...

    def take(self, watermark: Watermark) -> Cut | None:
        """The input of the next batch, if there is one."""
        ...

    def low(self, watermark: Watermark) -> SeqNo:
        """The least number of a batch still to be taken from what is here; `END` when nothing is."""
        ...


def buffer_for(place: Place, topology: Topology) -> Buffer:
    """An empty buffer of the step's manner of filling."""
    size = max(1, place.spec.size)
    forks = tuple(topology.places[fork].name for fork in place.labels) if place.labels else ()
    if place.manner == "source":
        return Nothing()
    if place.manner == "everything":
        return Everything(sources=place.predecessors, forks=forks)
    if place.manner == "positional":
        return Positional(size=size, sources=place.predecessors)
    if place.fork is not None:
        fork = topology.places[place.fork]
        return Aligned(
            size=size,
            fork=place.fork,
            fork_name=fork.name,
            depth=fork.depth,
            sources=place.predecessors,
            wall=place.wall,
            forks=forks,
        )
    source = place.predecessors[0]
    depth = topology.places[source].depth
    if place.manner == "batchwise":
        return Batchwise(size=size, depth=depth, forks=forks)
    return Stream(size=size, depth=depth, source=source, wall=place.wall, forks=forks)
