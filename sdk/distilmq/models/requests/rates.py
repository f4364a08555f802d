"""How fast requests may go out: what an account may send in a minute, told or learnt from the provider.

A rate that nobody told is learnt from refusals: what was accepted between two of them is what the provider lets
through. Where several processes ask, each has its share of both (see `lending`).

Pure: times are seconds of any clock that only goes forward.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from distilmq.models.requests.bucket import MINUTE, Bucket

GROWTH = 0.05
"""A learnt rate grows by this part when nothing was refused for `QUIET` seconds, and by twice the last one after each
`QUIET` seconds more: what was refused need not have been too much in a minute."""
FASTEST = 0.8
"""The part by which it grows at most."""
QUIET = 5.0
LEAST_BETWEEN = 1.0
"""Seconds between two refusals from which a rate is learnt; in less there is too little to count."""
LEAST_RATE = 1 / MINUTE
LONGEST_PAUSE = MINUTE
"""Seconds between two tries at most, while a provider that says no time refuses everything."""
REMEMBERED = 64
"""Answers whose tokens tell what the next request is thought to take."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an account may send in a minute; None where nothing is known."""

    requests: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What a request takes, before it is sent by estimate and afterwards as the provider says."""

    input_tokens: float = 0.0
    output_tokens: float = 0.0


NOTHING = Cost()
UNLIMITED = Limits()


class Pace:
    """When the next request may go out.

    Args:
        limits: told by the user; of the whole account.
        now: of the beginning.
    """

    def __init__(self, limits: Limits, now: float) -> None:
        self._told = limits
        self._lent: Limits | None = None
        """Our share of what is told; None where nobody lends, and all of it is ours."""
        self._rate: float | None = None
        """Requests per minute as learnt from refusals, or our share of it."""
        self._buckets: dict[str, Bucket] = {}
        self._blocked_until = 0.0
        self._learning = _Learning()
        self._outage = _Outage()
        self._taken = {"input_tokens": _Taken(), "output_tokens": _Taken()}
        self._fit(now, full=True)

    @property
    def requests_per_minute(self) -> float | None:
        """What holds at the moment; None where it is not known."""
        bucket = self._buckets.get("requests")
        return None if bucket is None else bucket.limit

    @property
    def blocked_until(self) -> float:
        """No request goes out before, since the provider refused those before it."""
        return self._blocked_until

    @property
    def told(self) -> Limits:
        """The limits of the whole account, as the user told them; of what he did not tell, as headers tell it."""
        requests = self._learning.headers if self._told.requests is None else self._told.requests
        return Limits(requests, self._told.input_tokens, self._told.output_tokens)

    @property
    def learnt(self) -> float | None:
        """Requests per minute that refusals have taught, our share of them where there are others; None for none."""
        return None if self._bound("requests") is not None else self._rate

    @property
    def dry(self) -> bool:
        """Whether a share is nothing: no request may go out before there is another one."""
        return any(bucket.limit <= 0 for bucket in self._buckets.values())

    def lend(self, told: Limits, learnt: float | None, now: float, *, full: bool = False) -> None:
        """These are our shares from here on.

        Args:
            told: of what was told; all of it where nothing was.
            learnt: of the requests per minute that refusals have taught all of us; None for what we have learnt.
            now: of the loan.
            full: whether what may come at once may come now: nobody can have sent anything before.
        """
        self._lent = told
        if learnt is not None:
            self._rate = learnt
            self._learning.begin_if_new(now)
        self._fit(now, full=full)

    def go_on(self, learnt: float | None, now: float) -> None:
        """From our share of a learnt rate to what we have learnt since it was asked for."""
        if learnt is not None and self._rate is not None:
            self._rate = learnt
            self._fit(now)

    def stop(self, now: float) -> None:
        """Nothing of what is limited is ours until the next loan."""
        self._lent = Limits(**dict.fromkeys(self._buckets, 0.0))
        self._fit(now)

    def expect(self, cost: Cost) -> Cost:
        """What a request will take, by what those before it took of what was thought."""
        return Cost(
            self._taken["input_tokens"].expect(cost.input_tokens),
            self._taken["output_tokens"].expect(cost.output_tokens),
        )

    def wait(self, now: float, cost: Cost = NOTHING) -> float:
        """Seconds until the next request may go out; 0 for at once."""
        self._grow(now)
        units = dict(_units(cost))
        waits = (bucket.wait(now, units[name]) for name, bucket in self._buckets.items())
        return max(self._blocked_until - now, 0.0, *waits, 0.0)

    def sent(self, cost: Cost, now: float) -> None:
        """A request goes out."""
        self._learning.sent += 1
        for name, units in _units(cost):
            if (bucket := self._buckets.get(name)) is not None:
                bucket.take(units, now)

    def answered(self, thought: Cost, expected: Cost, actual: Cost, sent_at: float) -> None:
        """An answer came.

        Args:
            thought: what was thought of the request before any was answered.
            expected: what was taken for it.
            actual: what it really took.
            sent_at: when the request went out.
        """
        self._learning.answered(sent_at)
        self._outage.answered(sent_at)
        self._correct(expected, actual)
        for (name, before), (_, units) in zip(_units(thought), _units(actual), strict=True):
            if name in self._taken:
                self._taken[name].add(before, units)

    def refused(self, expected: Cost, retry_after: float | None, sent_at: float, now: float) -> float | None:
        """The provider refused because of a rate; gives the requests per minute that were learnt from it, if any."""
        self._correct(expected, NOTHING)
        if retry_after is not None:
            self._blocked_until = max(self._blocked_until, now + retry_after)
        if self._bound("requests") is not None:
            return None
        rate = self._learning.refused(sent_at, now)
        if rate is None:
            if retry_after is None and self._learning.in_vain(sent_at, now):
                self._blocked_until = max(self._blocked_until, self._outage.refused(sent_at, now))
            return None
        self._rate = max(LEAST_RATE, rate) * MINUTE
        self._fit(now)
        return self._rate

    def heard(self, headers: Mapping[str, str], now: float) -> Limits | None:
        """What the headers of an answer say about limits; gives what holds from here on if that is news.

        `x-ratelimit-limit-requests`, `-remaining-requests` and `-reset-requests`, as OpenAI names them:
        https://platform.openai.com/docs/guides/rate-limits
        """
        limit = _number(headers.get("x-ratelimit-limit-requests"))
        remaining = _number(headers.get("x-ratelimit-remaining-requests"))
        if remaining is not None and remaining < 1:
            reset = duration(headers.get("x-ratelimit-reset-requests", ""))
            if reset is not None:
                self._blocked_until = max(self._blocked_until, now + min(reset, MINUTE))
        if limit is None or limit < 1 or self._told.requests is not None or self._learning.headers == limit:
            return None
        self._learning.headers = limit
        self._fit(now, full=True)
        return self.told

    def _bound(self, name: str) -> float | None:
        """What was told of a limit, or our share of it."""
        lent = None if self._lent is None else getattr(self._lent, name)
        return getattr(self.told, name) if lent is None else lent

    def _fit(self, now: float, *, full: bool = False) -> None:
        for name in ("requests", "input_tokens", "output_tokens"):
            limit = self._bound(name)
            if limit is None and name == "requests":
                limit = self._rate
            self._put(name, limit, now, full=full)

    def _put(self, name: str, limit: float | None, now: float, *, full: bool) -> None:
        if limit is None:
            self._buckets.pop(name, None)
        elif (bucket := self._buckets.get(name)) is not None and not (full and bucket.limit <= 0):
            bucket.set_limit(limit, now)
        else:
            self._buckets[name] = Bucket(limit, now, full=full)

    def _correct(self, expected: Cost, actual: Cost) -> None:
        for (name, before), (_, units) in zip(_units(expected), _units(actual), strict=True):
            if name != "requests" and (bucket := self._buckets.get(name)) is not None:
                bucket.correct(before - units)

    def _grow(self, now: float) -> None:
        bucket = self._buckets.get("requests")
        if bucket is None or self._rate is None or self._bound("requests") is not None or bucket.wait(now) <= 0:
            return  # What is not used says nothing about what could be.
        if growth := self._learning.growth(now):
            self._rate *= growth
            bucket.set_limit(self._rate, now)


@dataclass(slots=True)
class _Taken:
    """What requests took of what was thought: the most that one of the last ones took, so that none surprises."""

    shares: deque[float] = field(default_factory=lambda: deque[float](maxlen=REMEMBERED))

    def add(self, thought: float, units: float) -> None:
        if thought > 0 and units > 0:
            self.shares.append(units / thought)

    def expect(self, thought: float) -> float:
        return thought * max(self.shares) if self.shares else thought


@dataclass(slots=True)
class _Learning:
    """What refusals say: between two of them the provider let through what it lets through."""

    sent: int = 0
    """Since the last burst of refusals."""
    headers: float | None = None
    """The limit that the provider names itself: then nothing is to be learnt."""
    _refused: int = 0
    _answered: int = 0
    """Of those that were sent since."""
    _since: float | None = None
    _grown: float = 0.0
    _step: float = GROWTH
    """The part by which it grows next."""

    def answered(self, sent_at: float) -> None:
        """A request was answered."""
        if self._since is None or sent_at < self._since:
            return
        if not self._answered and sent_at - self._since > MINUTE:
            # No limit per minute refuses everything for longer than one: that time says nothing about a rate.
            self._since, self.sent, self._refused = sent_at, self.sent - self._refused, 0
        self._answered += 1

    def in_vain(self, sent_at: float, now: float) -> bool:
        """Whether a refusal is one of a provider that has answered nothing since: that says nothing about a rate."""
        if self.headers is not None or self._since is None or sent_at < self._since:
            return False
        return not self._answered and now - self._since >= LEAST_BETWEEN

    def refused(self, sent_at: float, now: float) -> float | None:
        """Requests per second that were accepted since the last burst of refusals; None where that says nothing."""
        if self.headers is not None:
            return None
        if self._since is None:
            self._begin(now)
            return None
        if sent_at < self._since:
            return None  # of the burst before
        self._refused += 1
        if now - self._since < LEAST_BETWEEN or not self._answered:
            return None
        rate = (self.sent - self._refused) / (now - self._since)
        self._begin(now)
        return rate

    def begin_if_new(self, now: float) -> None:
        """What is refused from here on says something about a rate that others have learnt."""
        if self._since is None:
            self._begin(now)

    def growth(self, now: float) -> float | None:
        """By what a learnt rate grows that has held for a while: the longer, the more; None where it has not."""
        if self.headers is not None or self._since is None or now - max(self._since, self._grown) < QUIET:
            return None
        self._grown = now
        growth = 1 + self._step
        self._step = min(FASTEST, 2 * self._step)
        return growth

    def _begin(self, now: float) -> None:
        self._since, self.sent, self._refused, self._answered = now, 0, 0, 0
        self._step = GROWTH


@dataclass(slots=True)
class _Outage:
    """Pauses while everything is refused, each twice as long as the one before; the first answer ends them."""

    _pause: float = 0.0
    _since: float = -math.inf
    """When the last pause began."""

    def answered(self, sent_at: float) -> None:
        """A request was answered."""
        if sent_at >= self._since:
            self._pause = 0.0

    def refused(self, sent_at: float, now: float) -> float:
        """When the next request may go out."""
        if sent_at >= self._since:
            self._pause = min(LONGEST_PAUSE, max(LEAST_BETWEEN, 2 * self._pause))
            self._since = now
        return self._since + self._pause


def duration(text: str) -> float | None:
    """Seconds in a duration as rate limit headers write it: `12`, `1.5s`, `6m0s`, `20ms`, `1h2m3s`."""
    text = text.strip()
    if (seconds := _number(text)) is not None:
        return seconds
    total, number = 0.0, ""
    units = {"h": 3600.0, "m": MINUTE, "s": 1.0, "ms": 0.001}
    position = 0
    while position < len(text):
        if text[position].isdigit() or text[position] == ".":
            number += text[position]
            position += 1
            continue
        unit = "ms" if text.startswith("ms", position) else text[position]
        value = _number(number)
        if unit not in units or value is None:
            return None
        total, number = total + value * units[unit], ""
        position += len(unit)
    return None if number or not text else total


def _units(cost: Cost) -> tuple[tuple[str, float], ...]:
    return (("requests", 1.0), ("input_tokens", cost.input_tokens), ("output_tokens", cost.output_tokens))


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None
