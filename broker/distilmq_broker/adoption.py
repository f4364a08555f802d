"""Work that other runs have done under the same signatures is taken over instead of being done again.

`<cache_dir>/signatures/<signature>/<run id>` names a run's folder that may have batches of a step of that
signature. A step is adopted from one other run, and only together with all steps above it, from the same run:
its batches say which rows of those they took.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from distilmq.errors import JournalError
from distilmq.protocol.messages import Note
from distilmq.protocol.plan import Plan, Revision, StepSpec
from distilmq_broker.adapters.ledger_import import RecordedRun
from distilmq_broker.adapters.ledger_revision import revise
from distilmq_broker.adapters.sqlite_journal import SqliteJournal
from distilmq_broker.logbook import Logbook

_LOOKED_AT = 32
"""Runs that are looked at: the latest ones."""


class Adoption:
    """Gets the journal of a run ready for its plan."""

    def __init__(self, journal: SqliteJournal, *, cache_dir: Path, log: Logbook) -> None:
        self._journal = journal
        self._cache_dir = cache_dir
        self._signatures = cache_dir / "signatures"
        self._log = log

    def prepare(self, plan: Plan) -> list[Note]:
        """Drops what is to start anew, takes over what others have, and tells others what will be here.

        Returns:
            What to tell the user: why a step runs again.
        """
        fresh = self._journal.empty
        self._journal.note_steps(plan.steps)
        anew = starting_anew(plan)
        if anew and not fresh:
            self._journal.forget_steps(anew)
        if plan.settings.dry_run:
            return []
        if plan.settings.revises is not None and fresh:
            self._revise(plan.settings.revises)
            self._register(plan)
            return []
        notes: list[Note] = []
        if plan.settings.use_cache and fresh:
            adopted = self._adopt(plan, anew)
            notes = self._explain(plan, [step for step in plan.steps if step.name not in {*adopted, *anew}])
        self._register(plan)
        return notes

    def _revise(self, revision: Revision) -> None:
        source = RecordedRun(Path(revision.of))
        try:
            retaken = revise(source, revision.only, self._journal)
        finally:
            source.close()
        batches = {step: len(numbers) for step, numbers in retaken.batches.items()}
        self._log.info("run_revised", source=revision.of, failed_rows=retaken.failed, batches=batches)

    def _adopt(self, plan: Plan, anew: Iterable[str]) -> list[str]:
        wanted = {step.name: step for step in plan.steps if step.name not in set(anew) and step.signature}
        adopted: list[str] = []
        sources = self._sources(wanted.values())
        try:
            while wanted and sources:
                best = max(sources, key=lambda source: _worth(source, adoptable(plan, wanted, source)))
                names = adoptable(plan, wanted, best)
                if not _worth(best, names):
                    break
                self._import(best, names, plan)
                adopted.extend(names.values())
                for name in names.values():
                    del wanted[name]
        finally:
            for source in sources:
                source.close()
        return adopted

    def _import(self, source: RecordedRun, names: Mapping[str, str], plan: Plan) -> None:
        rows = {there: source.rows.get(here, 0) for here, there in names.items()}
        rerouted = [here for here, there in names.items() if not _same_choices(there, here, plan, source)]
        try:
            source.import_steps(names, self._journal, rerouted=rerouted)
        except JournalError as error:
            self._log.warning("adoption_failed", source=str(source.folder), reason=str(error))
        else:
            self._log.info("steps_adopted", source=str(source.folder), rows=rows)

    def _sources(self, steps: Iterable[StepSpec]) -> list[RecordedRun]:
        entries = [entry for step in steps for entry in _entries(self._signatures / step.signature)]
        entries.sort(key=_time, reverse=True)
        folders = dict.fromkeys(folder for entry in entries if (folder := self._named_by(entry)) is not None)
        sources: list[RecordedRun] = []
        for folder in list(folders)[:_LOOKED_AT]:
            if folder != self._journal.folder and (source := self._open(folder)) is not None:
                sources.append(source)
        return sources

    def _open(self, folder: Path) -> RecordedRun | None:
        try:
            return RecordedRun(folder)
        except JournalError as error:
            # A run that was removed, or is locked on a network file system: there is nothing to take.
            self._log.debug("run_not_adoptable", source=str(folder), reason=str(error))
            return None

    def _named_by(self, entry: Path) -> Path | None:
        try:
            return self._cache_dir / entry.read_text().strip()
        except OSError:
            return None

    def _register(self, plan: Plan) -> None:
        folder = self._journal.folder
        name = folder.relative_to(self._cache_dir) if folder.is_relative_to(self._cache_dir) else folder
        for signature in dict.fromkeys(step.signature for step in plan.steps if step.signature):
            place = self._signatures / signature
            try:
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
                (place / folder.name).write_text(str(name))
            except OSError as error:
                self._log.warning("signature_not_registered", file=str(place), reason=error.strerror)
                return

    def _explain(self, plan: Plan, steps: Iterable[StepSpec]) -> list[Note]:
        last = self._last_run(plan)
        if last is None:
            return []
        notes: list[Note] = []
        try:
            for step in steps:
                changed = changed_fields(last.fields.get(step.name), step.signature_fields)
                if changed:
                    text = f"step {step.name!r} runs anew, since {_listed(changed)} changed"
                    notes.append(Note(session="", step=step.name, event="step_changed", text=text))
                    self._log.info("step_changed", step=step.name, fields=changed, since=str(last.folder))
        finally:
            last.close()
        return notes

    def _last_run(self, plan: Plan) -> RecordedRun | None:
        own = self._journal.folder
        ledgers = [path for path in own.parent.glob("*/ledger.db") if path.parent != own]
        for path in sorted(ledgers, key=_time, reverse=True)[:_LOOKED_AT]:
            run = self._open(path.parent)
            if run is None:
                continue
            if run.plan.pipeline == plan.pipeline and not run.plan.settings.dry_run:
                return run
            run.close()
        return None


def starting_anew(plan: Plan) -> list[str]:
    """The steps that take nothing from a cache: those that say so, and everything behind them."""
    anew: dict[str, None] = {}
    for step in plan.steps:
        if not step.use_cache or any(name in anew for name in step.predecessors):
            anew[step.name] = None
    return list(anew)


def adoptable(plan: Plan, wanted: Mapping[str, StepSpec], source: RecordedRun) -> dict[str, str]:
    """The steps that can be taken over from a run: their names there, and here.

    A step can be when it has the same signature, all its predecessors are taken over too, and those that are
    routed were routed alike. A routed step itself can be in any case: it is only routed anew.
    """
    by_signature: dict[str, list[str]] = {}
    for name, signature in source.signatures.items():
        by_signature.setdefault(signature, []).append(name)
    there: dict[str, str] = {}
    """Our name to theirs."""
    for step in plan.steps:
        candidates = by_signature.get(step.signature, [])
        found = _matching(step, candidates, there, plan, source) if step.name in wanted else None
        if found is not None:
            there[step.name] = found
            candidates.remove(found)
    return {theirs: ours for ours, theirs in there.items()}


def changed_fields(before: Mapping[str, str] | None, now: Mapping[str, str]) -> list[str]:
    """Names of the fields that differ; of a step that was not there before, none."""
    if before is None:
        return []
    return [name for name in dict.fromkeys([*before, *now]) if before.get(name) != now.get(name)]


def _listed(fields: Iterable[str]) -> str:
    """Names of a signature's fields, as they are told to users."""
    return ", ".join(_told(*field.split(" ", 2)) for field in fields)


