"""Fifty kills at seeded moments: whatever dies, the dataset is exact in the end, and nothing recorded runs again."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from random import Random

import psutil
import pytest

from tests.integration.accounts import Chain, Work, assert_the_rest_is_done_once, living, recorded
from tests.integration.runs import Script, all_gone, kind, until

VICTIMS = ["worker"] * 4 + ["supervisor"] * 2 + ["coordinator"] * 2 + ["script", "everything"]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", range(5))
def test_nothing_recorded_runs_again_and_nothing_is_missing(tmp_path: Path, seed: int) -> None:
    story = _Story(tmp_path, Random(seed))

    for victim in story.random.sample(VICTIMS, len(VICTIMS)):
        story.wait_for_some_progress()
        story.kill(victim)
    story.end()

    assert_the_rest_is_done_once(story.script, story.chain)
    story.check_that_nothing_recorded_ran_again()


class _Story:
    """One run, started again whenever its script has ended."""

    def __init__(self, folder: Path, random: Random) -> None:
        self.random = random
        self.chain = Chain(batches=120, replicas=2, pause=0.03)
        self.script: Script = self.chain.script(folder / "run")
        self.process = self.script.start()
        self.known: list[tuple[int, set[Work]]] = []
        """How much was worked on, and what was recorded before that, at each kill."""

    def wait_for_some_progress(self) -> None:
        """Until a few more batches were worked on, and a moment longer."""
        enough = len(self.script.worked) + self.random.randint(3, 6)
        until(lambda: len(self.script.worked) >= enough or self.process.poll() is not None, "some batches")
        assert self.process.poll() is None, f"the script ended by itself:\n{self.script.output}"
        threading.Event().wait(self.random.random() * 0.02)

    def kill(self, victim: str) -> None:
        """SIGKILL; and the script again if it has come to its end by that."""
        for process in self._victims(victim):
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        if victim in ("worker", "supervisor"):
            self._look()
            return
        assert self.process.wait(60) in (1, -signal.SIGKILL), self.script.output
        until(lambda: all_gone(living(self.script)), f"nothing is left behind a killed {victim}")
        self._look()
        self.process = self.script.start()

    def end(self) -> None:
        """Waits for the end of the run."""
        assert self.process.wait(90) == 0, self.script.output

    def check_that_nothing_recorded_ran_again(self) -> None:
        """What was worked on behind each kill was not recorded before."""
        worked = [(str(entry["step"]), tuple(entry["rows"])) for entry in self.script.worked]  # type: ignore[arg-type]  # it is JSON
        for count, before in self.known:
            assert not before & set(worked[count:])

    def _look(self) -> None:
        before = recorded(self.script, self.chain)
        self.known.append((len(self.script.worked), before))

    def _victims(self, victim: str) -> list[psutil.Process]:
        if victim == "script":
            return [psutil.Process(self.process.pid)]
        everybody = living(self.script)
        if victim == "everything":
            return everybody
        of_kind = until(lambda: [one for one in living(self.script) if kind(one) == victim], f"there is a {victim}")
        return [self.random.choice(of_kind)]
