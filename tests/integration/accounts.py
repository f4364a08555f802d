"""A small chain of steps whose batches are all known beforehand: what was done is compared with what is recorded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil

from distilmq.protocol.seq_no import number, sort_key
from tests.integration.runs import Script, all_gone, until

_CHAIN = """
class Count(GeneratorStep):
    @property
    def outputs(self): return ["n"]

    def process(self, offset: int = 0):
        for at in range(offset, TOTAL, self.batch_size):
            rows = [{"n": n} for n in range(at, at + self.batch_size)]
            mark("count", rows)
            yield rows, at + self.batch_size == TOTAL

@step(inputs=["n"], outputs=["doubled"])
def double(inputs: StepInput):
    mark("double", inputs)
    if GATE_AT <= inputs[0]["n"]:
        wait_for("gate")
    time.sleep(PAUSE)
    yield [{**row, "doubled": row["n"] * 2} for row in inputs]

@step(inputs=["doubled"], outputs=["more"])
def add_one(inputs: StepInput):
    mark("add_one", inputs)
    yield [{**row, "more": row["doubled"] + 1} for row in inputs]

with Pipeline("accounts") as pipeline:
    (
        Count(name="count", batch_size=SIZE)
        >> double(name="double", input_batch_size=SIZE, resources=StepResources(replicas=REPLICAS))
        >> add_one(name="add_one", input_batch_size=2 * SIZE)
    )

if __name__ == "__main__":
    try:
        dump(pipeline.run())
    except BaseException as error:
        (HERE / "raised.txt").write_text(f"{type(error).__name__}: {error}")
        raise
"""

Work = tuple[str, tuple[int, ...]]
"""A step and the rows of one of its batches."""


@dataclass(frozen=True)
class Chain:
    """A generator, a step that takes its batches as they are, and one that puts two together."""

    batches: int
    size: int = 2
    replicas: int = 1
    pause: float = 0.0
    """Seconds that each batch of the second step takes."""
    gate_at: int | None = None
    """From this row on the second step waits for the file `gate`."""

    def script(self, folder: Path, **env: str) -> Script:
        """The chain as a user's script."""
        gate = self.rows if self.gate_at is None else self.gate_at
        values = {
            "TOTAL": self.rows,
            "SIZE": self.size,
            "REPLICAS": self.replicas,
            "PAUSE": self.pause,
            "GATE_AT": gate,
        }
        head = "".join(f"{name} = {value}\n" for name, value in values.items())
        return Script(folder, head + _CHAIN, env)

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.batches * self.size

    @property
    def expected(self) -> list[dict[str, object]]:
        """The dataset."""
        return [{"n": n, "doubled": 2 * n, "more": 2 * n + 1} for n in range(self.rows)]

    @property
    def work(self) -> dict[tuple[str, str, int], Work]:
        """Every batch by what the ledger calls it."""
        found: dict[tuple[str, str, int], Work] = {}
        for step, count in (("count", 1), ("double", 1), ("add_one", 2)):
            for batch in range(0, self.batches, count):
                rows = range(batch * self.size, min((batch + count) * self.size, self.rows))
                found[step, sort_key(number(batch)), 0] = (step, tuple(rows))
        return found


def done(script: Script) -> Counter[Work]:
    """How often each batch was worked on so far."""
    return Counter((str(entry["step"]), tuple(entry["rows"])) for entry in script.worked)  # type: ignore[arg-type]  # it is JSON


def recorded(script: Script, chain: Chain) -> set[Work]:
    """The batches in the ledger."""
    if not script.run_dirs:
        return set()
    work = chain.work
    return {work[key] for key in script.recorded()}


def assert_the_rest_is_done_once(script: Script, chain: Chain) -> None:
    """Runs the script to its end: the dataset is exact, and all that was not recorded, and nothing else, is done."""
    until(lambda: all_gone(living(script)), "no process outlives the run")
    before, kept = done(script), recorded(script, chain)

    assert script.run() == 0, script.output

    assert script.rows["default"] == chain.expected
    again = done(script) - before
    assert not kept & set(again), f"recorded, and done again: {kept & set(again)}"
    assert again == Counter(set(chain.work.values()) - kept), f"done several times: {again - Counter(set(again))}"
    assert living(script) == []


def living(script: Script) -> list[psutil.Process]:
    """All processes of the script, whoever started them: they inherit its folder's name, where it is not itself."""
    itself = script.process.pid if script.process is not None and script.process.poll() is None else None
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.pid == itself or process.environ().get("SCRIPT_DIR") == str(script.folder):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return [process for process in found if not all_gone([process])]
