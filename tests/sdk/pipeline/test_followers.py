"""Who follows a run without showing it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from distilmq.pipeline.followers import OnceAtWork
from distilmq.protocol.messages import Note, Progress, StepProgress

State = Literal["waiting", "loading", "running", "done", "reused"]


@dataclass
class Heard:
    """A follower that keeps what it hears."""

    messages: list[Progress | Note] = field(default_factory=list[Progress | Note])

    def progress(self, progress: Progress) -> None:
        self.messages.append(progress)

    def note(self, note: Note) -> None:
        self.messages.append(note)


def progress(*states: State) -> Progress:
    steps = tuple(StepProgress(step=f"step_{number}", state=state) for number, state in enumerate(states))
    return Progress(run="run", state="running", steps=steps)


def test_what_is_heard_is_passed_on() -> None:
    heard = Heard()
    follower = OnceAtWork(heard, lambda: None)

    follower.progress(progress("loading"))
    follower.note(Note(session="session", event="a_word"))

    assert heard.messages == [progress("loading"), Note(session="session", event="a_word")]


@pytest.mark.parametrize("states", [("loading", "running"), ("waiting", "waiting"), ("reused", "done")])
def test_nothing_begins_while_a_step_is_loaded_or_when_none_is(states: tuple[State, ...]) -> None:
    begun: list[str] = []
    follower = OnceAtWork(Heard(), lambda: begun.append("it"))

    follower.progress(progress(*states))

    assert begun == []


def test_it_begins_once_when_all_steps_of_a_stage_are_at_work() -> None:
    begun: list[str] = []
    follower = OnceAtWork(Heard(), lambda: begun.append("it"))

    for states in [("done", "running", "waiting"), ("done", "done", "running")]:
        follower.progress(progress(*states))

    assert begun == ["it"]
