"""Where the user's code is when it does not return: said by this process or, when nothing in it runs, by C code."""

from __future__ import annotations

import faulthandler
import sys
import traceback
from pathlib import Path

_OURS = str(Path(__file__).parent)


def stack_of(thread: int | None) -> str:
    """The stack of a thread, without our own frames at its top."""
    frames: dict[int, object] = dict(sys._current_frames())  # pyright: ignore[reportPrivateUsage]  # the documented way
    frame = frames.get(thread) if thread is not None else None
    if frame is None:
        return "(no thread is at it)"
    entries = traceback.extract_stack(frame)  # pyright: ignore[reportArgumentType]  # a frame
    while len(entries) > 1 and entries[0].filename.startswith((_OURS, "<frozen runpy>")):
        entries.pop(0)
    return "".join(traceback.format_list(entries))


class DeadManSwitch:
    """Writes the stacks of all threads into a descriptor unless it is pressed often enough.

    It is pressed from the socket's thread: when user code holds the interpreter's lock, that thread stands
    still as well, and only the watch of `faulthandler`, which needs no lock, is left to tell.
    """

    def __init__(self, file: int | None) -> None:
        self._file = file
        self.armed = False
        """Whether it will tell unless it is pressed or released."""

    def press(self, seconds: float) -> None:
        """All is well; the next time this is said has to be within so many seconds."""
        self.armed = True
        if self._file is not None:
            faulthandler.dump_traceback_later(seconds, repeat=False, file=self._file)

    def release(self) -> None:
        """Nothing runs that could stall."""
        self.armed = False
        if self._file is not None:
            faulthandler.cancel_dump_traceback_later()
