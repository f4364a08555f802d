"""Ctrl+C: counted while a run is followed, raised otherwise, and the handler that was there comes back."""

from __future__ import annotations

import os
import select
import signal
import threading
import time

import pytest

from distilmq.pipeline.interrupt import Interrupts

ENDINGS = (signal.SIGTERM, signal.SIGHUP)


def interrupt(number: signal.Signals = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


def test_a_held_interrupt_wakes_the_poll_and_is_counted() -> None:
    with Interrupts() as interrupts, interrupts.held():
        interrupt()
        interrupt()

        assert select.select(interrupts.files, [], [], 5)[0] == interrupts.files
        assert interrupts.count == 2
        assert select.select(interrupts.files, [], [], 0)[0] == []


def test_interrupts_that_come_before_python_looks_are_counted_one_by_one() -> None:
    def interrupt_twice() -> None:
        for _ in range(2):
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    with Interrupts() as interrupts, interrupts.held():
        thread = threading.Thread(target=interrupt_twice)
        thread.start()
        # Python runs handlers in this thread, between two instructions: not while it waits for the other.
        thread.join()

        assert interrupts.count == 2


def test_an_interrupt_that_was_held_is_raised_where_they_are_raised_again() -> None:
    reached: list[str] = []

    with Interrupts() as interrupts, interrupts.held():
        interrupt()

        with pytest.raises(KeyboardInterrupt), interrupts.raised():
            reached.append("inside")
        interrupt()

    assert (reached, interrupts.count) == ([], 2)


def test_other_signals_reach_the_one_who_listened_before() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    handler = signal.signal(signal.SIGUSR1, lambda number, frame: None)
    before = signal.set_wakeup_fd(writer)
    try:
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert interrupts.count == 0
        assert os.read(reader, 64) == bytes([signal.SIGUSR1])
        os.kill(os.getpid(), signal.SIGUSR1)
        assert os.read(reader, 64) == bytes([signal.SIGUSR1]), "it listens again"
    finally:
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGUSR1, handler)
        os.close(reader)
        os.close(writer)


def test_who_asks_whether_the_end_is_forced_takes_no_interrupt_from_who_polls() -> None:
    with Interrupts() as interrupts, interrupts.held():
        interrupt()

        assert not interrupts.forced
        assert select.select(interrupts.files, [], [], 0)[0] == interrupts.files


def test_a_wait_goes_on_as_usual_until_it_is_forced_to_end() -> None:
    with Interrupts() as interrupts, interrupts.held():
        interrupt()
        assert not interrupts.wait(lambda seconds: False, 0.05), "its time is over"
        assert not interrupts.forced
        interrupt()
        started = time.monotonic()

        assert not interrupts.wait(lambda seconds: False, 60)

        assert interrupts.forced
        assert time.monotonic() - started < 10
        assert interrupts.wait(lambda seconds: True, 60), "what has ended has ended"


def test_an_interrupt_is_raised_outside() -> None:
    with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt):
        interrupt()

    assert interrupts.count == 1


def test_the_handler_that_was_there_comes_back() -> None:
    before = signal.getsignal(signal.SIGINT)

    with Interrupts():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before

    with pytest.raises(ZeroDivisionError), Interrupts():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) == before


def test_an_ignored_interrupt_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            interrupt()

            assert interrupts.count == 0
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_nothing_is_installed() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def in_thread() -> None:
        with Interrupts() as interrupts:
            seen.extend([signal.getsignal(signal.SIGINT), interrupts.files])

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()

    assert seen == [before, []]


@pytest.mark.parametrize("number", ENDINGS)
def test_what_ends_a_process_is_counted_as_well_and_ends_it_with_its_status(number: signal.Signals) -> None:
    with Interrupts() as interrupts, interrupts.held():
        interrupt(number)

        assert select.select(interrupts.files, [], [], 5)[0] == interrupts.files
        assert interrupts.count == 1
        ending = interrupts.ending()

    assert isinstance(ending, SystemExit)
    assert ending.code == 128 + number
    assert signal.getsignal(number) == signal.SIG_DFL


@pytest.mark.parametrize("number", ENDINGS)
def test_where_nothing_is_held_it_ends_the_script_at_once(number: signal.Signals) -> None:
    with pytest.raises(SystemExit) as ended, Interrupts():
        interrupt(number)

    assert ended.value.code == 128 + number


def test_the_first_signal_says_how_the_script_ends() -> None:
    with Interrupts() as interrupts, interrupts.held():
        interrupt(signal.SIGINT)
        assert interrupts.count == 1
        interrupt(signal.SIGTERM)

        assert interrupts.count == 2
        assert isinstance(interrupts.ending(), KeyboardInterrupt)


def test_endings_that_come_together_are_one_and_a_later_one_is_another() -> None:
    now = 100.0
    with Interrupts(lambda: now) as interrupts, interrupts.held():
        interrupt(signal.SIGHUP)
        interrupt(signal.SIGHUP)
        assert interrupts.count == 1
        now = 100.5
        interrupt(signal.SIGTERM)
        assert interrupts.count == 1
        now = 102.0
        interrupt(signal.SIGTERM)
        assert interrupts.count == 2


@pytest.mark.parametrize("number", ENDINGS)
def test_whoever_handles_them_goes_on_handling_them(number: signal.Signals) -> None:
    heard: list[int] = []
    before = signal.signal(number, lambda number, frame: heard.append(number))
    mine = signal.getsignal(number)
    try:
        with Interrupts() as interrupts, interrupts.held():
            interrupt(number)
            assert interrupts.count == 0
        assert (heard, signal.getsignal(number)) == ([number], mine)
    finally:
        signal.signal(number, before)


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts, interrupts.held():
            interrupt(signal.SIGHUP)
            assert interrupts.count == 0
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_another_thread_they_are_left_alone() -> None:
    handlers: list[object] = []

    def look() -> None:
        with Interrupts():
            handlers.extend(signal.getsignal(number) for number in ENDINGS)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()

    assert handlers == [signal.SIG_DFL, signal.SIG_DFL]
