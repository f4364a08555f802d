"""Whatever crosses or comes late, processes never have more requests out than the account takes at once."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from distilmq.protocol.messages import Lend, Loan
from distilmq_broker.core.accounts import Accounts
from distilmq_broker.core.borrowers import KEPT_FOR
from distilmq_broker.core.events import LoanAsked

ACCOUNT = b"account"


@dataclass
class Process:
    """Sends as many requests as it may; what it says, and what it is told, is under way for any time."""

    name: str
    out: int = 0
    places: int = 0
    until: float = 0.0
    heard: float | None = None
    asked: deque[LoanAsked] = field(default_factory=deque[LoanAsked])
    told: deque[Lend] = field(default_factory=deque[Lend])

    def ask(self, limit: int, now: float) -> None:
        loan = Loan(places=limit)
        self.asked.append(LoanAsked(self.name, ACCOUNT, loan, 50, self.out, None, now, heard=self.heard))

    def hear(self, now: float) -> None:
        lend = self.told.popleft()
        if lend.asked + lend.seconds > now:
            self.places, self.until, self.heard = lend.loan.places or 0, lend.asked + lend.seconds, lend.asked

    def send(self, now: float) -> None:
        if now < self.until:
            self.out = max(self.out, self.places)

    def be_answered(self, requests: int) -> None:
        self.out = max(0, self.out - requests)


DOES = st.sampled_from(["ask", "arrive", "hear", "send", "answered"])
ACTIONS = st.lists(st.tuples(DOES, st.integers(0, 2), st.floats(0.0, 2.0), st.integers(1, 8)), max_size=80)

SHRINKS_UNHEARD = [
    (does, who, 0.01, 1)
    for who, words in (
        (0, "ask ask arrive"),
        (1, "ask arrive hear"),
        (0, "arrive"),  # what it asked before it heard of anything: there is another one now, so it gets less
        (1, "ask arrive hear send"),
        (0, "hear send"),
    )
    for does in words.split()
]
"""A loan becomes less before the process has made use of the one before."""


@settings(max_examples=300, deadline=None)
@given(ACTIONS, st.integers(1, 16))
@example(SHRINKS_UNHEARD, 8)
def test_no_more_is_out_than_the_account_takes(actions: list[tuple[str, int, float, int]], limit: int) -> None:
    accounts, now = Accounts(cautious=False), 0.0
    accounts.start(now)
    processes = [Process(name) for name in "abc"]

    for does, who, after, requests in actions:
        now = min(now + after, KEPT_FOR)
        process = processes[who]
        match does:
            case "ask":
                process.ask(limit, now)
            case "arrive" if process.asked:
                process.told.append(accounts.asked(process.asked.popleft(), now))
            case "hear" if process.told:
                process.hear(now)
            case "send":
                process.send(now)
            case _:
                process.be_answered(requests)
        assert sum(each.out for each in processes) <= limit
