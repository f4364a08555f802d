"""What was said of what was learnt, until the answers come: what is learnt meanwhile is not lost.

A share answers what had been learnt when it was asked for. On a busy machine refusals come while it is on its way: a
limit that they have halved is then half of the share.
"""

from __future__ import annotations

from distilmq.models.requests.loan import NO_LIMIT, Loan
from distilmq.models.requests.rates import Limits

REMEMBERED = 256
"""Sayings that may still be answered, while the holder is slow or away."""


class Sayings:
    """Of one model, by when they were said; those that were not answered yet."""

    def __init__(self) -> None:
        self._said: dict[float, Loan] = {}

    def say(self, at: float, learnt: Loan) -> None:
        """The holder is told of what has been learnt."""
        self._said[at] = learnt
        if len(self._said) > REMEMBERED:
            del self._said[next(iter(self._said))]

    def answered(self, at: float | None, share: Loan, now: Loan) -> Loan:
        """From what to go on.

        Args:
            at: when that was said which the share answers.
            share: of what all have learnt; None for what nobody has.
            now: to what we have come meanwhile.
        """
        if at is None:
            return _moved(now, now, share)
        said = self._said.get(at, now)
        # What was said since then was of the share before.
        self._said = {later: _moved(learnt, said, share) for later, learnt in self._said.items() if later > at}
        return _moved(now, said, share)


def _moved(learnt: Loan, said: Loan, share: Loan) -> Loan:
    if share == NO_LIMIT:
        return learnt
    places = _onward(learnt.places, said.places, share.places)
    rate = _onward(learnt.limits.requests, said.limits.requests, share.limits.requests)
    return Loan(None if places is None else max(1, int(places)), Limits(requests=rate))


def _onward(now: float | None, said: float | None, share: float | None) -> float | None:
    """From a share as much down in proportion, or as much up, as was come since something was said."""
    if share is None or now is None or not said:
        return now if share is None else share
    return share * now / said if now < said else share + now - said
