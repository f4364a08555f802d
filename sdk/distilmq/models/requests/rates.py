"""How fast requests may go out: what an account may send in a minute, told or learnt from the provider.

Each rate is a bucket (a "token bucket", Turner, "New directions in communications", 1986) that holds at most a second's
worth, filled so slowly that no sixty seconds ever see more than the limit. A rate that nobody told is learnt from
refusals: what was accepted between two of them is what the provider lets through.

Pure: times are seconds of any clock that only goes forward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MINUTE = 60.0
GROWTH = 1.05
"""A learnt rate grows by this when nothing was refused for `QUIET` seconds."""
QUIET = 5.0
LEAST_BETWEEN = 1.0
"""Seconds between two refusals from which a rate is learnt; in less there is too little to count."""
LEAST_RATE = 1 / MINUTE


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


class Bucket:
    """One limit per minute.

    Args:
        limit: units in sixty seconds.
        now: the bucket begins full.
    """

    def __init__(self, limit: float, now: float) -> None:
        self.set_limit(limit)
        self._level = self._capacity
        self._at = now

    def set_limit(self, limit: float) -> None:
        """Another limit from here on."""
        self.limit = limit
        # A second's worth, but for small limits one unit; what may come at once is taken off the minute.
        self._capacity = max(1.0, limit / MINUTE)
        self._per_second = max(limit - self._capacity, limit * 0.5) / MINUTE

    def wait(self, now: float) -> float:
        """Seconds until something may be taken."""
        self._fill(now)
        # Units are whole: a bucket of tokens lets one go whenever it is not in debt.
        missing = 1.0 - self._level
        return max(0.0, missing / self._per_second)

    def take(self, units: float, now: float) -> None:
        """Takes units; more than there are make a debt that the next ones wait for."""
        self._fill(now)
        self._level -= units

    def correct(self, units: float) -> None:
        """Gives back what was taken too much; takes more where it is negative."""
        self._level = min(self._capacity, self._level + units)

    def _fill(self, now: float) -> None:
        self._level = min(self._capacity, self._level + max(0.0, now - self._at) * self._per_second)
        self._at = max(self._at, now)


class Pace:
    """When the next request may go out.

    Args:
        limits: told by the user.
        now: of the beginning.
    """

    def __init__(self, limits: Limits, now: float) -> None:
        self._told = limits
        self._buckets: dict[str, Bucket] = {}
        self._blocked_until = 0.0
        self._learning = _Learning()
        self.set_limits(limits, now)

    @property
    def requests_per_minute(self) -> float | None:
        """What holds at the moment; None where it is not known."""
        bucket = self._buckets.get("requests")
        return None if bucket is None else bucket.limit

    def set_limits(self, limits: Limits, now: float) -> None:
        """These were told from here on; where none was told before and none is now, what was learnt goes on holding."""
        before, self._told = self._told, limits
        for name in ("requests", "input_tokens", "output_tokens"):
            told = getattr(limits, name)
            if told is not None or getattr(before, name) is not None:
                self._put(name, told, now)

    def wait(self, now: float) -> float:
        """Seconds until the next request may go out; 0 for at once."""
        self._grow(now)
        return max(self._blocked_until - now, 0.0, *(bucket.wait(now) for bucket in self._buckets.values()), 0.0)

    def sent(self, cost: Cost, now: float) -> None:
        """A request goes out."""
        self._learning.sent += 1
        for name, units in _units(cost):
            if (bucket := self._buckets.get(name)) is not None:
                bucket.take(units, now)

    def answered(self, estimate: Cost, actual: Cost) -> None:
        """An answer came, with what it really took."""
        for (name, before), (_, units) in zip(_units(estimate), _units(actual), strict=True):
            if name != "requests" and (bucket := self._buckets.get(name)) is not None:
                bucket.correct(before - units)

    def refused(self, retry_after: float | None, sent_at: float, now: float) -> float | None:
        """The provider refused because of a rate; gives the requests per minute that were learnt from it, if any."""
        if retry_after is not None:
            self._blocked_until = max(self._blocked_until, now + retry_after)
        if self._told.requests is not None:
            return None
        rate = self._learning.refused(sent_at, now)
        if rate is not None:
            self._put("requests", max(LEAST_RATE, rate) * MINUTE, now)
            return self.requests_per_minute
        return None

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
        self._put("requests", limit, now)
        return Limits(requests=limit, input_tokens=self._told.input_tokens, output_tokens=self._told.output_tokens)

    def _put(self, name: str, limit: float | None, now: float) -> None:
        if limit is None:
            self._buckets.pop(name, None)
        elif (bucket := self._buckets.get(name)) is not None:
            bucket.set_limit(limit)
        else:
            self._buckets[name] = Bucket(limit, now)

    def _grow(self, now: float) -> None:
        bucket = self._buckets.get("requests")
        if bucket is not None and self._told.requests is None and self._learning.may_grow(now):
            bucket.set_limit(bucket.limit * GROWTH)


@dataclass(slots=True)
class _Learning:
    """What refusals say: between two of them the provider let through what it lets through."""

    sent: int = 0
    """Since the last burst of refusals."""
    headers: float | None = None
    """The limit that the provider names itself: then nothing is to be learnt."""
    _refused: int = 0
    _since: float | None = None
    _grown: float = 0.0

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
        if now - self._since < LEAST_BETWEEN:
            return None
        rate = (self.sent - self._refused) / (now - self._since)
        self._begin(now)
        return rate

    def may_grow(self, now: float) -> bool:
        """Whether a learnt rate has held for a while."""
        if self.headers is not None or self._since is None or now - max(self._since, self._grown) < QUIET:
            return False
        self._grown = now
        return True

    def _begin(self, now: float) -> None:
        self._since, self.sent, self._refused = now, 0, 0


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
        return float(text) if text else None
    except ValueError:
        return None
