"""Who follows a run without showing it: one that only logs, and one that passes on what it hears."""

from __future__ import annotations

from collections.abc import Callable

from distilmq.pipeline.client import Follower
from distilmq.pipeline.progress import log_note
from distilmq.protocol.messages import Note, Progress


class Quiet:
    """Follows a run that is over."""

    def progress(self, progress: Progress) -> None:
        """Nothing moves."""

    def note(self, note: Note) -> None:
        """Logs it."""
        log_note(note)


class OnceAtWork:
    """Begins something when the steps of a run have been loaded.

    Args:
        follower: hears everything first.
        begin: called once, if it comes to that.
    """

    def __init__(self, follower: Follower, begin: Callable[[], None]) -> None:
        self._follower = follower
        self._begin = begin
        self._begun = False

    def progress(self, progress: Progress) -> None:
        """Passes it on."""
        self._follower.progress(progress)
        states = {step.state for step in progress.steps}
        if not self._begun and "running" in states and "loading" not in states:
            self._begun = True
            self._begin()

    def note(self, note: Note) -> None:
        """Passes it on."""
        self._follower.note(note)
