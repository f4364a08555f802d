"""The limits of an account hold over tasks, replicas, deaths and restarts: the server's own log decides."""

from __future__ import annotations

import json
import signal
import time
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from distilmq.models import OpenAILLM
from distilmq.pipeline import Pipeline
from distilmq.pipeline.submitted_run import SubmittedRun
from distilmq.steps import GroupColumns, make_generator_step
from distilmq.steps.tasks import TextGeneration
from distilmq_broker.core.accounts import LENT_FOR
from tests.broker.front.brokers import broker_in
from tests.integration.hosts import hosts_of
from tests.integration.runs import Script, all_gone, family, kill_tree, of_kind, until
from tests.servers.providers import KEY, ProviderServer

ROWS = 420
REQUESTS = 900
"""In a minute; so many a second that a minute is seen in a minute."""
TOKENS = 8
"""Of each prompt, as the server counts them."""
RECOVERY = 9.0
"""Seconds after a death in which less may be sent: what was lent comes back in five, and a process starts."""
EDGE = 4.0
"""Seconds at the beginning and at the end in which not all processes have something to send."""

ONE_ACCOUNT = """
    from distilmq.models import OpenAILLM
    from distilmq.steps.tasks import TextGeneration

    with Pipeline("account") as pipeline:
        load = LoadDataFromDicts(
            data=[{"instruction": f"please say something about the row number {n:04d}"} for n in range(ROWS)],
            batch_size=10,
        )
        tasks = [
            TextGeneration(
                name=name,
                llm=OpenAILLM(model="m", LIMITS),
                input_batch_size=10,
                use_system_prompt=False,
                resources=StepResources(replicas=2),
            )
            for name in ("one", "two")
        ]
        load >> tasks >> GroupColumns(columns=["generation"], output_columns=["generations"])

    if __name__ == "__main__":
        dump(pipeline.run())
"""


def usual_rate(start: float, end: float, times: list[float]) -> float:
    """Requests per minute in the median second: a machine that has other things to do may miss some."""
    seconds = range(int(end - start))
    return median(rate_between(start + second, start + second + 1, times) for second in seconds)


def script_of(tmp_path: Path, server: ProviderServer, rows: int, limits: str = "") -> Script:
    (tmp_path / "keys").mkdir()
    code = ONE_ACCOUNT.replace("ROWS", str(rows)).replace("LIMITS", limits)
    return Script(tmp_path / "run", code, env=server.env(tmp_path / "keys"))


def expected(rows: int) -> list[list[str]]:
    return [[f"{n:04d}"] * 2 for n in range(rows)]


def answers(script: Script) -> list[object]:
    return [row["generations"] for row in script.rows["default"]]


class Beginning:
    """What a server sees of a run before its first answer, which says nothing of a limit."""

    def __init__(self, server: ProviderServer) -> None:
        # Nothing is refused, so that none is counted twice, and nothing is learnt before the first answer.
        server.places, server.latency = None, 2.0
        self._server = server
        self._asked, self._answered = len(server.asked), len(server.answered)

    @property
    def at_once(self) -> int | None:
        """Requests that came before the first answer left; None while there is none."""
        answered = self._server.answered[self._answered :]
        if not answered:
            return None
        first = answered[0].answered_at
        assert first is not None
        return sum(asked.at < first for asked in self._server.asked[self._asked :])


def learnt(log: str) -> float | None:
    """Requests at once that the account takes, as whoever lends has last learnt; None while it is not known."""
    facts = [json.loads(line) for line in log.splitlines() if '"limit_learnt"' in line]
    return facts[-1]["places"] if facts and facts[-1]["settled"] else None


def log_of(script: Script) -> str:
    """What the coordinator has logged."""
    logs = [run / "pipeline.log" for run in script.run_dirs]
    return "".join(log.read_text() for log in logs if log.exists())


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        running.says = lambda prompt: prompt.split()[-1]
        running.latency = 0.3
        yield running


def most_in(seconds: float, times: list[float]) -> int:
    """The most that any stretch of so many seconds has seen."""
    return max(bisect_left(times, at + seconds) - place for place, at in enumerate(times))


