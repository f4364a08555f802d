"""Work done under the same signatures is taken over, with everything above it, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from distilmq.protocol.messages import Note
from distilmq.protocol.plan import Plan, RouteSpec, RunSettings, StepSpec
from distilmq.protocol.rows import decode_rows
from distilmq_broker.adapters.sqlite_journal import SqliteJournal
from distilmq_broker.adapters.system_clock import SystemClock
from distilmq_broker.adoption import Adoption, starting_anew
from distilmq_broker.core.facts import AnswerRecorded, RouteRecorded, Slice
from distilmq_broker.logbook import open_logbook
from distilmq_broker.run_folder import RunFolder
from tests.broker.recorded import STEPS, payload_of, places_of, record_chain, recorded, rows_of


def test_a_new_run_takes_over_everything_that_is_unchanged(tmp_path: Path) -> None:
    with _Opened(tmp_path, "first", _plan()) as first:
        record_chain(first.journal, 3)

    with _Opened(tmp_path, "second", _plan(name="other")) as second:
        assert [places_of(second.journal, step.name) for step in STEPS] == [[0, 1, 2]] * 3
        assert decode_rows(second.journal.payload("keep", (2,))) == rows_of("keep", 2)
        assert second.journal.recorded() == 9


def test_a_changed_step_and_what_follows_run_again(tmp_path: Path) -> None:
    with _Opened(tmp_path, "first", _plan()) as first:
        record_chain(first.journal, 3)
    changed = STEPS[1].model_copy(update={"signature": "sig-ask-2", "signature_fields": {"prompt": "2"}})

    with _Opened(tmp_path, "second", _plan(STEPS[0], changed, STEPS[2])) as second:
        found = [places_of(second.journal, step.name) for step in STEPS]

    assert found == [[0, 1, 2], [], []]
    assert [note.text for note in second.notes] == ["step 'ask' runs anew, since prompt changed"]
    assert '"event": "step_changed"' in second.log


def test_what_changed_is_told_in_the_words_of_the_pipeline(tmp_path: Path) -> None:
    fields = {"input": "1", "upstream 0 load": "1", "route load": "1", "llm.model": "1"}
    before = STEPS[1].model_copy(update={"signature_fields": fields})
    changed = {"signature": "sig-ask-2", "signature_fields": dict.fromkeys(fields, "2")}
    with _Opened(tmp_path, "first", _plan(STEPS[0], before, STEPS[2])) as first:
        record_chain(first.journal, 3)

    with _Opened(tmp_path, "second", _plan(STEPS[0], before.model_copy(update=changed), STEPS[2])) as second:
        said = [note.text for note in second.notes]

    assert said == [
        "step 'ask' runs anew, since the data that it reads, what comes from 'load', the routing behind 'load',"
        " llm.model changed"
    ]


def test_what_was_taken_over_lives_on_when_the_other_run_is_removed(tmp_path: Path) -> None:
    with _Opened(tmp_path, "first", _plan()) as first:
        record_chain(first.journal, 2)
    with _Opened(tmp_path, "second", _plan()):
        pass
    shutil.rmtree(tmp_path / "cache" / "test" / "first")

    with _Opened(tmp_path, "second", _plan()) as second:
        assert decode_rows(second.journal.payload("keep", (1,))) == rows_of("keep", 1)


def test_a_large_batch_is_taken_over_with_all_its_pieces(tmp_path: Path) -> None:
    with _Opened(tmp_path, "first", _plan()) as first:
        large = first.journal.begin_large()
        for place in range(2):
            large.write(payload_of("load", place))
            large.end_piece(5)
        first.journal.append(recorded("load", 0, rows=10), large)
        first.journal.commit()
    with _Opened(tmp_path, "second", _plan()):
        pass
    shutil.rmtree(tmp_path / "cache" / "test" / "first")

    with _Opened(tmp_path, "second", _plan()) as second:
        assert decode_rows(second.journal.payload("load", ())) == [*rows_of("load", 0), *rows_of("load", 1)]


def test_a_run_goes_on_recording_beside_what_it_took_over(tmp_path: Path) -> None:
    with _Opened(tmp_path, "first", _plan()) as first:
        record_chain(first.journal, 2)

    with _Opened(tmp_path, "second", _plan()) as second:
        second.journal.append(recorded("load", 2), payload_of("load", 2))
        second.journal.commit()
    with _Opened(tmp_path, "third", _plan()) as third:
        rows = decode_rows(third.journal.rows([Slice("load", (1,), 4, 5), Slice("load", (2,), 0, 1)]))

    assert rows == [rows_of("load", 1)[4], rows_of("load", 2)[0]]


def test_a_run_that_was_resumed_takes_over_nothing_more(tmp_path: Path) -> None:
    with _Opened(tmp_path, "own", _plan()) as own:
        record_chain(own.journal, 1)
    with _Opened(tmp_path, "other", _plan()) as other:
        for place in (1, 2):
            other.journal.append(recorded("load", place), payload_of("load", place))

    with _Opened(tmp_path, "own", _plan()) as own:
        assert places_of(own.journal, "load") == [0]


def test_answers_of_a_batch_that_was_not_finished_are_taken_over(tmp_path: Path) -> None:
    with _Opened(tmp_path, "first", _plan()) as first:
        first.journal.append(recorded("load", 0), payload_of("load", 0))
        first.journal.append(AnswerRecorded("ask", (), 3, b"key", 0), b"paid for")

    with _Opened(tmp_path, "second", _plan()) as second:
        assert second.journal.answers("ask", [Slice("load", (), 0, 5)]) == [(3, b"key", 0, b"paid for")]


def test_the_run_with_the_most_rows_is_taken(tmp_path: Path) -> None:
    for name, batches in (("few", 1), ("many", 4), ("some", 2)):
        with _Opened(tmp_path, name, _plan(use_cache=False)) as run:
            record_chain(run.journal, batches)

    with _Opened(tmp_path, "new", _plan()) as new:
        assert places_of(new.journal, "keep") == [0, 1, 2, 3]


def test_a_step_is_never_taken_over_without_the_steps_above_it(tmp_path: Path) -> None:
    with _Opened(tmp_path, "first", _plan()) as first:
        record_chain(first.journal, 2)
    other_loader = STEPS[0].model_copy(update={"signature": "sig-load-2"})

    with _Opened(tmp_path, "second", _plan(other_loader, *STEPS[1:])) as second:
        assert second.journal.empty


def test_two_runs_may_each_give_a_part_of_the_plan(tmp_path: Path) -> None:
    left = StepSpec(name="left", kind="generator", size=5, signature="sig-left")
    with _Opened(tmp_path, "first", _plan(STEPS[0])) as first:
        first.journal.append(recorded("load", 0), payload_of("load", 0))
    with _Opened(tmp_path, "second", _plan(left)) as second:
        second.journal.append(recorded("left", 0), payload_of("left", 0))
    join = StepSpec(name="join", kind="normal", size=5, predecessors=("load", "left"), signature="sig-join")

    with _Opened(tmp_path, "third", _plan(STEPS[0], left, join)) as third:
        assert decode_rows(third.journal.payload("load", ())) == rows_of("load", 0)
        assert decode_rows(third.journal.payload("left", ())) == rows_of("left", 0)


def test_a_step_of_another_name_is_the_same_step(tmp_path: Path) -> None:
    with _Opened(tmp_path, "first", _plan()) as first:
        record_chain(first.journal, 2)
    renamed = [
        step.model_copy(update={"name": f"my_{step.name}", "predecessors": tuple(f"my_{n}" for n in step.predecessors)})
        for step in STEPS
    ]

    with _Opened(tmp_path, "second", _plan(*renamed)) as second:
        facts = [fact for fact in second.journal.facts() if fact.step == "my_keep"]

    assert [fact.inputs for fact in facts] == [((Slice("my_ask", seq_no, 0, 5),),) for seq_no in ((), (1,))]


def test_choices_of_a_routing_function_are_taken_over_while_it_chooses_among_the_same(tmp_path: Path) -> None:
    side = STEPS[2].model_copy(update={"name": "side", "signature": "sig-side", "predecessors": ("load",)})
    route = RouteSpec(step="load", function=b"f")
    with _Opened(tmp_path, "first", _plan(*STEPS[:2], side, routes=(route,))) as first:
        first.journal.append(recorded("load", 0), payload_of("load", 0))
        first.journal.append(RouteRecorded("load", (), ("ask",)))
        first.journal.append(recorded("ask", 0, before="load"), payload_of("ask", 0))

    with _Opened(tmp_path, "same", _plan(*STEPS[:2], side, routes=(route,))) as same:
        assert RouteRecorded("load", (), ("ask",)) in list(same.journal.facts())
        assert places_of(same.journal, "ask") == [0]
    with _Opened(tmp_path, "fewer", _plan(*STEPS[:2], routes=(route,))) as fewer:
        assert places_of(fewer.journal, "ask") == []


def test_rows_taken_over_from_behind_another_routing_function_are_routed_anew(tmp_path: Path) -> None:
    side = STEPS[2].model_copy(update={"name": "side", "signature": "sig-side", "predecessors": ("load",)})
    with _Opened(tmp_path, "first", _plan(*STEPS[:2], side, routes=(RouteSpec(step="load", sample=1),))) as first:
        first.journal.append(recorded("load", 0), payload_of("load", 0))
        first.journal.append(RouteRecorded("load", (), ("ask",)))
    others = {
        "another function": _plan(*STEPS[:2], side, routes=(RouteSpec(step="load", signature="sig-function"),)),
        "another number": _plan(*STEPS[:2], side, routes=(RouteSpec(step="load", sample=2),)),
        "other steps": _plan(STEPS[0], side, routes=(RouteSpec(step="load", sample=1),)),
    }

    for name, plan in others.items():
        with _Opened(tmp_path, name, plan) as other:
            assert places_of(other.journal, "load") == [0], name
            assert [fact for fact in other.journal.facts() if isinstance(fact, RouteRecorded)] == [], name


def test_a_step_without_cache_and_what_follows_start_anew(tmp_path: Path) -> None:
    plan = _plan(STEPS[0], STEPS[1].model_copy(update={"use_cache": False}), STEPS[2])
    with _Opened(tmp_path, "first", _plan()) as first:
        record_chain(first.journal, 2)

    with _Opened(tmp_path, "first", plan) as own:
        in_own = [places_of(own.journal, step.name) for step in STEPS]
    with _Opened(tmp_path, "second", plan) as other:
        in_other = [places_of(other.journal, step.name) for step in STEPS]

    assert starting_anew(plan) == ["ask", "keep"]
    assert in_own == in_other == [[0, 1], [], []]


def test_a_run_without_cache_takes_nothing_and_gives_to_others(tmp_path: Path) -> None:
    with _Opened(tmp_path, "first", _plan()) as first:
        record_chain(first.journal, 1)
    with _Opened(tmp_path, "second", _plan(use_cache=False)) as second:
        empty = second.journal.empty
        record_chain(second.journal, 2)

    with _Opened(tmp_path, "third", _plan()) as third:
        assert empty
        assert places_of(third.journal, "keep") == [0, 1]


def test_a_dry_run_leaves_nothing_that_others_read(tmp_path: Path) -> None:
    with _Opened(tmp_path, "dry", _plan(dry_run=True, use_cache=False)) as dry:
        record_chain(dry.journal, 1)

    assert not (tmp_path / "cache" / "signatures").exists()
    with _Opened(tmp_path, "real", _plan()) as real:
        assert real.journal.empty


def test_a_run_that_is_gone_or_broken_is_passed_over(tmp_path: Path) -> None:
    with _Opened(tmp_path, "gone", _plan()) as gone:
        record_chain(gone.journal, 1)
    with _Opened(tmp_path, "broken", _plan(use_cache=False)) as broken:
        record_chain(broken.journal, 1)
    shutil.rmtree(tmp_path / "cache" / "test" / "gone")
    (tmp_path / "cache" / "test" / "broken" / "ledger.db").write_bytes(b"junk" * 1000)

    with _Opened(tmp_path, "new", _plan()) as new:
        assert new.journal.empty


def test_a_run_that_is_going_on_is_taken_as_it_is_now(tmp_path: Path) -> None:
    with _Opened(tmp_path, "first", _plan()) as first:
        record_chain(first.journal, 1)
        with _Opened(tmp_path, "second", _plan()) as second:
            first.journal.append(recorded("load", 1), payload_of("load", 1))
            first.journal.commit()
            found = places_of(second.journal, "load")
            rows = decode_rows(second.journal.payload("load", ()))

    assert found == [0]
    assert rows == rows_of("load", 0)


def test_the_whole_cache_may_be_moved(tmp_path: Path) -> None:
    with _Opened(tmp_path, "first", _plan()) as first:
        record_chain(first.journal, 1)
    (tmp_path / "cache").rename(tmp_path / "moved")
    (tmp_path / "new").mkdir()
    (tmp_path / "moved").rename(tmp_path / "new" / "cache")

    with _Opened(tmp_path / "new", "second", _plan()) as second:
        assert places_of(second.journal, "keep") == [0]


class _Opened:
    """A run in a cache of the test, prepared for a plan."""

    def __init__(self, root: Path, name: str, plan: Plan) -> None:
        self.cache = root / "cache"
        self.folder = RunFolder(self.cache / "test" / name)
        self.plan = plan
        self.notes: list[Note] = []

    def __enter__(self) -> _Opened:
        self.folder.make()
        self._log = open_logbook(self.folder.log_file)
        self.journal = SqliteJournal(self.folder.path, clock=SystemClock())
        self.notes = Adoption(self.journal, cache_dir=self.cache, log=self._log).prepare(self.plan)
        self.folder.store_plan(self.plan)
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.close()
        self._log.close()

    @property
    def log(self) -> str:
        """The lines that were logged."""
        lines = self.folder.log_file.read_text().splitlines()
        assert all(json.loads(line) for line in lines)
        return "\n".join(lines)


def _plan(*steps: StepSpec, name: str = "test", routes: tuple[RouteSpec, ...] = (), **settings: bool) -> Plan:
    return Plan(pipeline=name, steps=steps or STEPS, routes=routes, settings=RunSettings(**settings))
