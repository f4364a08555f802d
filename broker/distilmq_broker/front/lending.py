"""The limits of providers' accounts over all runs: one holder lends to the step processes of each.

What the processes of one run learn of an account, those of the others go on from, and so does the next broker.
"""

from __future__ import annotations

from distilmq.protocol.messages import Borrow
from distilmq.protocol.messages.broker import Lent
from distilmq_broker.core.accounts import Accounts
from distilmq_broker.core.events import LoanAsked
from distilmq_broker.front.limit_store import LimitStore
from distilmq_broker.logbook import Logbook


class Lender:
    """Lends of all accounts.

    Args:
        store: keeps what is learnt of them.
        cautious: whether an earlier broker may have lent what is not over yet.
        log: of the broker.
    """

    def __init__(self, store: LimitStore, *, cautious: bool, log: Logbook) -> None:
        self._store = store
        self._log = log
        self._accounts = Accounts(cautious=cautious)
        for fact in store.load():
            self._accounts.know(fact)

    def start(self, now: float) -> None:
        """The broker begins."""
        self._accounts.start(now)

    def asked(self, run: str, borrow: Borrow, now: float) -> Lent:
        """A step process of a run asks for its share."""
        lend = self._accounts.asked(_asked(run, borrow), now)
        self._note(run, borrow.account)
        return Lent(
            session=borrow.session,
            account=lend.account,
            borrower=lend.borrower,
            loan=lend.loan,
            seconds=lend.seconds,
            asked=lend.asked,
            learnt=lend.learnt,
            settled=lend.settled,
            full=lend.full,
        )

    def _note(self, run: str, account: bytes) -> None:
        """Keeps what is known of an account, where that is quite another thing than what is kept."""
        news = self._accounts.news(account)
        if news is None:
            return
        self._store.save(news)
        self._log.info(
            "limit_learnt",
            run=run,
            account=account.hex()[:8],
            places=news.places,
            requests_per_minute=news.requests,
            settled=news.settled,
        )


def _asked(run: str, borrow: Borrow) -> LoanAsked:
    return LoanAsked(
        f"{run}/{borrow.session}",
        borrow.account,
        borrow.told,
        borrow.wanted,
        borrow.out,
        borrow.held,
        borrow.asked,
        borrow.borrower,
        borrow.learnt,
        borrow.share,
        borrow.settled,
    )
