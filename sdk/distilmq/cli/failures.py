"""`distilmq failures`: the rows of a run that failed, and computing them again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from distilmq.cli.broker_runs import found, line_to
from distilmq.errors import JournalError, RunError
from distilmq.pipeline.attached import ask
from distilmq.pipeline.dead_letters import readable
from distilmq.pipeline.finding import find_run
from distilmq.pipeline.prepare import cache_dir_of
from distilmq.pipeline.revising import revise
from distilmq.pipeline.submitted_run import SubmittedRun
from distilmq.pipeline.submitting import attached, retry_at_broker
from distilmq.protocol.failure_filter import FailureFilter
from distilmq.utils.mistakes import fail, told

app = typer.Typer(no_args_is_help=True, help="Look at the rows of a run that failed, and compute them again.")

Run = Annotated[str, typer.Argument(help="A run's directory or id, or a pipeline's name for its latest run.")]
Broker = Annotated[
    Optional[str],  # noqa: UP045  # typer reads the annotation
    typer.Option("--broker", help="For a run at a broker: the broker's connection file for clients."),
]
Steps = Annotated[
    Optional[list[str]],  # noqa: UP045  # typer reads the annotation
    typer.Option("--step", help="Only rows that failed in this step. Can be given repeatedly."),
]
Errors = Annotated[
    Optional[list[str]],  # noqa: UP045  # ditto
    typer.Option("--error", help="Only this class of error, or messages with this text. Can be given repeatedly."),
]
Cache = Annotated[
    Optional[str],  # noqa: UP045  # ditto
    typer.Option("--cache-dir", help="Where runs are kept; else DISTILMQ_CACHE_DIR, else the user's cache."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]

_SHOWN = 100
"""Characters of an error in a list."""


@app.command("list")
def list_failures(
    run: Run,
    step: Steps = None,
    error: Errors = None,
    as_json: Json = False,
    broker: Broker = None,
    cache_dir: Cache = None,
) -> None:
    """List the rows that failed, each with its number, step and error."""
    letters = _letters(run, broker, cache_dir)
    only = _only(step, error)
    chosen = [(number, letter) for number, letter in letters if _takes(only, letter)]
    for number, letter in chosen:
        print(_json(number, letter) if as_json else f"{number:>5}  {_line(letter)}")
    if not as_json:
        print(_summary([letter for _, letter in chosen], [letter for _, letter in letters]))


@app.command()
def show(
    run: Run,
    rows: Annotated[list[int], typer.Argument(help="Numbers of failed rows, as `list` shows them.")],
    as_json: Json = False,
    broker: Broker = None,
    cache_dir: Cache = None,
) -> None:
    """Show failed rows whole: input, error with traceback, and what the model said."""
    letters = dict(_letters(run, broker, cache_dir))
    for number in rows:
        if number not in letters:
            fail(f"There is no failed row {number}: the run has {len(letters)}.")
    for number in rows:
        print(_json(number, letters[number]) if as_json else _whole(number, letters[number]))


@app.command()
def retry(run: Run, step: Steps = None, error: Errors = None, broker: Broker = None, cache_dir: Cache = None) -> None:
    """Compute failed rows again, and what was made from them, in a new revision of the run.

    Nothing else is computed or asked again. Keys of providers have to be in the environment; of a run at a broker, in
    that of its workers, or at the broker.
    """
    only = _only(step, error)
    with told(RunError, JournalError):
        try:
            said = _retried(run, only, cache_dir) if broker is None else _retried_at(broker, run, only, cache_dir)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None  # how to go on has been said
    print("\n".join(said))


def _retried(run: str, only: FailureFilter, cache_dir: str | None) -> tuple[str, str]:
    """What came of it, and how to get the dataset."""
    revised = revise(_found(run, cache_dir), only)
    again = f"{revised.again} failed row(s) were computed again" if revised.again else "The revision is finished"
    return (
        f"{again}, {_left(revised.failures)}: {revised.place.directory}",
        "Run the script again to get the dataset: all of it is there.",
    )


def _retried_at(broker: str, run: str, only: FailureFilter, cache_dir: str | None) -> tuple[str, str]:
    submitted = _submitted(broker, run, cache_dir)
    name = submitted.info().pipeline
    revision = retry_at_broker(name, submitted, only, lambda last_run: None)
    again = "The failed row(s) were computed again" if revision.outcome == "done" else "The revision was stopped"
    return (
        f"{again}, {_left(revision.failures)}: run {revision.directory.name}",
        f"`distilmq runs fetch {revision.directory.name} FOLDER` saves its dataset.",
    )


def _left(failures: Sequence[dict[str, Any]]) -> str:
    return f"{len(failures)} failed row(s) are left" if failures else "no failed row is left"


def _found(run: str, cache_dir: str | None) -> Path:
    with told():
        return find_run(run, cache_dir_of(cache_dir))


def _submitted(broker: str, run: str, cache_dir: str | None) -> SubmittedRun:
    with line_to(broker) as line:
        known = found(line, run).run
    return attached(broker, known, cache_dir_of(cache_dir))


def _letters(run: str, broker: str | None, cache_dir: str | None) -> list[tuple[int, dict[str, Any]]]:
    with told(RunError, JournalError):
        if broker is None:
            letters = readable(ask(_found(run, cache_dir), lambda client: client.failures()))
        else:
            letters = _submitted(broker, run, cache_dir).failures
        return list(enumerate(letters, start=1))


def _only(steps: Sequence[str] | None, errors: Sequence[str] | None) -> FailureFilter:
    return FailureFilter(steps=tuple(steps or ()), errors=tuple(errors or ()))


def _takes(only: FailureFilter, letter: dict[str, Any]) -> bool:
    return only.takes(letter["step"], letter["error_class"], letter["message"])


def _line(letter: dict[str, Any]) -> str:
    error = " ".join(str(letter["error"]).split())
    return f"{letter['step']}  {error if len(error) <= _SHOWN else error[: _SHOWN - 1] + '…'}"


def _summary(chosen: Sequence[dict[str, Any]], letters: Sequence[dict[str, Any]]) -> str:
    """How many rows are listed, of which steps and errors; where none is, of which there are some."""
    counts = Counter((letter["step"], letter["error_class"]) for letter in chosen or letters)
    said = ", ".join(f"{count} {error} in '{step}'" for (step, error), count in counts.most_common())
    of = "" if len(chosen) == len(letters) else f" of {len(letters)}"
    return f"{len(chosen)}{of} failed row(s)" + (f": {said}" if said else "")


def _whole(number: int, letter: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in letter.get("seq_no") or [0])
    time = datetime.fromtimestamp(letter.get("time") or 0).astimezone()
    told = [
        f"Failed row {number} in step '{letter['step']}'",
        f"Error: {letter['error']}",
        f"Attempts: {letter.get('attempts', 1)}",
        f"Where: row {letter.get('row')} of batch {where}, worker {letter.get('worker') or '-'},"
        f" {time.isoformat(timespec='seconds')}",
        f"Input: {_as_json(letter['input'])}",
    ]
    if letter.get("answer") is not None:
        told.append(f"Answer: {letter['answer']}")
    if letter["traceback"]:
        told.append(f"Traceback:\n{letter['traceback'].rstrip()}")
    return "\n".join(told) + "\n"


def _json(number: int, letter: dict[str, Any]) -> str:
    return _as_json({"number": number, **letter})


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