def rate_between(start: float, end: float, times: list[float]) -> float:
    """Requests per minute."""
    return (bisect_left(times, end) - bisect_left(times, start)) / (end - start) * 60


@pytest.mark.timeout(300)  # seconds of requests, and two starts of a run
def test_no_minute_sees_more_than_the_limit_and_nearly_as_much_while_nothing_dies(
    tmp_path: Path, server: ProviderServer
) -> None:
    limits = f"requests_per_minute={REQUESTS}, input_tokens_per_minute={REQUESTS * TOKENS}"
    script = script_of(tmp_path, server, ROWS, limits)
    first = script.start()
    try:
        until(lambda: len(server.asked) >= 240, "the account is busy, for seconds enough to tell the usual one")
        worker = max(of_kind(first.pid, "worker"), key=lambda one: one.num_threads())
        died = time.monotonic()
        worker.kill()
        until(lambda: len(server.asked) >= 525, "the others go on")
        processes = family(first.pid)
        restarted = time.monotonic()
        of_kind(first.pid, "coordinator")[0].kill()
        until(lambda: first.poll() is not None and all_gone(processes), "its run is over with it")
    finally:
        first.kill()
        first.wait()
    before = len(server.asked)

    assert script.run(timeout=150) == 0, script.output

    assert answers(script) == expected(ROWS)
    times = server.times
    assert {len(asked.prompt.split()) for asked in server.asked} == {TOKENS}, "so tokens are as many as requests"
    assert times[-1] - times[0] > 45, "most of a minute, with both deaths in it"
    assert most_in(60, times) <= REQUESTS
    again = times[before]
    quiet = [(times[0] + EDGE, died), (died + RECOVERY, restarted), (again + EDGE, times[-1] - EDGE)]
    rates = [usual_rate(start, end, times) for start, end in quiet]
    assert min(rates) > 0.9 * REQUESTS, rates
    for seconds in (5, 10, 30):
        assert most_in(seconds, times) <= REQUESTS * (seconds + 2) / 60, (
            "a second more at once, and one that the server was late"
        )


@pytest.mark.timeout(300)  # two starts of a run, and some seconds of requests
def test_a_run_that_goes_on_begins_with_the_limit_that_was_learnt(tmp_path: Path, server: ProviderServer) -> None:
    server.places = 10
    script = script_of(tmp_path, server, 250)
    first = script.start()
    try:
        until(lambda: (learnt(log_of(script)) or 32) < 32 or first.poll() is not None, "the limit is learnt")
        assert first.poll() is None, "it is learnt long before the run is over"
        first.send_signal(signal.SIGINT)
        first.wait(90)
    finally:
        kill_tree(first.pid)
        first.wait()
    places = learnt(log_of(script)) or 32
    beginning = Beginning(server)

    second = script.start()
    try:
        until(lambda: beginning.at_once is not None, "the first answer comes")
        server.latency = 0.1
        assert second.wait(120) == 0, script.output
    finally:
        kill_tree(second.pid)
        second.wait()

    assert answers(script) == expected(250)
    assert beginning.at_once is not None
    assert beginning.at_once <= places + 3, "four processes, each of which may send one"


def test_the_places_of_a_frozen_process_are_not_lent_to_others_while_its_requests_are_out(
    tmp_path: Path, server: ProviderServer
) -> None:
    server.latency = LENT_FOR * 2
    script = script_of(tmp_path, server, 60, "max_concurrency=8")
    run = script.start()
    try:
        until(lambda: len(server.asked) >= 8, "all places are taken")
        workers = of_kind(run.pid, "worker")
        frozen = max(workers, key=lambda worker: len(worker.net_connections("tcp")))
        frozen.suspend()
        server.latency = 0.1
        until(lambda: len(server.answered) >= 8, "its requests are over, its loan for long")
        frozen.resume()
        assert run.wait(120) == 0, script.output
    finally:
        kill_tree(run.pid)
        run.wait()

    assert answers(script) == expected(60)
    assert len(workers) > 1, "there are others that would have taken its places"
    assert server.most_at_once <= 8


