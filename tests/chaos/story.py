"""One seed: a run at a broker with three hosts, everything that its schedule says, and what must hold afterwards."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil

from tests.broker.front.brokers import Program, broker_in
from tests.chaos import ledger, pipeline
from tests.chaos.client import RUN, client_of_run, described, state
from tests.chaos.memory import Memory
from tests.chaos.schedule import HOSTS, LIVENESS, Fault, Schedule, drawn
from tests.chaos.steps import Rows, answer
from tests.chaos.traces import GRACE, Traces
from tests.integration.hosts import Host, Hosts, fetched, hosts_of, submit
from tests.servers.link import Link
from tests.servers.providers import ProviderServer

T = TypeVar("T")

ROWS = 160
LATENCY = 0.05
"""Seconds that the model takes for an answer."""
AT_MOST = 2.0
"""Seconds after which the next fault comes although the run has not got so far."""
PATIENCE = 150.0
"""Seconds that a run may take for what is left when everything is mended."""
GROWTH = 1.1
"""Times what it was in the first third may the memory of a process be in the last."""


@dataclass(slots=True)
class Told:
    """What came of a seed."""

    seed: int
    seconds: float = 0.0
    said: list[str] = field(default_factory=lambda: list[str]())
    """What was done, and when."""
    faults: int = 0
    wrong: list[str] = field(default_factory=lambda: list[str]())
    """What should not have been; empty if all is well."""
    batches: int = 0
    again: int = 0
    """Batches that were handed out more than once, as far as one coordinator knew."""
    asked: int = 0
    """Requests that the model got."""
    growth: dict[str, float] = field(default_factory=lambda: dict[str, float]())

    def __str__(self) -> str:
        lines = [f"seed {self.seed}: {'all is well' if not self.wrong else 'WRONG'} after {self.seconds} s"]
        lines += [f"  {line}" for line in [*self.said, *self.wrong]]
        return "\n".join([*lines, f"  once more: python -m tests.chaos.run --first {self.seed} --seeds 1"])


def tell(seed: int, folder: Path, rows: int = ROWS) -> Told:
    """Runs a seed in an empty folder and looks at everything afterwards."""
    told = Told(seed)
    began = time.monotonic()
    traces = Traces()
    try:
        with ProviderServer() as model:
            model.says, model.latency = answer, LATENCY
            with _site(folder, traces.environment) as site:
                Story(told, drawn(seed), *site, traces.environment, model.url, rows).go()
            told.asked = len(model.asked)
        told.wrong += traces.left()
    except AssertionError as error:
        told.wrong.append(str(error))
    finally:
        traces.remove()
    told.seconds = round(time.monotonic() - began, 1)
    return told


@contextmanager
def _site(folder: Path, environment: dict[str, str]) -> Iterator[tuple[Program, Hosts, list[Link]]]:
    """A broker with keys on a port, and links to it."""
    options = ["--liveness", str(LIVENESS)]
    with contextlib.ExitStack() as stack:
        program = stack.enter_context(broker_in(folder / "broker", tcp=True, options=options, **environment))
        hosts = stack.enter_context(hosts_of(program, folder))
        address = ("127.0.0.1", int(program.endpoint.rpartition(":")[2]))
        yield program, hosts, [stack.enter_context(Link(address)) for _ in range(HOSTS)]


class Story:
    """The run, the faults one after the other, and the repair of each when its time has come."""

    def __init__(
        self,
        told: Told,
        schedule: Schedule,
        program: Program,
        hosts: Hosts,
        links: Sequence[Link],
        environment: dict[str, str],
        model: str,
        rows: int,
    ) -> None:
        self._told = told
        self._schedule = schedule
        self._program = program
        self._hosts = hosts
        self._links = links
        self._environment = environment
        self._rows = rows
        self._compiled = pipeline.compiled(rows, model, liveness=LIVENESS)
        self._ledger = program.run(RUN) / "ledger.db"
        self._here: list[Host | None] = [None] * len(links)
        """The host at the end of each link, while there is one."""
        self._leaving: list[Host] = []
        """Worker programs that were told to leave and not killed since."""
        self._repairs: list[tuple[float, str, Callable[[], None]]] = []
        self._memory = Memory()
        self._began = time.monotonic()

    def go(self) -> None:
        """From the submission to the end, and what came out.

        Raises:
            AssertionError: the run does not come to a good end.
        """
        submit(self._program, RUN, self._compiled.plan)
        for place in range(len(self._links)):
            self._start_host(place)
        with client_of_run(self._program, self._compiled.secrets, self._schedule.forgetful):
            self._do_everything()
            self._wait_for_the_end()
        self._check()
        self._check_hosts()

    # ------------------------------------------------------------ time

    def _do_everything(self) -> None:
        total = pipeline.batches(self._rows)
        left = list(self._schedule.faults)
        self._wait_for_the_first_batch()
        last = time.monotonic()
        while left or self._repairs:
            now = time.monotonic()
            if left and (now >= last + AT_MOST or ledger.recorded(self._ledger) >= left[0].at * total):
                last = now
                self._do(left.pop(0))
            for repair in [repair for repair in self._repairs if now >= repair[0]]:
                self._repairs.remove(repair)
                self._note(repair[1])
                repair[2]()
            self._pause()

    def _wait_for_the_first_batch(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not ledger.recorded(self._ledger):
            assert time.monotonic() < deadline, f"the run does not begin: {described(self._program)}"
            self._pause()

    def _wait_for_the_end(self) -> None:
        deadline = time.monotonic() + PATIENCE
        look_at = 0.0
        found = ""
        while found not in ("done", "failed", "stopped"):
            now = time.monotonic()
            assert now < deadline, f"the run does not come to its end: {described(self._program)}"
            if now >= look_at:
                look_at, found = now + 0.5, state(self._program)
            self._pause()
        self._note(f"the run is {found}")
        assert found == "done", described(self._program)

    def _pause(self) -> None:
        processes = {host.process.pid: "worker program" for host in self._here if host is not None}
        self._memory.look({self._program.process.pid: "broker", **processes})
        threading.Event().wait(0.03)

    def _later(self, seconds: float, what: str, repair: Callable[[], None]) -> None:
        self._repairs.append((time.monotonic() + seconds, what, repair))

    def _note(self, what: str) -> None:
        self._told.said.append(f"{time.monotonic() - self._began:6.2f} s: {what}")

    # ------------------------------------------------------------ faults

    def _do(self, fault: Fault) -> None:
        self._told.faults += 1
        kind, _, whom = fault.kind.partition(" ")
        match kind, whom:
            case "kill", "broker":
                self._kill_broker(fault)
            case "kill", "host" | "machine":
                self._kill_host(fault, everything=whom == "machine")
            case "kill", _:
                self._signal(fault, self._those(whom, fault), signal.SIGKILL)
            case "freeze", _:
                self._freeze(fault, self._those(whom, fault))
            case "cut", _:
                place = self._place(fault)
                self._note(f"link {place} is cut for {fault.seconds} s")
                self._links[place].cut(fault.seconds)
            case "break", _:
                place = self._place(fault)
                self._note(f"link {place} breaks")
                self._links[place].sever()
            case "leave", _:
                self._leave(fault)
            case _:
                place = self._place(fault)
                self._note(f"a second worker program {place} is started under the same name")
                self._start_host(place)

    def _kill_broker(self, fault: Fault) -> None:
        if self._program.process.poll() is None:
            self._note("the broker is killed")
            self._program.kill()
            self._later(fault.seconds, "the broker is started again", self._program.start_again)

    def _kill_host(self, fault: Fault, *, everything: bool) -> None:
        place = self._place(fault)
        host = self._here[place]
        if host is None:
            return
        children = host.children() if everything else []
        self._note(f"worker program {place} is killed" + (f", with {len(children)} processes" if everything else ""))
        for process in children:
            _send(process, signal.SIGKILL)
        host.end()
        self._leaving = [other for other in self._leaving if other is not host]
        self._here[place] = None
        self._later(fault.seconds, f"worker program {place} is started again", lambda: self._start_host(place))

    def _leave(self, fault: Fault) -> None:
        place = self._place(fault)
        host = self._here[place]
        if host is None:
            return
        self._note(f"worker program {place} is told to leave")
        host.terminate()
        self._leaving.append(host)
        name = f"after-{place}"
        self._later(fault.seconds, f"another one comes for {place}", lambda: self._start_host(place, name))

    def _freeze(self, fault: Fault, processes: list[psutil.Process]) -> None:
        def thaw() -> None:
            for process in processes:
                _send(process, signal.SIGCONT)

        self._signal(fault, processes, signal.SIGSTOP)
        self._later(fault.seconds, f"{fault.kind.split()[1]} goes on", thaw)

    def _signal(self, fault: Fault, processes: list[psutil.Process], number: signal.Signals) -> None:
        self._note(f"{fault.kind}: {number.name} to {', '.join(str(process.pid) for process in processes) or 'nobody'}")
        for process in processes:
            _send(process, number)

    def _those(self, whom: str, fault: Fault) -> list[psutil.Process]:
        """The processes that are meant: one of a kind, or a worker program with all of its own."""
        if whom == "broker":
            return [psutil.Process(self._program.process.pid)] if self._program.process.poll() is None else []
        if whom == "coordinator":
            return _coordinators(self._program)[:1]
        living = [host for host in self._here if host is not None and host.process.poll() is None]
        if whom == "process":
            children = [child for host in living for child in host.children()]
            return [_picked(fault, children)] if children else []
        if not living:
            return []
        host = _picked(fault, living)
        return [psutil.Process(host.process.pid), *(host.children() if whom == "machine" else [])]

    def _place(self, fault: Fault) -> int:
        return int(fault.whom * len(self._links))

    def _start_host(self, place: int, name: str = "") -> None:
        slots = str(self._schedule.slots[place])
        link = self._links[place]
        self._here[place] = self._hosts.start(name or f"host-{place}", "--slots", slots, over=link, **self._environment)

    # ------------------------------------------------------------ what came out

    def _check(self) -> None:
        told = self._told
        found = ledger.read(self._ledger)
        told.batches, told.again = sum(found.batches.values()), found.again
        told.wrong += found.twice
        expected = pipeline.expected(self._compiled.plan, self._rows, found.routes)
        rows = {step: len(values) for step, values in expected.items()}
        if dict(found.rows) != rows:
            told.wrong.append(f"rows in the ledger are {dict(found.rows)}, not {rows}")
        given = fetched(self._program, RUN, pipeline.LEAF)
        if given != expected[pipeline.LEAF]:
            told.wrong.append(_difference(given, expected[pipeline.LEAF]))
        told.growth = self._memory.growth
        told.wrong += [f"the memory of a {who} grew to {by} x" for who, by in told.growth.items() if by > GROWTH]

    def _check_hosts(self) -> None:
        """Those that were told to leave have left, and the others have no processes any more."""
        deadline = time.monotonic() + GRACE
        wrong = [""]
        while wrong and time.monotonic() < deadline:
            self._pause()
            codes = [host.process.poll() for host in self._leaving]
            staying = [host for host in self._here if host is not None and host not in self._leaving]
            # One that was still starting could not listen yet.
            wrong = [f"who was told to leave ended with {code}" for code in codes if code not in (0, -signal.SIGTERM)]
            wrong += [f"{host.output.stem} has gone" for host in staying if host.process.poll() is not None]
            wrong += [f"{host.output.stem} still has processes" for host in staying if host.children()]
        self._told.wrong += wrong


def _picked(fault: Fault, found: Sequence[T]) -> T:
    return found[int(fault.whom * len(found))]


def _coordinators(program: Program) -> list[psutil.Process]:
    try:
        return program.coordinators()
    except psutil.NoSuchProcess:
        return []


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _difference(given: Rows, right: Rows) -> str:
    if len(given) != len(right):
        return f"the dataset has {len(given)} rows, not {len(right)}"
    place = next(place for place, (one, other) in enumerate(zip(given, right, strict=True)) if one != other)
    names = [name for name in right[place] if given[place].get(name) != right[place][name]]
    shown = {name: (given[place].get(name), right[place][name]) for name in names}
    return f"row {place} of the dataset differs (given, right): {shown!r:.500}"
