"""Answers that a batch already has are found again, and a draining worker sends nothing new."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from distilmq.errors import DrainedError, InvalidRequestError, RequestsFailedError
from distilmq.models import LLM, OpenAILLM
from distilmq.models.requests.answers import KnownAnswer, asking_for, current_answers, failed_requests
from distilmq.models.requests.sources import Generation
from distilmq.testing import ScriptedLLM, requests_in
from tests.servers.providers import KEY, ProviderServer
from tests.waiting import until


class Book:
    """The answers of one batch, in memory."""

    def __init__(self) -> None:
        self.answers: defaultdict[tuple[int, bytes], list[bytes]] = defaultdict(list)
        self.drains = threading.Event()
        self.threads: set[int] = set()

    def page(self) -> Page:
        return Page(self)

    @property
    def rows(self) -> list[int]:
        return sorted(row for (row, _), answers in self.answers.items() for _ in answers)


class Page:
    """What one call of `process` sees of it."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.found: Counter[tuple[int, bytes]] = Counter()

    def draining(self) -> bool:
        return self.book.drains.is_set()

    def find(self, row: int, key: bytes) -> KnownAnswer | None:
        self.book.threads.add(threading.get_ident())
        occurrence = self.found[row, key]
        self.found[row, key] += 1
        answers = self.book.answers[row, key]
        return KnownAnswer(answers[occurrence], occurrence) if occurrence < len(answers) else None

    def keep(self, row: int, key: bytes, answer: bytes, occurrence: int | None = None) -> int:
        self.book.threads.add(threading.get_ident())
        self.book.answers[row, key].append(answer)
        return len(self.book.answers[row, key]) - 1

    def gave(self, row: int, generations: Sequence[Generation]) -> None:
        """Nobody asks."""

    def spoil(self, row: int, generation: int) -> None:
        """Nobody asks."""


@contextmanager
def batch(book: Book, failed: dict[bytes, Exception] | None = None) -> Iterator[None]:
    """One call of `process`, as a worker makes it."""
    answers, failures = current_answers.set(book.page()), failed_requests.set(failed)
    try:
        yield
    finally:
        current_answers.reset(answers)
        failed_requests.reset(failures)


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def llm(tmp_path: Path) -> Iterator[ScriptedLLM]:
    model = ScriptedLLM(counter=tmp_path / "requests.jsonl", fail_on=["bad"])
    model.load()
    yield model
    model.unload()


def asked_of(llm: ScriptedLLM) -> list[str]:
    assert llm.counter is not None
    return sorted(requests_in(llm.counter))


def test_an_answered_request_is_not_sent_again(llm: ScriptedLLM) -> None:
    book = Book()
    with batch(book):
        first = llm.generate_outputs([chat("a"), chat("b")])

    with batch(book):
        second = llm.generate_outputs([chat("a"), chat("b"), chat("c")])

    assert list(second[:2]) == list(first)
    assert asked_of(llm) == ["a", "b", "c"]


def test_other_arguments_are_another_request(llm: ScriptedLLM) -> None:
    book = Book()
    with batch(book):
        llm.generate_outputs([chat("a")], max_new_tokens=8)

    with batch(book):
        llm.generate_outputs([chat("a")], max_new_tokens=16)

    assert asked_of(llm) == ["a", "a"]


def test_operational_fields_do_not_make_another_request(llm: ScriptedLLM) -> None:
    book = Book()
    with batch(book):
        llm.generate_outputs([chat("a")])

    llm.max_retries = 1
    with batch(book):
        llm.generate_outputs([chat("a")])

    assert asked_of(llm) == ["a"]


def test_neighbours_of_a_failing_request_keep_their_answers(llm: ScriptedLLM) -> None:
    book = Book()
    with batch(book), pytest.raises(RequestsFailedError):
        llm.generate_outputs([chat("a"), chat("bad"), chat("c")])

    with batch(book):
        outputs = llm.generate_outputs([chat("a")])

    assert outputs[0]["generations"] == ["a"]
    assert book.rows == [0, 2]
    assert asked_of(llm) == ["a", "bad", "c"]


def test_a_failed_request_is_not_sent_again_while_its_batch_is_halved(llm: ScriptedLLM) -> None:
    book, failed = Book(), dict[bytes, Exception]()
    with batch(book, failed), pytest.raises(RequestsFailedError):
        llm.generate_outputs([chat("a"), chat("bad")])

    with batch(book, failed), pytest.raises(InvalidRequestError):
        llm.generate_outputs([chat("bad")])

    assert asked_of(llm) == ["a", "bad"]


