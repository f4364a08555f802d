"""The files that a step's data lies in, fetched from the coordinator before the step is loaded: part by part."""

from __future__ import annotations

from collections.abc import Sequence

from distilmq.protocol.messages import FetchFile, FilePart
from distilmq.protocol.plan import DataFile

ASK_AGAIN = 3.0
"""Seconds without a part after which it is asked for again; doubled each time, up to the next line."""
ASK_RARELY = 60.0


class DataFetch:
    """Which bytes of which file come next; one part is on its way at a time.

    Args:
        files: all of a step; those without a byte are not asked for.
        session: of this process.
    """

    def __init__(self, files: Sequence[DataFile], session: str) -> None:
        self._files = [file for file in files if file.size]
        self._session = session
        self._offset = 0
        self._wait = ASK_AGAIN
        self.again_at = 0.0

    @property
    def done(self) -> bool:
        """Whether everything is here."""
        return not self._files

    def ask(self, now: float, *, waited: bool = False) -> FetchFile:
        """What to ask for."""
        self._wait = min(self._wait * 2, ASK_RARELY) if waited else ASK_AGAIN
        self.again_at = now + self._wait
        return FetchFile(session=self._session, path=self._files[0].digest, offset=self._offset)

    def take(self, part: FilePart, data: bytes) -> bool:
        """Whether these bytes are those that were asked for: then they are to be written there."""
        if self.done or not data or (part.path, part.offset) != (self._files[0].digest, self._offset):
            return False
        self._offset += len(data)
        if self._offset >= self._files[0].size:
            del self._files[0]
            self._offset = 0
        return True
