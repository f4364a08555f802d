"""What a person sees of a run: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from distilmq.pipeline.usage import UNKNOWN, dollars, short_count
from distilmq.protocol.messages import Note, Progress, StepProgress

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

_PLAIN_EVERY = 10.0
"""Seconds between two plain lines about a run whose state does not change."""
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_COLUMNS = ("step", "state", "batches", "rows", "rows/s", "failed", "tokens", "cost", "ETA")
_OF_MODELS = ("tokens", "cost")
_FIRST_TO_GO = ("batches", "rows/s")
_NARROW = 78
"""Characters that all columns need."""
_STYLES = {"done": "green", "reused": "green", "failed": "red", "stalled": "yellow", "running": "cyan"}
_OVER = ("done", "stopped", "failed")
_FIRST = ("failed", "stalled", "running", "loading", "waiting")
"""States of steps in the order in which they are shown where there is no room for all."""

_log = logging.getLogger("distilmq.pipeline")


class View(Protocol):
    """Shows a run; also a `client.Follower`."""

    last: Progress | None
    """What was shown last."""

    def progress(self, progress: Progress) -> None:
        """The state of the run has changed."""
        ...

    def note(self, note: Note) -> None:
        """A step or the coordinator has something to say."""
        ...

    def close(self) -> None:
        """Leaves the last state on the screen."""
        ...


def open_view(name: str, run: str = "") -> View:
    """A live view when the standard error is a terminal, else plain lines.

    Args:
        name: of the pipeline.
        run: what names the run on the command line.
    """
    return LiveView(name, run=run) if sys.stderr.isatty() else PlainView(name, run)


class Rates:
    """Rows per second of each step, from when it was first seen in this run until it is done."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[float, int]] = {}
        self._ended: dict[str, float] = {}

    def rate(self, step: StepProgress, now: float) -> float | None:
        """Rows per second; None while there is nothing to measure."""
        began, rows = self._first.setdefault(step.step, (now, step.rows))
        if step.state in ("done", "reused"):
            now = self._ended.setdefault(step.step, now)
        if now - began < 0.5 or step.rows <= rows:
            return None
        return (step.rows - rows) / (now - began)

    def remaining(self, step: StepProgress, now: float) -> float | None:
        """Seconds until the step is through with the rows it expects; None when it is not known."""
        rate = self.rate(step, now)
        if rate is None or step.known_rows is None or step.state in ("done", "reused"):
            return None
        seen = step.rows if step.kind == "generator" else step.rows_in
        return max(0.0, (step.known_rows - seen) / rate)


class PlainView:
    """A line when a step or the run changes its state, and now and then in between."""

    def __init__(self, name: str, run: str = "") -> None:
        self.last: Progress | None = None
        self._name = name
        self._run = run
        self._said: dict[str, str] = {}
        self._next = 0.0
        self._rates = Rates()

    def progress(self, progress: Progress) -> None:
        """Prints what has changed."""
        self.last = progress
        now = time.monotonic()
        over = progress.state in _OVER
        news = self._changed("", progress.state)
        if news and not over:
            self._print(headline(self._name, progress, self._run))
        changed = [step for step in progress.steps if self._changed(step.step, _standing(step)) and _tells(step)]
        for step in changed:
            self._print(line(step, self._rates, now))
        if news and over:
            self._print(headline(self._name, progress, self._run))
        if now >= self._next:
            self._next = now + _PLAIN_EVERY
            for step in progress.steps:
                if step.state in ("running", "stalled") and step not in changed:
                    self._print(line(step, self._rates, now))
            if progress.state == "draining":
                self._print(headline(self._name, progress, self._run))

    def note(self, note: Note) -> None:
        """Logs it."""
        log_note(note)

    def close(self) -> None:
        """Nothing is left open."""

    def _changed(self, key: str, state: str) -> bool:
        changed = self._said.get(key) != state
        self._said[key] = state
        return changed

    def _print(self, text: str) -> None:
        with suppress(OSError):  # the terminal is gone
            print(text, file=sys.stderr, flush=True)


def _tells(step: StepProgress) -> bool:
    """Whether a line about it says anything: not of one that waits for others, but of one that waits for the user."""
    return step.state != "waiting" or bool(step.note)