def test_answers_are_kept_under_the_rows_they_are_for(llm: ScriptedLLM) -> None:
    book = Book()

    with batch(book), asking_for((3, 7)):
        llm.generate_outputs([chat("a"), chat("b")])

    assert book.rows == [3, 7]


def test_equal_requests_of_one_row_have_each_an_answer_of_their_own(server: ProviderServer) -> None:
    class OneAtATime(OpenAILLM):
        _num_generations_param_supported = False

        async def agenerate(self, input: Any, max_new_tokens: int = 8) -> Any:
            return await super().agenerate(input, max_new_tokens=max_new_tokens)

    turns = iter("abcdef")
    server.says = lambda prompt: next(turns)
    llm, book = OneAtATime(model="m"), Book()
    llm.load()
    with batch(book):
        [first] = llm.generate_outputs([chat("one")], num_generations=3)

    with batch(book):
        [second] = llm.generate_outputs([chat("one")], num_generations=3)

    llm.unload()
    assert sorted(first["generations"], key=str) == ["a", "b", "c"]
    assert sorted(second["generations"], key=str) == ["a", "b", "c"]
    assert len(server.asked) == 3


def test_the_book_is_only_used_from_the_calling_thread(llm: ScriptedLLM) -> None:
    book = Book()

    with batch(book):
        llm.generate_outputs([chat("a"), chat("b")])

    assert book.threads == {threading.get_ident()}


def test_a_damaged_answer_is_asked_for_again(llm: ScriptedLLM) -> None:
    book = Book()
    [key] = llm.keys_of([chat("a")], 1, {})
    book.answers[0, key] = [b"\xc1 no answer"]

    with batch(book):
        [output] = llm.generate_outputs([chat("a")])

    assert output["generations"] == ["a"]


def test_a_list_model_is_asked_only_for_what_is_missing() -> None:
    asked: list[str] = []

    class Shouting(LLM):
        @property
        def model_name(self) -> str:
            return "shouting"

        def generate(self, inputs: list[Any], num_generations: int = 1) -> list[Any]:
            asked.extend(input[-1]["content"] for input in inputs)
            return [{"generations": [input[-1]["content"].upper()], "statistics": {}} for input in inputs]

    llm, book = Shouting(), Book()
    with batch(book):
        llm.generate_outputs([chat("a"), chat("b")])

    with batch(book):
        outputs = llm.generate_outputs([chat("a"), chat("b"), chat("c")])

    assert [output["generations"] for output in outputs] == [["A"], ["B"], ["C"]]
    assert asked == ["a", "b", "c"]


def test_a_list_model_is_not_asked_while_the_worker_drains() -> None:
    class Silent(LLM):
        @property
        def model_name(self) -> str:
            return "silent"

        def generate(self, inputs: list[Any], num_generations: int = 1) -> list[Any]:
            raise AssertionError("it was asked")

    book = Book()
    book.drains.set()

    with batch(book), pytest.raises(DrainedError):
        Silent().generate_outputs([chat("a")])


# ---------------------------------------------------------------- draining, over HTTP


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{running.url}/openai/v1")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        yield running


def test_draining_awaits_what_is_out_and_sends_nothing_new(server: ProviderServer) -> None:
    llm, book = OpenAILLM(model="m", max_concurrency=2), Book()
    llm.load()
    raised: list[Exception] = []

    def work() -> None:
        with batch(book):
            try:
                llm.generate_outputs([chat(str(number)) for number in range(6)])
            except DrainedError as error:
                raised.append(error)

    server.hold()
    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: len(server.asked) == 2)

    book.drains.set()
    server.release()
    thread.join(30)

    assert len(raised) == 1
    assert len(server.asked) == 2
    assert book.rows == [0, 1]
    book.drains.clear()
    with batch(book):
        outputs = llm.generate_outputs([chat(str(number)) for number in range(6)])
    llm.unload()
    assert [output["generations"] for output in outputs] == [[f"You said: {number}"] for number in range(6)]
    assert len(server.asked) == 6


def test_draining_does_not_wait_for_another_try(server: ProviderServer) -> None:
    server.fail("0", status=429, retry_after=3600)
    llm, book = OpenAILLM(model="m"), Book()
    llm.load()
    raised: list[Exception] = []

    def work() -> None:
        with batch(book):
            try:
                llm.generate_outputs([chat("0"), chat("1")])
            except DrainedError as error:
                raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: book.rows == [1])

    book.drains.set()
    thread.join(30)

    llm.unload()
    assert len(raised) == 1
    assert server.prompts.count("0") == 1
