"""Where the user's code is on the stack: warnings point there."""

from __future__ import annotations

import inspect
from pathlib import Path

_OURS = f"{Path(__file__).parents[1]}/"


def frames_to_user() -> int:
    """`stacklevel` for a warning that the caller gives: of the nearest frame that is none of distilmq's."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and frame.f_code.co_filename.startswith(_OURS):
        frame, level = frame.f_back, level + 1
    return level
