"""How often, how many, how long: the few numbers that decide in doubt."""

from __future__ import annotations

from distilmq.protocol.plan import StepSpec

DEATHS = 3
"""A batch that so many workers died of is halved; a half of it after one more."""
REPEATS = 1
"""So many processes of a generator that died, having begun with the same rows as the one that died before, end the
run: with the first of all, which is not looked at, that is the third to die."""
SUSPECT = 2
"""A batch that so many workers died of is handed out alone: with two in hand, either may have been the cause."""
LOAD_DEATHS = 3
"""A step whose processes die so often in `load()`, with no success between, ends the run."""
START_DEATHS = 5
"""So many processes in a row that end before they say Hello end the run."""
CREDIT = 2
"""Batches that a process may hold: one in hand and one to go on with. What it hoards idles elsewhere."""
QUICK_CREDIT = 8
"""The same for one that is done with each in a moment: what is to be saved then are the messages between."""
MOST_CREDIT = 1024
"""Whatever a process wants, it gets no more."""
QUICK = 0.02
"""Seconds that a quick batch takes at most, from the one before it to its result."""
QUICK_RUN = 16
"""So many quick batches in a row make a quick process; one slow batch ends that."""
MISSED_BEATS = 2
"""A batch that so many heartbeats in a row do not list was never received."""
WHO_AFTER = 3
"""Every so many beats a process that has not said Ready is asked who it is: its Assign or Ready may be lost."""
WEIGHT_WITHOUT_PROCESS = 1 / 16
"""Part of the rows that wait for a step without a process which count as waiting, where slots are granted."""
RETURN = 0.2
"""Part of the liveness in which processes that outlived an earlier coordinator come back with what they hold, before
a step that lacks some hands out what they may hold."""
STOP_PATIENCE = 30
"""Heartbeats after which a process that was told to stop is ended: a lost result may keep it waiting for its Ack."""
STOP_GRACE = 0.5
"""Seconds past the stop timeout in which workers' last words still count."""
QUIET_BEATS = 4
"""After so many beats without news of a batch that is listed, and after each double, it is sent again: a worker
that has done it sends its result again, any other passes over it."""

FAILURE_WINDOW = 100
"""So many of a step's last rows are looked at for its `max_failure_rate`."""
FEWEST_ROWS = 20
"""A share of fewer rows than these is taken as one of so many."""
SHOWN_REASON = 200
"""Characters of an error that the reason of a pause shows."""


def credit(spec: StepSpec, quick: int = 0, wanted: int = 0) -> int:
    """How many batches one process of the step may hold.

    Args:
        spec: of the step.
        quick: so many of its last ones took only a moment each.
        wanted: so many it said it wants; 0 if it said nothing.
    """
    if spec.kind == "global":
        return 1
    if wanted > 0:
        return min(wanted, MOST_CREDIT)
    return QUICK_CREDIT if quick >= QUICK_RUN else CREDIT


def deaths_allowed(part: int) -> int:
    """How many workers may die of a batch, or of a part of a halved one."""
    return 1 if part else DEATHS
