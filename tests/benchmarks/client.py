"""How many requests a second one worker process makes, against the bare client of OpenAI: both to the same server.

The server answers at once, so that what is measured is what a request costs. distilmq journals every answer.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.busy import OURS, Case
from tests.benchmarks.measure import measure
from tests.benchmarks.model_servers import SLOTS, model_server

BARE = (sys.executable, str(Path(__file__).parent / "peers" / "with_asyncio.py"))
CASE = Case("", "", 0, rows=6000, limit=SLOTS)


def requests_per_second(command: Sequence[str] = OURS, case: Case = CASE) -> float:
    """Of the requests between the first and the last tenth, by the server's log."""
    with model_server(median=0.0) as server:
        env = {**os.environ, "OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "a-key"}
        lost = measure([*command, case.arguments], cwd=Path(tempfile.gettempdir()), env=env).result["lost"]
    ended = sorted(entry.ended for entry in server.answered)
    first, last = len(ended) // 10, len(ended) * 9 // 10
    if lost or len(ended) != case.rows:
        raise RuntimeError(json.dumps({"lost": lost, "answered": len(ended)}))
    return (last - first) / (ended[last] - ended[first])
