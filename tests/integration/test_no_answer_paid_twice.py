"""Twenty kills at seeded moments, and the server's own log: every request that was made is used, or explained.

Each answer says which one it is, so the dataset tells which were used. One that is not must have been out when
something was killed, or have left the server less than half a second before. Two rows of each batch are slow, so that
the answers to the others grow old before their batch is done.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psutil
import pytest

from tests.integration.accounts import living
from tests.integration.runs import Script, all_gone, kind, until
from tests.servers.providers import Asked, ProviderServer
from tests.stopwatch import undisturbed

VICTIMS = ("worker", "supervisor", "coordinator", "everything")
"""In any order, and the script last: what is out then is still awaited, so nothing can be kept back any more."""
STORIES = int(os.environ.get("DISTILMQ_KILL_STORIES", "4"))
"""Each kills every victim and the script once. Four are twenty kills; more take longer and look closer."""
YOUNG = 0.5
"""Undisturbed seconds within which an answer may be lost with what dies."""
ON_THE_WAY = 0.25
"""Undisturbed seconds that a request may have been on its way to the server when its sender died."""
ROWS = 160
EVERY_PROMPT = 2
"""Rows have the same prompt."""
REFUSED = "question 033"
"""A prompt that is always refused: its rows fail, and their batches are halved."""
LAST, KEPT_BACK = "question 07", 20
"""What the prompts of the last rows hold, and how many those are: they are answered when the last kill is made."""

CODE = f"""
    from distilmq.models import OpenAILLM
    from distilmq.steps.tasks import Task

    class Twice(Task):
        "Asks about the row, then about the answer."

        @property
        def inputs(self): return ["instruction"]
        @property
        def outputs(self): return ["first", "second", "model_name"]
        def format_input(self, input): return [{{"role": "user", "content": input["instruction"]}}]
        def format_output(self, output, input=None): return {{"first": output, "second": None}}

        def process(self, inputs: StepInput):
            for rows in super().process(inputs):
                again = self.llm.generate_outputs([self.format_input({{"instruction": row["first"]}}) for row in rows])
                yield [{{**row, "second": each["generations"][0]}} for row, each in zip(rows, again, strict=True)]

    with Pipeline("paid") as pipeline:
        prompts = [f"question {{n // {EVERY_PROMPT}:03}}" for n in range({ROWS})]
        load = LoadDataFromDicts(data=[{{"instruction": prompt}} for prompt in prompts], batch_size=20)
        llm = OpenAILLM(model="m")
        load >> Twice(name="ask", llm=llm, input_batch_size=10, resources=StepResources(replicas=2))

    if __name__ == "__main__":
        dump(pipeline.run())
