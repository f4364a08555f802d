"""What a person sees of a run."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console

from distilmq.pipeline.progress import (
    LiveView,
    PlainView,
    Rates,
    duration,
    failures,
    headline,
    line,
    shown_columns,
)
from distilmq.protocol.messages import Note, Progress, StepProgress

LOAD = StepProgress(step="load", kind="generator", state="running", batches=4, known_batches=5, rows=40, known_rows=100)
TASK = StepProgress(
    step="task", state="running", batches=2, known_batches=4, rows=20, rows_in=20, known_rows=100, replicas=2, ready=1,
    failed_rows=3, note="stalled for 70 s",
)  # fmt: skip


def test_rates_and_times_left_are_of_this_run() -> None:
    rates = Rates()
    later = TASK.model_copy(update={"rows": 60, "rows_in": 60})

    assert rates.rate(TASK, now=10.0) is None
    assert rates.rate(later, now=14.0) == pytest.approx(10.0)
    assert rates.remaining(later, now=14.0) == pytest.approx(4.0)


def test_the_rate_of_a_step_that_is_done_stays() -> None:
    rates = Rates()
    done = TASK.model_copy(update={"rows": 60, "state": "done"})
    rates.rate(TASK, now=10.0)

    assert rates.rate(done, now=14.0) == rates.rate(done, now=99.0) == pytest.approx(10.0)


def test_nobody_knows_how_long_an_unknown_number_of_rows_takes() -> None:
    rates = Rates()
    unknown = TASK.model_copy(update={"known_rows": None})
    rates.rate(unknown, now=0.0)

    assert rates.remaining(unknown.model_copy(update={"rows": 90}), now=2.0) is None


def test_a_line_says_all_of_a_step() -> None:
    rates = Rates()
    line(TASK, rates, now=0.0)

    assert line(TASK.model_copy(update={"rows": 40, "rows_in": 40}), rates, now=2.0) == (
        "task: running 1/2, 2/4 batches, 40/100 rows, 10 rows/s, 3 failed, 6 s left, stalled for 70 s"
    )


def test_a_draining_run_counts_down() -> None:
    draining = Progress(run="r", state="draining", stop_in=118.4, waiting_for=2)

    assert headline("pipe", draining) == (
        "pipe: stopping; waiting for 2 batches in flight, at most 118 s (Ctrl+C again to stop at once)"
    )


def test_stages_and_reasons_are_named() -> None:
    paused = Progress(run="r", state="paused", stage=1, stages=3, reason="disk full")

    assert headline("pipe", paused) == "pipe: paused, stage 2 of 3 (disk full)"


def test_a_run_that_waits_for_its_user_says_how_to_go_on() -> None:
    paused = Progress(run="r", state="paused", reason="step 'ask': too many", resumable=True)

    assert headline("pipe", paused, "/runs/1") == (
        "pipe: paused (step 'ask': too many). `distilmq pipeline resume /runs/1` goes on; Ctrl+C stops, and what is"
        " done is kept"
    )


@pytest.mark.parametrize(("seconds", "shown"), [(4.4, "4 s"), (200, "3:20"), (7400, "2:03:20")])
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_without_a_terminal_there_is_a_line_for_each_change(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainView("pipe")
    waiting = TASK.model_copy(update={"state": "waiting", "note": ""})

    view.progress(Progress(run="r", state="running", steps=(LOAD, waiting)))
    view.progress(Progress(run="r", state="running", steps=(LOAD, waiting)))
    view.progress(Progress(run="r", state="done", steps=(LOAD.model_copy(update={"state": "done"}), waiting)))
    view.close()

    assert capsys.readouterr().err.splitlines() == [
        "pipe: running",
        "load: running, 4/5 batches, 40/100 rows",
        "load: done, 4/5 batches, 40/100 rows",
        "pipe: done",
    ]


def test_without_a_terminal_it_is_said_once_what_a_step_waits_for(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainView("pipe")
    waiting = TASK.model_copy(update={"state": "waiting", "note": "waits for a secret: llm.api_key"})

    view.progress(Progress(run="r", state="running", steps=(waiting,)))
    view.progress(Progress(run="r", state="running", steps=(waiting,)))
    view.progress(Progress(run="r", state="running", steps=(waiting.model_copy(update={"note": ""}),)))
    view.close()

    assert capsys.readouterr().err.splitlines() == [
        "pipe: running",
        "task: waiting, 2/4 batches, 20/100 rows, 3 failed, waits for a secret: llm.api_key",
    ]


def test_in_a_terminal_there_is_a_table() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    view = LiveView("pipe", console)

    view.progress(Progress(run="r", state="running", steps=(LOAD, TASK)))
    view.close()

    shown = screen.getvalue()
    assert "pipe: running" in shown
    assert "40/100" in shown
    assert "running 1/2" in shown
    assert "task: stalled for 70 s" in shown


def test_a_small_terminal_shows_the_steps_at_work() -> None:
    states = ["done"] * 8 + ["running", "done", "stalled"] + ["waiting"] * 9
    steps = tuple(LOAD.model_copy(update={"step": f"step-{n}.", "state": state}) for n, state in enumerate(states))
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, height=8, color_system=None)
    view = LiveView("pipe", console)

    view.progress(Progress(run="r", state="running", steps=steps))
    view._live.refresh()  # pyright: ignore[reportPrivateUsage]  # not to wait for its clock
    small = screen.getvalue()
    view.close()

    assert [step.step for step in steps if step.step in small] == [
        "step-8.",
        "step-10.",
        "step-11.",
        "step-12.",
        "step-13.",
    ]
    assert "and 15 more: 9 done, 6 waiting" in small
    assert all(step.step in screen.getvalue() for step in steps), "at the end all are shown"


def test_what_a_step_logs_stands_in_its_own_words(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "distilmq"):
        PlainView("pipe").note(Note(session="s", step="task", level="info", event="logged", text="half way"))

    assert [record.getMessage() for record in caplog.records] == ["half way"]


def test_notes_go_to_the_logger_of_their_step(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "distilmq"):
        PlainView("pipe").note(Note(session="s", step="task", level="warning", event="stalled", text="for 60 s"))

    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("distilmq.step.task", "WARNING", "stalled: for 60 s")
    ]


def test_rows_that_failed_are_said_at_the_end() -> None:
    done = Progress(run="r", state="done", steps=(LOAD, TASK))

    assert failures(done).startswith("Rows that failed: 3 in step 'task'.")
    assert failures(Progress(run="r", state="done", steps=(LOAD,))) == ""


def test_names_are_no_markup() -> None:
    screen = io.StringIO()
    view = LiveView("[red]pipe[/]", Console(file=screen, force_terminal=True, width=100, color_system=None))

    view.progress(Progress(run="r", state="running", steps=(LOAD.model_copy(update={"note": "[bold]odd[/bold]"}),)))
    view.close()

    assert "[red]pipe[/]: running" in screen.getvalue()
    assert "load: [bold]odd[/bold]" in screen.getvalue()


ASKING = TASK.model_copy(
    update={"models": True, "requests": 20, "input_tokens": 12_345, "output_tokens": 678, "cost": 1.234}
)


def test_a_line_says_what_models_took() -> None:
    assert "3 failed, 12.3k/678 tokens in/out, $1.23" in line(ASKING, Rates(), now=0.0)


def test_tokens_that_are_not_told_are_no_zeros() -> None:
    part = ASKING.model_copy(update={"input_untold": 1})
    none = ASKING.model_copy(update={"input_tokens": 0, "output_tokens": 0, "input_untold": 20, "output_untold": 20})

    assert "≥12.3k/678 tokens in/out" in line(part, Rates(), now=0.0)
    assert "—/— tokens in/out" in line(none, Rates(), now=0.0)


def test_tokens_and_money_are_shown_when_a_step_calls_models() -> None:
    assert shown_columns(Progress(run="r", state="running", steps=(LOAD, TASK)), 200) == [
        "step", "state", "batches", "rows", "rows/s", "failed", "ETA",
    ]  # fmt: skip
    assert shown_columns(Progress(run="r", state="running", steps=(LOAD, ASKING)), 200) == [
        "step", "state", "batches", "rows", "rows/s", "failed", "tokens", "cost", "ETA",
    ]  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 120])
def test_numbers_are_whole_in_a_narrow_terminal(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    view = LiveView("pipe", console)
    try:
        long = ASKING.model_copy(
            update={"step": "a_step_with_a_name_that_is_long", "rows_in": 6000, "known_rows": 10000}
        )
        with console.capture() as capture:
            console.print(view.table(Progress(run="r", state="running", steps=(LOAD, long)), now=0.0))
    finally:
        view.close()

    shown = capture.get()
    for number in ("6000/10000", "12.3k/678", "$1.23"):
        assert number in shown
    assert max(map(len, shown.splitlines())) <= width


def test_a_draining_run_says_which_bound_it_has_reached() -> None:
    draining = Progress(run="r", state="draining", stop_in=8.0, waiting_for=1, reason="max_cost is reached")

    assert "1 batch in flight, at most 8 s; max_cost is reached (Ctrl+C" in headline("pipe", draining)
