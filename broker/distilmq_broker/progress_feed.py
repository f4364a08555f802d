"""Progress for those who watch: five times a second at most, at once when the run's state changes."""

from __future__ import annotations

from distilmq.protocol.messages import Progress
from distilmq_broker.ports import Mind
from distilmq_broker.post import Post
from distilmq_broker.sessions import Sessions

INTERVAL = 0.2


class ProgressFeed:
    """Sends what has changed."""

    def __init__(self, mind: Mind, sessions: Sessions, post: Post) -> None:
        self._mind = mind
        self._sessions = sessions
        self._post = post
        self._next = 0.0
        self._last: Progress | None = None

    def deadline(self) -> float | None:
        """When to look again; None while nobody watches."""
        return self._next if self._sessions.watchers() else None

    def send(self, now: float, *, force: bool = False) -> None:
        """Sends the progress when it is time and something has changed, or when forced to."""
        watchers = self._sessions.watchers()
        if not watchers or (now < self._next and not force):
            return
        progress = self._mind.progress(now)
        self._next = now + INTERVAL
        if progress == self._last and not force:
            return
        self._last = progress
        for member in watchers:
            self._post.send(member.hello.session, progress)