def _standing(step: StepProgress) -> str:
    """What makes a line about a step worth printing when it changes."""
    return f"{step.state} {step.note}" if step.state == "waiting" else step.state


class LiveView:
    """A table that is painted over, on the standard error; what is printed meanwhile scrolls above it."""

    def __init__(self, name: str, console: Console | None = None, *, run: str = "") -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        self.last: Progress | None = None
        self._name = name
        self._run = run
        self._rates = Rates()
        self._console = console or Console(stderr=True)
        self._live: Any = Live(console=self._console, refresh_per_second=8, transient=False)
        self._live.start()
        self._live.update(Text(f"{name}: starting"), refresh=True)

    def progress(self, progress: Progress) -> None:
        """Paints the table anew."""
        self.last = progress
        self._live.update(self.table(progress, time.monotonic(), room=self._console.height))

    def note(self, note: Note) -> None:
        """Logs it above the table."""
        log_note(note)

    def close(self) -> None:
        """Leaves the last state on the screen, with all steps."""
        if self.last is not None and self._live.is_started:
            self._live.update(self.table(self.last, time.monotonic()))
        with suppress(OSError):  # the terminal is gone
            self._live.stop()

    def _cells(self, step: StepProgress, now: float) -> dict[str, str | Text]:
        from rich.text import Text

        eta = self._rates.remaining(step, now)
        tokens, cost = model_cells(step)
        return {
            "step": Text(step.step),
            "state": Text(shown_state(step), style=_STYLES.get(step.state, "dim")),
            "batches": f"{step.batches}/{step.known_batches}",
            "rows": rows_of(step),
            "rows/s": shown_rate(self._rates.rate(step, now)),
            "failed": Text(str(step.failed_rows), style="red" if step.failed_rows else "dim"),
            "tokens": tokens,
            "cost": cost,
            "ETA": "" if eta is None else duration(eta),
        }

    def table(self, progress: Progress, now: float, *, room: int | None = None) -> RenderableType:
        """The whole picture; of more steps than there is `room` for, those that are at work."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        columns = shown_columns(progress, self._console.width)
        table = Table(box=None, pad_edge=False, header_style="dim")
        for column in columns:
            # Where there is no room names are cut, not numbers.
            left = column in ("step", "state")
            table.add_column(column, justify="left" if left else "right", no_wrap=column != "step")
        notes = [Text(f"{step.step}: {step.note}", style="yellow") for step in progress.steps if step.note]
        # Beside the rows there are the headline, the names of the columns, and what says that some are not shown.
        shown = fitting(progress.steps, None if room is None else room - len(notes) - 3)
        for step in shown:
            cells = self._cells(step, now)
            table.add_row(*(cells[column] for column in columns))
        if more := len(progress.steps) - len(shown):
            notes.append(Text(f"and {more} more: {counted(progress.steps, shown)}", style="dim"))
        return Group(Text(headline(self._name, progress, self._run), style="bold"), table, *notes)


def fitting(steps: Sequence[StepProgress], room: int | None) -> list[StepProgress]:
    """The steps that `room` rows can show, at least one: those that are at work before the others, in their order."""
    if room is None or len(steps) <= room:
        return list(steps)
    ranks = {state: rank for rank, state in enumerate(_FIRST)}
    places = sorted(range(len(steps)), key=lambda place: (ranks.get(steps[place].state, len(ranks)), place))
    return [steps[place] for place in sorted(places[: max(1, room)])]


def counted(steps: Sequence[StepProgress], shown: Sequence[StepProgress]) -> str:
    """How many of the steps that are not shown are in which state, such as `8 done, 3 waiting`."""
    states = Counter(step.state for step in steps)
    states.subtract(Counter(step.state for step in shown))
    return ", ".join(f"{count} {state}" for state, count in states.items() if count)


def shown_columns(progress: Progress, width: int) -> list[str]:
    """What the table shows: tokens and money when a step calls models, then less of the rest where there is no room."""
    models = any(step.models for step in progress.steps)
    left_out = (() if models else _OF_MODELS) + (_FIRST_TO_GO if models and width < _NARROW else ())
    return [column for column in _COLUMNS if column not in left_out]


def headline(name: str, progress: Progress, run: str = "") -> str:
    """The run in one line; while it drains, with the countdown; while it is paused, with how to go on.

    Args:
        name: of the pipeline.
        progress: of the run.
        run: what names it on the command line.
    """
    stage = f", stage {progress.stage + 1} of {progress.stages}" if progress.stages > 1 else ""
    reason = f" ({progress.reason})" if progress.reason else ""
    if progress.state == "draining":
        why = f"; {progress.reason}" if progress.reason else ""
        left = "" if progress.stop_in is None else f", at most {progress.stop_in:.0f} s"
        batches = "1 batch" if progress.waiting_for == 1 else f"{progress.waiting_for} batches"
        return f"{name}: stopping; waiting for {batches} in flight{left}{why} (Ctrl+C again to stop at once)"
    if progress.resumable:
        where = run or progress.run
        reason += f". `distilmq pipeline resume {where}` goes on; Ctrl+C stops, and what is done is kept"
    return f"{name}: {progress.state}{stage}{reason}"


def failures(progress: Progress) -> str:
    """What there is to say about rows that failed; nothing when none did."""
    failed = [f"{step.failed_rows} in step '{step.step}'" for step in progress.steps if step.failed_rows]
    if not failed:
        return ""
    return (
        f"Rows that failed: {', '.join(failed)}. They are None in the columns of that step;"
        " `pipeline.last_run.failures` has each with its error, and `distilmq failures retry` computes them again."
    )


def line(step: StepProgress, rates: Rates, now: float) -> str:
    """A step in one line."""
    parts = [
        f"{step.step}: {shown_state(step)}",
        f"{step.batches}/{step.known_batches} batches",
        f"{rows_of(step)} rows",
    ]
    rate, eta = rates.rate(step, now), rates.remaining(step, now)
    if rate is not None:
        parts.append(f"{shown_rate(rate)} rows/s")
    if step.failed_rows:
        parts.append(f"{step.failed_rows} failed")
    if step.requests:
        parts.append(f"{tokens_of(step)} tokens in/out, {dollars(step.cost)}")
    if eta is not None:
        parts.append(f"{duration(eta)} left")
    if step.note:
        parts.append(step.note)
    return ", ".join(parts)


def shown_state(step: StepProgress) -> str:
    """`loading 1/3` while replicas come up, else the state."""
    if step.replicas > step.ready and step.state in ("loading", "running") and step.replicas > 1:
        return f"{step.state} {step.ready}/{step.replicas}"
    return step.state


def rows_of(step: StepProgress) -> str:
    """Rows done of those known."""
    if step.known_rows is None:
        return str(step.rows)
    done = step.rows if step.kind == "generator" else step.rows_in
    return f"{done}/{step.known_rows}"


def tokens_of(step: StepProgress) -> str:
    """Input and output tokens so far; where a model does not tell, those that are known, or a dash."""
    told = ((step.input_tokens, step.input_untold), (step.output_tokens, step.output_untold))
    return "/".join(_tokens(tokens, untold) for tokens, untold in told)


def _tokens(tokens: int, untold: int) -> str:
    if not untold:
        return short_count(tokens)
    return f"≥{short_count(tokens)}" if tokens else UNKNOWN


def model_cells(step: StepProgress) -> tuple[str, str]:
    """Tokens and cost of a step; nothing of one that calls no model."""
    return (tokens_of(step), dollars(step.cost)) if step.models and step.requests else ("", "")


def shown_rate(rate: float | None) -> str:
    """Two figures that mean something."""
    if rate is None:
        return ""
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}"


def duration(seconds: float) -> str:
    """`4 s`, `3:20`, `2:03:20`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def log_note(note: Note) -> None:
    """Hands a note to the logger of its step, where the caller's handlers hear it."""
    logger = logging.getLogger(f"distilmq.step.{note.step}") if note.step else _log
    logger.log(_LEVELS[note.level], "%s", _words(note))


def _words(note: Note) -> str:
    if note.event == "logged":  # by the step itself: its own words
        return note.text
    return f"{note.event}: {note.text}" if note.text else note.event
