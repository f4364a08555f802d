"""Ctrl+C: counted while a run is followed, raised otherwise, and the handler that was there comes back."""

from __future__ import annotations

import os
import select
import signal
import threading
import time

import pytest

from distilmq.pipeline.interrupt import Interrupts


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


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

            assert (interrupts.count, interrupts.files) == (0, [])
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
