"""Ctrl+C: counted while a run is followed, raised otherwise, and the handler that was there comes back."""

from __future__ import annotations

import os
import select
import signal
import threading

import pytest

from distilmq.pipeline.interrupt import Interrupts


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_a_held_interrupt_is_counted_and_wakes_the_poll() -> None:
    with Interrupts() as interrupts, interrupts.held():
        interrupt()
        interrupt()

        assert interrupts.count == 2
        assert select.select(interrupts.files, [], [], 5)[0] == interrupts.files
        interrupts.clear()
        assert select.select(interrupts.files, [], [], 0)[0] == []


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
