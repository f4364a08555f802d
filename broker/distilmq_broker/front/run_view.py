"""What clients see of runs: put together from records, what coordinators tell, and who works for them."""

from __future__ import annotations

from distilmq.protocol.messages import Progress
from distilmq.protocol.messages.broker import Granted
from distilmq.protocol.messages.runs import Refusal, RunInfo, RunShown, RunWorker
from distilmq_broker.front.core.records import RunRecord
from distilmq_broker.front.host_desk import HostDesk
from distilmq_broker.front.run_store import RunStore


class RunView:
    """Remembers what was told last of each run."""

    def __init__(self, store: RunStore, hosts: HostDesk) -> None:
        self._store = store
        self._hosts = hosts
        self._progress: dict[str, Progress] = {}
        self._granted: dict[str, Granted] = {}

    def progressed(self, record: RunRecord, progress: Progress) -> None:
        """A run came so far; how far one that is over came is kept."""
        self._progress[record.run] = progress
        if record.over:
            self._store.save_progress(progress)

    def granted(self, run: str, granted: Granted) -> None:
        """The needs of a run are met so far."""
        self._granted[run] = granted

    def forget(self, run: str) -> None:
        """A run is removed."""
        self._progress.pop(run, None)
        self._granted.pop(run, None)

    def info(self, record: RunRecord) -> RunInfo:
        """A run in one line."""
        progress = self._of(record.run)
        steps = () if progress is None else progress.steps
        return RunInfo(
            run=record.run,
            pipeline=record.pipeline,
            state=record.state,
            submitted=record.submitted,
            ended=record.ended,
            weight=record.weight,
            rows=sum(step.rows for step in steps if step.step in record.leaves),
            processes=self._hosts.allocation.processes(record.run),
            reason=record.reason,
            stopping=not record.over and progress is not None and progress.state == "draining",
        )

    def shown(self, record: RunRecord) -> RunShown:
        """All there is to say about a run."""
        granted = self._granted.get(record.run)
        return RunShown(
            info=self.info(record),
            leaves=record.leaves,
            progress=self._of(record.run),
            workers=tuple(self._workers(record.run)),
            refusals=tuple(
                Refusal(worker=worker, step=need, reason=reason)
                for worker, need, reason in self._hosts.allocation.refusals(record.run)
            ),
            unmet=() if granted is None or record.over else granted.unmet,
        )

    def _workers(self, run: str) -> list[RunWorker]:
        working: list[RunWorker] = []
        for hello, grants in self._hosts.present():
            ours = [grant for grant in grants if grant.run == run]
            if ours:
                processes: dict[str, int] = {}
                for grant in ours:
                    processes[grant.need] = processes.get(grant.need, 0) + 1
                gpus = tuple(gpu for grant in ours for gpu in grant.gpus)
                working.append(RunWorker(worker=hello.worker, host=hello.host, processes=processes, gpus=gpus))
        return working

    def _of(self, run: str) -> Progress | None:
        if run not in self._progress and (kept := self._store.progress(run)) is not None:
            self._progress[run] = kept
        return self._progress.get(run)
