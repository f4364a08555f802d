"""What is lent of an account's limits is never more than there is, whoever asks, dies or forgets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from distilmq.protocol.messages import Loan
from distilmq_broker.core.accounts import LENT_FOR, Accounts
from distilmq_broker.core.borrowers import KEPT_FOR
from distilmq_broker.core.events import LoanAsked

ACCOUNT = b"account"
TOLD = Loan(places=64, requests=600.0)


class Holder:
    """Whoever lends."""

    def __init__(self, *, cautious: bool = False, now: float = 0.0) -> None:
        self.accounts = Accounts(cautious=cautious)
        self.accounts.start(now)
        self.heard: dict[tuple[str, int], float] = {}
        """When each asked for the loan that it goes by: they all hear at once."""

    def ask(
        self,
        session: str,
        now: float,
        *,
        wanted: int = 1000,
        out: int = 0,
        told: Loan = TOLD,
        held: Loan | None = None,
        borrower: int = 0,
        leaving: bool = False,
    ) -> Loan:
        heard = self.heard.get((session, borrower))
        asked = LoanAsked(session, ACCOUNT, told, wanted, out, held, now, borrower, leaving=leaving, heard=heard)
        lend = self.accounts.asked(asked, now)
        self.heard[session, borrower] = now
        assert (lend.account, lend.asked) == (ACCOUNT, now)
        return lend.loan


def test_one_process_alone_gets_all_of_it() -> None:
    assert Holder().ask("a", 0.0) == Loan(places=64, requests=600.0)


def test_a_second_one_gets_its_share_when_the_first_has_given_it_back() -> None:
    holder = Holder()
    holder.ask("a", 0.0)

    early = holder.ask("b", 0.5)
    first = holder.ask("a", 1.0)
    unheard = holder.ask("b", 1.02)
    holder.ask("a", 1.05)
    second = holder.ask("b", 1.07)

    assert early == unheard == Loan(places=0, requests=0.0), "who knows whether the first has heard that it has less"
    assert first == second == Loan(places=32, requests=300.0)


def test_shares_follow_what_is_wanted() -> None:
    holder = Holder()
    for now in (0.0, 1.0, 2.0, 3.0):
        much = holder.ask("a", now, wanted=300)
        little = holder.ask("b", now, wanted=100)

    assert (much.places, little.places) == (48, 16)
    assert (much.requests, little.requests) == (450.0, 150.0)


def test_what_a_dead_process_had_comes_back_when_its_time_is_over() -> None:
    holder = Holder()
    holder.ask("dead", 0.0)

    holder.accounts.gone("dead")
    before = holder.ask("a", LENT_FOR - 0.1)
    after = holder.ask("a", LENT_FOR)

    assert (before.places, before.requests) == (0, 0.0)
    assert (after.places, after.requests) == (64, 600.0)


def test_places_stay_with_a_frozen_process_and_its_rate_does_not() -> None:
    holder = Holder()
    holder.ask("frozen", 0.0)
    holder.ask("a", 0.5)
    for now in (1.0, 1.1):
        holder.ask("frozen", now, out=40)

    meanwhile = holder.ask("a", 1.1 + LENT_FOR)
    back = holder.ask("frozen", 7.0, out=10)
    holder.ask("a", 7.1)
    after = holder.ask("frozen", 7.2, out=10)

    assert (meanwhile.places, meanwhile.requests) == (24, 600.0), "forty of its requests may be out still"
    assert (back.places, back.requests) == (32, 0.0), "the other has the rate until it hears that it has less"
    assert (after.places, after.requests) == (32, 0.0)


def test_what_a_frozen_process_may_send_until_its_loan_is_over_counts_as_sent() -> None:
    holder = Holder()
    holder.ask("frozen", 0.0, wanted=10, out=3)

    assert holder.ask("a", LENT_FOR).places == 0


def test_places_of_a_process_that_nobody_hears_of_come_back_after_a_minute() -> None:
    holder = Holder()
    holder.ask("lost", 0.0)

    assert holder.ask("a", LENT_FOR + KEPT_FOR - 0.1).places == 0
    assert holder.ask("a", LENT_FOR + KEPT_FOR).places == 64


def test_what_a_frozen_process_told_holds_no_more() -> None:
    holder = Holder()
    holder.ask("frozen", 0.0, told=Loan(requests=100.0))

    assert holder.ask("a", LENT_FOR, told=Loan(requests=900.0)).requests == 900.0


def test_one_that_leaves_gives_back_what_it_has_at_once() -> None:
    holder = Holder()
    holder.ask("a", 0.0)

    left = holder.ask("a", 1.0, wanted=0, leaving=True)

    assert (left.places, left.requests) == (0, 0.0)
    assert holder.ask("b", 1.0) == Loan(places=64, requests=600.0)


def test_a_place_is_taken_until_its_request_is_over() -> None:
    holder = Holder()
    holder.ask("a", 0.0)
    holder.ask("b", 0.0)
    holder.ask("a", 1.0, out=60)
    holder.ask("a", 1.1, out=60)

    assert holder.ask("b", 1.0).places == 4


def test_the_only_place_does_not_stay_with_one_that_wants_nothing() -> None:
    holder, told = Holder(), Loan(places=1)
    holder.ask("idle", 0.0, wanted=1, told=told)
    early = holder.ask("busy", 0.5, told=told)

    for now in (1.0, 1.1):
        holder.ask("idle", now, wanted=0, told=told)

    assert early.places == 0
    assert holder.ask("busy", 1.5, told=told).places == 1


def test_two_models_of_one_process_are_two_borrowers() -> None:
    holder = Holder()
    for now in (0.0, 1.0, 2.0, 3.0):
        loans = [holder.ask("a", now, borrower=number) for number in (0, 1)]

    assert [loan.places for loan in loans] == [32, 32]


def test_what_a_provider_tells_one_process_holds_for_all() -> None:
    holder, unknown = Holder(), Loan()
    holder.ask("a", 0.0, told=unknown)
    holder.ask("b", 0.0, told=unknown)

    for now in (0.5, 0.6):
        heard = holder.ask("a", now, told=Loan(requests=600.0))
    other = holder.ask("b", 1.0, told=unknown)

    assert (heard.requests, other.requests) == (300.0, 300.0)


def test_the_least_that_was_told_holds_for_all() -> None:
    holder = Holder()
    holder.ask("a", 0.0, told=Loan(requests=100.0))

    assert holder.ask("b", LENT_FOR - 1, told=Loan(requests=900.0)).requests == 0.0
    assert holder.ask("b", LENT_FOR, told=Loan(requests=900.0)).requests == 900.0


def test_a_restarted_holder_lends_no_more_than_processes_still_have() -> None:
    holder = Holder(cautious=True, now=100.0)

    unknown = holder.ask("a", 100.5)
    known = holder.ask("b", 100.5, held=Loan(places=20, requests=200.0))
    later = holder.ask("a", 100.0 + LENT_FOR)

    assert (unknown.places, unknown.requests) == (0, 0.0)
    assert (known.places, known.requests) == (20, 200.0)
    assert (later.places, later.requests) == (32, 300.0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcd"), st.floats(0.0, 3.0), st.integers(-5, 500), st.integers(-5, 80), st.booleans()
        ),
        max_size=60,
    ),
    st.integers(1, 100),
    st.floats(1.0, 1000.0),
)
def test_what_is_lent_and_not_over_is_never_more_than_the_limit(
    asked: list[tuple[str, float, int, int, bool]], places: int, requests: float
) -> None:
    holder, now = Holder(), 0.0
    told = Loan(places=places, requests=requests)
    lent: dict[str, tuple[Loan, float]] = {}
    frozen: set[str] = set()

    for session, after, wanted, out, dies in asked:
        now += after
        lent[session] = (holder.ask(session, now, wanted=wanted, out=out, told=told), now + LENT_FOR)
        frozen.add(session)
        if dies:
            holder.accounts.gone(session)
            frozen.discard(session)
        alive = [loan for loan, until in lent.values() if until > now]
        theirs = [
            loan for name, (loan, until) in lent.items() if until > now or (name in frozen and until + KEPT_FOR > now)
        ]
        assert sum(loan.places or 0 for loan in theirs) <= places
        assert sum(loan.requests or 0 for loan in alive) <= requests * (1 + 1e-9)