def test_a_limit_that_headers_tell_one_process_holds_for_all(tmp_path: Path, server: ProviderServer) -> None:
    server.headers = {"x-ratelimit-limit-requests": "600"}
    script = script_of(tmp_path, server, 130)

    assert script.run() == 0, script.output

    assert answers(script) == expected(130)
    heard = server.answered[0].at + server.latency
    later = [at for at in server.times if at > heard + 2.5]
    assert len(later) > 60, "there is something left to send when all know of it"
    assert rate_between(later[0], later[-1], later) <= 600
    assert most_in(5, later) <= 60


def submitted(name: str, target: Path, server: ProviderServer, folder: Path, **limits: Any) -> SubmittedRun:
    """A run of two tasks on the account, at a broker."""
    with Pipeline(name, cache_dir=folder) as pipeline:
        load = make_generator_step(
            [{"instruction": f"please tell {name} of number {n:04d}"} for n in range(150)], batch_size=10
        )
        tasks = [
            TextGeneration(
                name=task,
                llm=OpenAILLM(model="m", base_url=f"{server.url}/openai/v1", **limits),
                input_batch_size=10,
                use_system_prompt=False,
            )
            for task in ("one", "two")
        ]
        load >> tasks >> GroupColumns(columns=["generation"], output_columns=["generations"])
    return pipeline.submit(target)


@pytest.mark.timeout(300)  # seconds of requests, a death, and another broker
def test_two_runs_of_a_broker_share_an_account_also_when_a_worker_and_the_broker_die(
    tmp_path: Path, server: ProviderServer
) -> None:
    with broker_in(tmp_path / "broker", tcp=True) as program, hosts_of(program, tmp_path) as hosts:
        workers = [hosts.start(name, "--slots", "4", OPENAI_API_KEY=KEY) for name in ("first", "second")]
        target = program.folder / "keys" / "client.json"
        runs = [submitted(name, target, server, tmp_path / name, requests_per_minute=REQUESTS) for name in ("a", "b")]
        until(lambda: len(server.asked) >= 100, "the account is busy")
        died = time.monotonic()
        max((child for host in workers for child in host.children()), key=lambda one: one.num_threads()).kill()
        until(lambda: len(server.asked) >= 250, "the others go on")
        restarted = time.monotonic()
        program.kill()
        program.start_again()
        distisets = [(run.wait(150), run.distiset()) for run in runs]

    for outcome, distiset in distisets:
        assert outcome == "done"
        assert [row["generations"] for row in distiset["default"]["train"]] == expected(150)
    times = server.times
    assert times[-1] - times[0] > 30
    assert most_in(60, times) <= REQUESTS
    for seconds in (5, 10, 30):
        assert most_in(seconds, times) <= REQUESTS * (seconds + 2) / 60
    assert rate_between(times[0] + EDGE, died, times) > 0.75 * REQUESTS, "the first seconds: shares are found"
    assert rate_between(restarted + RECOVERY, times[-1] - EDGE, times) > 0.9 * REQUESTS


@pytest.mark.timeout(300)  # three runs one after the other, and another broker
def test_a_run_of_a_broker_begins_with_what_another_has_learnt_also_after_a_kill(
    tmp_path: Path, server: ProviderServer
) -> None:
    server.places = 10
    with broker_in(tmp_path / "broker", tcp=True) as program, hosts_of(program, tmp_path) as hosts:
        hosts.start("host", "--slots", "4", OPENAI_API_KEY=KEY)
        target = program.folder / "keys" / "client.json"
        first = submitted("first", target, server, tmp_path / "first")
        until(lambda: (learnt(program.log) or 32) < 32 or first.info().state == "done", "the limit is learnt")
        outcomes = [first.wait(150)]
        for name in ("second", "after a kill"):
            places = learnt(program.log) or 32
            beginning = Beginning(server)
            if name == "after a kill":
                program.kill()
                program.start_again()
            run = submitted(name.replace(" ", "-"), target, server, tmp_path / name)
            until(lambda of=beginning: of.at_once is not None, "the first answer comes")
            server.latency = 0.1
            outcomes.append(run.wait(150))
            assert beginning.at_once is not None
            assert beginning.at_once <= places + 1, f"{name}: two processes, each of which may send one"
            server.places, server.latency = 10, 0.3  # so that the next one finds a limit again, and not more

    assert outcomes == ["done"] * 3
