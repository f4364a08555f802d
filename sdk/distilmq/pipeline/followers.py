"""Who follows a run without showing anything of it."""

from __future__ import annotations

from distilmq.pipeline.progress import log_note
from distilmq.protocol.messages import Note, Progress


class Quiet:
    """Follows a run that is over."""

    def progress(self, progress: Progress) -> None:
        """Nothing moves."""

    def note(self, note: Note) -> None:
        """Logs it."""
        log_note(note)
