"""What is learnt while a share is on its way is not lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from distilmq.models.requests.loan import NO_LIMIT, Loan
from distilmq.models.requests.rates import Limits
from distilmq.models.requests.sayings import REMEMBERED, Sayings

counts = st.integers(1, 256)


def learnt(places: int, rate: float | None = None) -> Loan:
    return Loan(places, Limits(requests=rate))


def test_a_cut_that_was_made_meanwhile_is_made_of_the_share() -> None:
    sayings = Sayings()
    sayings.say(1.0, learnt(32, 600.0))

    assert sayings.answered(1.0, learnt(16, 300.0), learnt(10, 150.0)) == learnt(5, 75.0)


def test_what_was_won_meanwhile_is_added_to_the_share() -> None:
    sayings = Sayings()
    sayings.say(1.0, learnt(8))

    assert sayings.answered(1.0, learnt(20), learnt(11)) == learnt(23)


def test_what_was_said_later_is_of_the_share_from_then_on() -> None:
    sayings = Sayings()
    sayings.say(1.0, learnt(32))
    sayings.say(2.0, learnt(16))

    first = sayings.answered(1.0, learnt(8), learnt(16))
    second = sayings.answered(2.0, learnt(6), learnt(2))

    assert (first, second) == (learnt(4), learnt(3)), "half of eight; then two are half of the four that were said"


def test_what_nobody_has_learnt_changes_nothing() -> None:
    sayings = Sayings()
    sayings.say(1.0, learnt(32))

    assert sayings.answered(1.0, NO_LIMIT, learnt(10)) == learnt(10)
    assert sayings.answered(2.0, learnt(7), learnt(10)) == learnt(7), "what was never said is answered as it is"


def test_only_the_last_sayings_are_remembered_while_nobody_answers() -> None:
    sayings = Sayings()
    for at in range(REMEMBERED + 1):
        sayings.say(float(at), learnt(32))

    assert sayings.answered(0.0, learnt(16), learnt(8)) == learnt(16), "it is forgotten, so nothing is known to be lost"


def test_the_last_sayings_are_remembered() -> None:
    sayings = Sayings()
    for at in range(REMEMBERED + 1):
        sayings.say(float(at), learnt(32))

    assert sayings.answered(1.0, learnt(16), learnt(8)) == learnt(4)


def test_a_rate_of_which_we_knew_nothing_is_taken_over() -> None:
    sayings = Sayings()
    sayings.say(1.0, learnt(32))

    assert sayings.answered(1.0, learnt(16, 300.0), learnt(32)) == learnt(16, 300.0)


@given(said=counts, share=counts, now=counts, later=counts)
def test_who_lost_goes_below_the_share_and_who_won_above_it(said: int, share: int, now: int, later: int) -> None:
    sayings = Sayings()
    sayings.say(1.0, learnt(said))
    sayings.say(2.0, learnt(later))

    onward = sayings.answered(1.0, learnt(share), learnt(now)).places
    assert onward is not None
    assert onward >= 1
    assert (onward <= share) if now <= said else (onward - share == now - said)
    if now == said:
        assert onward == share
    if later == now:
        assert sayings.answered(2.0, learnt(share), learnt(onward)).places == share, "nothing has changed since then"
