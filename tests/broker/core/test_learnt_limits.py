"""What one process learns of an account bounds all of them, and outlives a restart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilmq.protocol.messages import Lend, Loan
from distilmq_broker.core.accounts import LENT_FOR, Accounts
from distilmq_broker.core.events import NO_LIMIT, LoanAsked
from distilmq_broker.core.facts import LimitLearnt

ACCOUNT = b"account"


class Holder:
    """Whoever lends, and the processes that go on from what it lent them."""

    def __init__(self, *facts: LimitLearnt) -> None:
        self.accounts = Accounts(cautious=bool(facts))
        for fact in facts:
            self.accounts.know(fact)
        self.accounts.start(0.0)
        self.values: dict[str, Loan] = {}
        self.shares: dict[str, Loan] = {}
        self.settled: set[str] = set()
        self.heard: dict[str, float] = {}

    def ask(self, session: str, now: float, *, wanted: int = 1000, told: Loan = NO_LIMIT, out: int = 0) -> Lend:
        value = self.values.setdefault(session, Loan(places=32))
        share, settled = self.shares.get(session, NO_LIMIT), session in self.settled
        asked = LoanAsked(
            session, ACCOUNT, told, wanted, out, None, now, 0, value, share, settled, heard=self.heard.get(session)
        )
        lend = self.accounts.asked(asked, now)
        self.heard[session] = now
        if lend.settled:
            self.settled.add(session)
        if lend.learnt != NO_LIMIT:
            places, requests = lend.learnt.places, lend.learnt.requests
            went_on = Loan(
                places=value.places if places is None else max(1, places),
                requests=value.requests if requests is None else requests,
            )
            self.values[session] = self.shares[session] = went_on
        return lend

    def cut(self, session: str, factor: float = 0.7) -> None:
        """A provider refuses what the process sends."""
        value = self.values[session]
        self.values[session] = value.model_copy(update={"places": max(1, int((value.places or 1) * factor))})
        self.settled.add(session)

    def places(self, *sessions: str) -> int:
        return sum(self.values[session].places or 0 for session in sessions)


def test_nothing_is_lent_of_what_nobody_has_learnt() -> None:
    lend = Holder().ask("a", 0.0)

    assert (lend.loan, lend.learnt, lend.settled) == (NO_LIMIT, NO_LIMIT, False)


def test_a_refusal_of_one_bounds_those_that_come_later() -> None:
    holder = Holder()
    holder.ask("a", 0.0)
    holder.cut("a")
    alone = holder.ask("a", 1.0)

    for now in (2.0, 3.0, 4.0):
        for session in ("a", "b"):
            lend = holder.ask(session, now)

    assert (alone.learnt.places, alone.settled) == (22, True)
    assert (lend.learnt.places, lend.settled) == (11, True)
    assert holder.places("a", "b") == 22


def test_what_several_lose_in_one_burst_is_added_up() -> None:
    holder = Holder(LimitLearnt(ACCOUNT, 40.0, None, settled=True))
    for now in (0.0, 1.0, 2.0):
        holder.ask("a", now)
        holder.ask("b", now)

    holder.cut("a")
    holder.cut("b")
    for now in (3.0, 4.0, 5.0):
        holder.ask("a", now)
        holder.ask("b", now)

    assert holder.places("a", "b") == 28, "seven tenths of forty"


def test_what_was_lost_before_any_share_came_is_counted() -> None:
    holder = Holder()
    for session in ("a", "b", "c"):
        holder.ask(session, 0.0, out=32)
    for session in ("a", "b", "c"):
        holder.cut(session, 0.5)

    first = holder.ask("a", 1.0, out=16)
    known = [holder.accounts.known(ACCOUNT).places]
    for session in ("b", "c"):
        holder.ask(session, 1.0, out=16)
        known.append(holder.accounts.known(ACCOUNT).places)

    assert first.settled
    assert known == [80.0, 64.0, 48.0], "of the others it is known first what they have out, and then what they lost"


def test_what_one_does_not_use_any_more_is_not_lost() -> None:
    holder = Holder()
    for session in ("a", "b"):
        holder.ask(session, 0.0, out=32)
    holder.cut("a", 0.5)
    holder.ask("a", 1.0, out=16)

    holder.ask("b", 1.0, out=3)

    assert holder.accounts.known(ACCOUNT).places == 48.0


def test_what_one_that_ends_had_goes_to_the_others() -> None:
    holder = Holder(LimitLearnt(ACCOUNT, 40.0, 600.0, settled=True))
    for now in (0.0, 1.0, 2.0):
        holder.ask("a", now)
        lend = holder.ask("b", now)
    shared = lend.learnt

    holder.accounts.gone("a")
    for now in (3.0, 4.0, 2.0 + LENT_FOR):
        lend = holder.ask("b", now)

    assert (shared.places, shared.requests) == (20, 300.0)
    assert (lend.learnt.places, lend.learnt.requests) == (40, 600.0)


def test_what_was_said_before_an_answer_was_heard_is_counted_once() -> None:
    holder = Holder(LimitLearnt(ACCOUNT, 40.0, None, settled=True))
    holder.ask("a", 0.0)
    share, heard = holder.shares["a"], holder.heard["a"]

    for now, value in ((1.0, 30), (1.1, 28)):
        holder.values["a"], holder.shares["a"], holder.heard["a"] = Loan(places=value), share, heard
        lend = holder.ask("a", now)

    assert share.places == 40
    assert lend.learnt.places == 28, "not 40, less ten for the first and twelve for the second"


def test_a_rate_that_one_has_learnt_is_its_part_of_the_whole() -> None:
    holder = Holder()
    holder.ask("a", 0.0)
    holder.ask("b", 0.0)
    holder.values["a"] = Loan(places=32, requests=150.0)

    for now in (1.0, 2.0, 3.0):
        lends = [holder.ask(session, now) for session in ("a", "b")]

    assert [lend.learnt.requests for lend in lends] == [150.0, 150.0]


def test_a_rate_that_one_has_learnt_beside_others_that_take_the_places_is_a_small_part_of_the_whole() -> None:
    holder = Holder()
    holder.ask("a", 0.0, out=2)
    holder.ask("b", 0.0, out=18)
    holder.values["a"] = Loan(places=32, requests=60.0)

    holder.ask("a", 1.0, out=2)

    assert holder.accounts.known(ACCOUNT).requests == 600.0


def test_no_more_places_are_learnt_than_were_told() -> None:
    holder, told = Holder(), Loan(places=16)
    for now in (0.0, 1.0, 2.0):
        holder.values["a"] = Loan(places=100)
        holder.settled.add("a")
        lend = holder.ask("a", now, told=told)

    assert (lend.loan.places, lend.learnt.places) == (16, 16)


def test_a_run_that_goes_on_begins_with_what_it_had_reached() -> None:
    grown = LimitLearnt(ACCOUNT, 180.0, None, settled=False)
    holder = Holder(grown)

    first, second, again = holder.ask("a", 0.0), holder.ask("b", 0.1), holder.ask("a", 1.0)

    assert (first.learnt.places, first.settled) == (180, False)
    assert second.learnt.places is None, "there was no more than that"
    assert again.learnt.places is None


def test_what_is_news_is_written_down_and_taken_over() -> None:
    holder = Holder()
    holder.ask("a", 0.0)
    first = holder.accounts.news(ACCOUNT)
    again = holder.accounts.news(ACCOUNT)
    holder.cut("a")
    holder.ask("a", 1.0)
    cut = holder.accounts.news(ACCOUNT)
    holder.values["a"] = Loan(places=23)
    holder.ask("a", 2.0)

    assert first == LimitLearnt(ACCOUNT, 32.0, None, settled=False)
    assert again is None
    assert cut == LimitLearnt(ACCOUNT, 22.0, None, settled=True)
    assert holder.accounts.news(ACCOUNT) is None, "one more is no news"
    assert cut is not None
    assert Holder(cut).ask("b", 0.0).learnt.places == 22


@pytest.mark.parametrize("settled", [False, True])
@given(
    changes=st.lists(
        st.tuples(
            st.sampled_from("abcd"), st.floats(0.0, 2.0), st.integers(0, 300), st.floats(0.5, 1.2), st.floats(0.5, 1.2)
        ),
        max_size=60,
    )
)
def test_what_is_lent_of_what_is_learnt_is_never_more_than_was_known(
    settled: bool, changes: list[tuple[str, float, int, float, float]]
) -> None:
    holder, now = Holder(LimitLearnt(ACCOUNT, 64.0, 600.0, settled=settled)), 0.0
    lent: dict[str, tuple[Loan, float]] = {}
    known: list[tuple[float, float | None, float]] = []

    for session, after, wanted, places, requests in changes:
        now += after
        if session in holder.shares and (value := holder.values[session]).places:
            went_on = {"places": max(1, int(value.places * places)), "requests": (value.requests or 0.0) * requests}
            holder.values[session] = value.model_copy(update=went_on)
            holder.settled.add(session)
        lend = holder.ask(session, now, wanted=wanted)
        lent[session] = (lend.learnt, now + LENT_FOR)
        limits = holder.accounts.known(ACCOUNT)
        known.append((now, limits.places if limits.settled else None, limits.requests or 0.0))
        alive = [loan for loan, until in lent.values() if until > now]
        lately = [(places, requests) for at, places, requests in known if at > now - LENT_FOR]
        assert sum(loan.requests or 0.0 for loan in alive) <= max(rate for _, rate in lately) * (1 + 1e-9)
        if all(places is not None for places, _ in lately):
            assert sum(loan.places or 0 for loan in alive) <= max(places or 0 for places, _ in lately)