"""


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer(clock=undisturbed) as running:
        running.says = lambda prompt: f"answer {len(running.answered) - 1} to {prompt}"
        running.latency = 0.1
        running.fail(REFUSED, status=400, code="content_filter")
        running.slow = (r"^question \d*[05]$", 1.1)
        yield running


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(STORIES))
def test_every_request_is_used_or_was_out_or_young_when_something_died(
    tmp_path: Path, server: ProviderServer, seed: int
) -> None:
    story = _Story(tmp_path, server, Random(seed))

    for victim in (*story.random.sample(VICTIMS, len(VICTIMS)), "script"):
        story.wait_for_some_answers()
        story.kill(victim)
    story.end()

    used = story.used()
    places = 2 * (ROWS - EVERY_PROMPT)
    assert len(set(map(id, used))) == places, "no answer is used in two places, though prompts are the same"
    assert story.unexplained(used) == []
    assert server.prompts.count(REFUSED) <= EVERY_PROMPT * (len(story.kills) + 1), "once a row, and after each kill"
    assert all(lost <= server.most_at_once for lost in story.lost_at_kills(used)), "of the young, those in flight"


@dataclass(frozen=True)
class _Kill:
    victim: str
    at: float
    over: float
    """When the victims were gone."""


class _Story:
    """One run, started again whenever its script has ended."""

    def __init__(self, folder: Path, server: ProviderServer, random: Random) -> None:
        (folder / "keys").mkdir()
        self.random = random
        self.server = server
        self.script = Script(folder / "run", CODE, env=server.env(folder / "keys"))
        self.server.hold(only=LAST)
        self.process = self.script.start()
        self.kills: list[_Kill] = []

    def wait_for_some_answers(self) -> None:
        """Until some more answers have left (or all but those that are kept back), and a moment longer."""
        enough = len(self.server.answered) + self.random.randint(10, 60)
        until(lambda: len(self.server.answered) >= enough or self.server.waiting == KEPT_BACK, "some answers")
        threading.Event().wait(self.random.random() * 0.7)

    def kill(self, victim: str) -> None:
        """SIGKILL; and the script again if it has come to its end by that."""
        victims = self._victims(victim)
        if victim == "script":
            self.server.release()
        at = undisturbed()
        for process in victims:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        if victim in ("worker", "supervisor"):
            until(lambda: all_gone(victims), f"the {victim} is gone")
            self.kills.append(_Kill(victim, at, undisturbed()))
            return
        assert self.process.wait(60) in (1, -signal.SIGKILL), self.script.output
        until(lambda: all_gone(living(self.script)), f"nothing is left behind a killed {victim}")
        self.kills.append(_Kill(victim, at, undisturbed()))
        self.process = self.script.start()

    def end(self) -> None:
        """Waits for the end of the run."""
        assert self.process.wait(90) == 0, self.script.output

    # ------------------------------------------------------------ what became of each request

    def used(self) -> list[Asked]:
        """The requests whose answers stand in the dataset, each in the row that it was for."""
        used: list[Asked] = []
        rows = self.script.rows["default"]
        assert len(rows) == ROWS
        for number, row in enumerate(rows):
            assert row["instruction"] == f"question {number // EVERY_PROMPT:03}"
            if row["instruction"] == REFUSED:
                assert row["first"] is row["second"] is None
                continue
            for prompt, answer in (("instruction", "first"), ("first", "second")):
                asked = self._answered(row[answer])
                assert asked.prompt == row[prompt]
                used.append(asked)
        return used

    def unexplained(self, used: list[Asked]) -> list[str]:
        """The other requests that were neither out nor young when something was killed."""
        return [self._told(asked) for asked in self._dropped(used) if not any(_cut(asked, kill) for kill in self.kills)]

    def lost_at_kills(self, used: list[Asked]) -> list[int]:
        """How many answers that had left each kill has lost."""
        answered = [asked for asked in self._dropped(used) if asked.answered_at is not None]
        last = Counter(
            max((kill.at for kill in self.kills if _cut(asked, kill)), default=0.0)
            for asked in answered
            if any(_cut(asked, kill) and (asked.answered_at or 0.0) < kill.at for kill in self.kills)
        )
        return list(last.values())

    def _dropped(self, used: list[Asked]) -> list[Asked]:
        known = set(map(id, used))
        return [asked for asked in self.server.asked if id(asked) not in known and asked.prompt != REFUSED]

    def _answered(self, text: object) -> Asked:
        found = re.match(r"answer (\d+) to ", str(text))
        assert found, f"no answer of the server's: {text}"
        return self.server.answered[int(found[1])]

    def _told(self, asked: Asked) -> str:
        moments = [f"{kill.victim} killed at {kill.at:.3f}" for kill in self.kills]
        return f"{asked.prompt!r} came at {asked.at:.3f}, answered at {asked.answered_at}; {', '.join(moments)}"

    def _victims(self, victim: str) -> list[psutil.Process]:
        if victim == "script":
            return [psutil.Process(self.process.pid)]
        everybody = living(self.script)
        if victim == "everything":
            return everybody
        return [self.random.choice(until(lambda: [one for one in living(self.script) if kind(one) == victim], victim))]


def _cut(asked: Asked, kill: _Kill) -> bool:
    """Whether a request was out when something was killed, or its answer had just left."""
    if asked.at > kill.over + ON_THE_WAY:
        return False
    return asked.answered_at is None or asked.answered_at > kill.at - YOUNG
