"""`distilmq runs`: the runs of a broker, looked at and controlled from anywhere."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from distilmq.cli.broker_runs import Broker, found, line_to
from distilmq.cli.run_text import described, table
from distilmq.errors import RunError
from distilmq.pipeline.run_sample import sample_of
from distilmq.pipeline.submitted_run import SubmittedRun
from distilmq.protocol.messages import Message
from distilmq.protocol.messages.runs import RunInfo
from distilmq.utils.mistakes import fail, told
from distilmq.utils.option_values import seconds

app = typer.Typer(no_args_is_help=True, help="Look at the runs of a broker, and control them.")

Run = Annotated[str, typer.Argument(help="A run's id, the beginning of one, or a pipeline's name for its latest run.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]

_LOOK_EVERY = 0.5
"""Seconds between looks for more lines of a log."""
_OVER = ("done", "stopped", "failed")
_SAMPLES = 3
"""Rows of each leaf that a sample shows."""


@app.command("list")
def list_runs(broker: Broker = None, as_json: Json = False) -> None:
    """List all runs, the last submitted one first."""
    with line_to(broker) as line:
        runs = line.runs()
    if as_json:
        print(_as_json([_fields(info) for info in runs]))
    else:
        print(table(runs, datetime.now().astimezone()) if runs else "The broker has no runs.")


@app.command()
def show(
    run: Run,
    sample: Annotated[bool, typer.Option("--sample", help="Show some rows that came out, too.")] = False,
    broker: Broker = None,
    as_json: Json = False,
) -> None:
    """Show a run: its steps, who works on them, who was refused and why; the text of rows only if asked for."""
    with line_to(broker) as line:
        shown = line.show(found(line, run).run)
    rows = sample_of(broker, shown, _SAMPLES) if sample else {}
    if as_json:
        print(_as_json({**_fields(shown), **({"sample": rows} if sample else {})}))
        return
    print(described(shown))
    for leaf, some in rows.items():
        print(f"\nThe first rows of '{leaf}':" if some else f"\nThere are no rows of '{leaf}' yet.")
        for row in some:
            print(f"  {_as_json(row)}")


@app.command()
def logs(
    run: Run,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more until the run is over.")] = False,
    broker: Broker = None,
) -> None:
    """Print the log of a run: one JSON object per line."""
    with line_to(broker) as line:
        known = found(line, run).run
        offset = 0
        while True:
            over = not follow or line.run(known).state in _OVER
            part, offset = line.log(known, offset)
            sys.stdout.buffer.write(part)
            sys.stdout.buffer.flush()
            if not part and over:
                return
            if not part:
                time.sleep(_LOOK_EVERY)


@app.command()
def stop(
    run: Run,
    timeout: Annotated[
        Optional[str],  # noqa: UP045  # ditto
        typer.Option(help="How long what is in work may take, such as 90 or 5m; as the run was told if not said."),
    ] = None,
    now: Annotated[bool, typer.Option("--now", help="Do not wait for what is in work.")] = False,
    broker: Broker = None,
) -> None:
    """Stop a run: nothing new is begun, and what is in work is finished. `resume` goes on with it."""
    with told():
        patience = None if timeout is None else seconds(timeout, "--timeout")
    _control(broker, run, "kill" if now else "stop", "is being stopped", patience)


@app.command()
def pause(run: Run, broker: Broker = None) -> None:
    """Hold a run: nothing new is begun until `resume`, and its workers stay."""
    _control(broker, run, "pause", "is being paused")


@app.command()
def resume(run: Run, broker: Broker = None) -> None:
    """Go on with a run that was paused or stopped, or has failed."""
    _control(broker, run, "resume", "goes on")


@app.command()
def fetch(
    run: Run,
    folder: Annotated[Path, typer.Argument(help="Where to save the dataset: a folder that is not there yet.")],
    broker: Broker = None,
) -> None:
    """Save the dataset of a run in a folder, when the run is over: `Distiset.load_from_disk` reads it."""
    with line_to(broker) as line:
        known = found(line, run).run
    if folder.exists():
        fail(f"{folder} is there already: choose another folder.")
    with told(RunError), _folder_beside(folder) as beside:
        distiset = SubmittedRun(broker, known, folder=Path(beside)).distiset()
        distiset.save_to_disk(folder)
    with line_to(broker) as line:
        partly = line.run(known).state == "stopped"
    print(f"The dataset of run {known} is in {folder}" + (", up to where the run was stopped." if partly else "."))


@app.command()
def rm(run: Run, broker: Broker = None) -> None:
    """Remove a run that is over, with everything that the broker keeps of it."""
    _control(broker, run, "remove", "is removed")


def _control(broker: str | None, run: str, action: str, said: str, timeout: float | None = None) -> None:
    with line_to(broker) as line:
        known = found(line, run).run
        line.control(known, action, timeout)
    print(f"Run {known} {said}.")


def _folder_beside(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """Where the rows lie meanwhile: on the disk where they will stay."""
    parent = folder.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"{parent} cannot be made: {error.strerror}")
    try:
        return tempfile.TemporaryDirectory(prefix=".distilmq-", dir=parent)
    except OSError as error:
        fail(f"Nothing can be written in {parent}: {error.strerror}")


def _fields(message: Message | RunInfo) -> dict[str, Any]:
    return message.model_dump(exclude={"kind"})


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
