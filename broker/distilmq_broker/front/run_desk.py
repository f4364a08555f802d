"""The desk for clients of the broker itself: runs are submitted, listed and controlled, and their logs are read."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from distilmq.errors import JournalError
from distilmq.protocol.messages import Message
from distilmq.protocol.messages.runs import (
    ControlRun,
    DataWanted,
    Denied,
    ListRuns,
    LogPart,
    ReadLog,
    ReviseRun,
    RunChanged,
    RunList,
    RunShown,
    RunStarted,
    ShowRun,
    StartRun,
    Upload,
    Uploaded,
)
from distilmq.transport.ports import PeerId
from distilmq_broker.clients import RefusedPlanError, plan_in
from distilmq_broker.front import revising
from distilmq_broker.front.core.records import RunRecord
from distilmq_broker.front.core.run_commands import Deny
from distilmq_broker.front.core.run_events import RunControlled, RunSubmitted
from distilmq_broker.front.core.runs import unknown
from distilmq_broker.front.folder import BrokerFolder
from distilmq_broker.front.keeper import RunKeeper
from distilmq_broker.front.run_store import RunStore
from distilmq_broker.front.run_view import RunView
from distilmq_broker.front.uploads import UploadError, Uploads
from distilmq_broker.front.way import Way
from distilmq_broker.logbook import Logbook
from distilmq_broker.ports import Clock
from distilmq_broker.run_folder import RunFolder

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""A run's id is a folder's name, and nothing else."""
_LOG_PART = 512 * 1024


class RunDesk:
    """Answers clients."""

    def __init__(
        self,
        keeper: RunKeeper,
        *,
        store: RunStore,
        folder: BrokerFolder,
        way: Way,
        clock: Clock,
        view: RunView,
        log: Logbook,
    ) -> None:
        self._keeper = keeper
        self._runs = keeper.runs
        self._store = store
        self._folder = folder
        self._uploads = Uploads(folder.uploads)
        self._uploads.forget_old()
        self._way = way
        self._clock = clock
        self._view = view
        self._log = log

    def take(self, message: Message, payload: Sequence[bytes], peer: PeerId) -> None:
        """Deals with one message of a client."""
        match message:
            case StartRun():
                self._way.say(peer, self._start(message, payload))
            case ReviseRun():
                self._way.say(peer, self._revise(message))
            case Upload():
                self._way.say(peer, self._upload(message, b"".join(payload)))
            case ListRuns():
                self._way.say(peer, RunList(runs=tuple(self._view.info(record) for record in self._runs.records())))
            case ShowRun():
                self._way.say(peer, self._showing(message.run))
            case ControlRun():
                self._way.say(peer, self._control(message))
            case ReadLog():
                self._read_log(message, peer)
            case _:
                return

    def _upload(self, message: Upload, data: bytes) -> Uploaded | Denied:
        if not _ID.fullmatch(message.run):
            return _no_id(message.run)
        if self._runs.record(message.run) is not None:
            return Denied(reason=f"run '{message.run}' has begun: no data is added to it")
        try:
            size = self._uploads.take(message.run, message.digest, message.offset, message.crc, data)
        except UploadError as error:
            return Denied(reason=str(error))
        return Uploaded(run=message.run, digest=message.digest, size=size)

    def _start(self, message: StartRun, payload: Sequence[bytes]) -> RunStarted | DataWanted | Denied:
        if not _ID.fullmatch(message.run):
            return _no_id(message.run)
        if self._runs.record(message.run) is not None:
            return RunStarted(run=message.run, asked=message.run, data=True)
        if message.key and (before := self._runs.unfinished(message.key)) is not None:
            return RunStarted(run=before.run, asked=message.run, attached=True)
        try:
            plan = plan_in(payload)
            if missing := self._uploads.missing(message.run, plan):
                return DataWanted(run=message.run, digests=missing)
            record = RunRecord(
                run=message.run,
                pipeline=plan.pipeline,
                key=message.key,
                submitted=self._clock.wall(),
                weight=message.weight,
                variables=tuple(sorted({name for step in plan.steps for name in step.secrets.values() if name})),
                leaves={leaf: plan.step(leaf).outputs for leaf in plan.leaves},
            )
            self._store.add(record, plan, lambda folder: self._uploads.move(message.run, folder.data))
        except RefusedPlanError as error:
            return Denied(reason=error.reason, fix=error.fix)
        except JournalError as error:
            return Denied(reason=f"the broker cannot keep the run: {error}")
        self._log.info("run_submitted", run=record.run, pipeline=record.pipeline)
        self._keeper.handle(RunSubmitted(record))
        return RunStarted(run=record.run, asked=message.run, data=True)

    def _revise(self, message: ReviseRun) -> RunStarted | Denied:
        if not _ID.fullmatch(message.run):
            return _no_id(message.run)
        if self._runs.record(message.run) is not None:
            return RunStarted(run=message.run, asked=message.run, data=True)
        before = self._runs.record(message.of)
        if before is None:
            return _denied(unknown(message.of))
        if not before.over:
            return Denied(reason=f"run '{message.of}' is not over", fix="wait for its end, or stop it")
        key = revising.key_of(message.of, message.only)
        if (going_on := self._runs.unfinished(key)) is not None:
            return RunStarted(run=going_on.run, asked=message.run, attached=True, data=True)
        try:
            record = revising.record_of(before, message.run, key, self._clock.wall())
            source = RunFolder(self._folder.run(message.of))
            self._store.add(record, revising.plan_of(source, message.only), partial(revising.take_along, source))
        except JournalError as error:
            return Denied(reason=f"the broker cannot revise the run: {error}")
        self._log.info("run_revised", run=record.run, of=message.of)
        self._keeper.handle(RunSubmitted(record))
        return RunStarted(run=record.run, asked=message.run, data=True)

    def _showing(self, run: str) -> RunShown | Denied:
        record = self._runs.record(run)
        return _denied(unknown(run)) if record is None else self._view.shown(record)

    def _control(self, message: ControlRun) -> RunChanged | Denied:
        self._log.info("run_controlled", run=message.run, action=message.action)
        denied = self._keeper.handle(RunControlled(message.run, message.action, message.timeout))
        if denied is not None:
            return _denied(denied)
        return RunChanged(run=message.run, action=message.action)

    def _read_log(self, message: ReadLog, peer: PeerId) -> None:
        if self._runs.record(message.run) is None:
            self._way.say(peer, _denied(unknown(message.run)))
            return
        lines = _lines(self._folder.run(message.run) / "pipeline.log", message.offset)
        self._way.say(peer, LogPart(run=message.run, offset=message.offset + len(lines)), [lines])


def _no_id(run: str) -> Denied:
    return Denied(reason=f"{run!r:.100} cannot be the id of a run", fix="use letters, digits, '.', '_' and '-'")


def _denied(deny: Deny) -> Denied:
    return Denied(reason=deny.reason, fix=deny.fix)


def _lines(path: Path, offset: int) -> bytes:
    """Whole lines from a byte on; a line that is longer than a part comes in pieces."""
    try:
        with path.open("rb") as file:
            file.seek(min(max(0, offset), os.fstat(file.fileno()).st_size))
            part = file.read(_LOG_PART)
    except FileNotFoundError:
        return b""
    end = part.rfind(b"\n") + 1
    return part[:end] if end or len(part) < _LOG_PART else part