def _told(kind: str, first: str = "", rest: str = "") -> str:
    match kind, first, rest:
        case "input", "", "":
            return "the data that it reads"
        case "route", source, "" if source:
            return f"the routing behind {source!r}"
        case "upstream", _, source:
            return f"what comes from {source!r}"
        case _:
            return " ".join(part for part in (kind, first, rest) if part)


def _matching(
    step: StepSpec, candidates: Iterable[str], there: Mapping[str, str], plan: Plan, source: RecordedRun
) -> str | None:
    if any(name not in there for name in step.predecessors):
        return None
    if any(not _same_choices(name, there[name], plan, source) for name in step.predecessors):
        return None
    predecessors = tuple(there[name] for name in step.predecessors)
    # Two steps may have one signature; the one of the same name is taken first.
    for name in sorted(candidates, key=lambda name: name != step.name):
        if source.plan.step(name).predecessors == predecessors:
            return name
    return None


def _same_choices(ours: str, theirs: str, plan: Plan, source: RecordedRun) -> bool:
    """Whether the choices that were made behind a step are those that would be made here."""
    route = _route(ours, plan)
    if route != _route(theirs, source.plan):
        return False
    # A choice is kept by name: the function was asked about these names.
    return route is None or plan.successors(ours) == source.plan.successors(theirs)


def _route(step: str, plan: Plan) -> tuple[int | None, str] | None:
    """What chooses behind a step; None where nothing does."""
    return next(((route.sample, route.signature) for route in plan.routes if route.step == step), None)


def _worth(source: RecordedRun, names: Mapping[str, str]) -> int:
    return sum(source.rows.get(here, 0) for here in names)


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
