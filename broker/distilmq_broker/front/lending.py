"""The limits of providers' accounts over all runs: one holder lends to the step processes of each.

What the processes of one run learn of an account, those of the others go on from, and so does the next broker.
"""

from __future__ import annotations

from distilmq.protocol.messages import Borrow
from distilmq.protocol.messages.broker import Lent
from distilmq_broker.core.accounts import Accounts
from distilmq_broker.front.limit_store import LimitStore
from distilmq_broker.logbook import Logbook
from distilmq_broker.translation import loan_asked


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
        self._sessions: dict[str, set[str]] = {}
        """Of each run: the processes that have asked."""
        for fact in store.load():
            self._accounts.know(fact)

    def start(self, now: float) -> None:
        """The broker begins."""
        self._accounts.start(now)

    def asked(self, run: str, borrow: Borrow, now: float) -> Lent:
        """A step process of a run asks for its share."""
        self._sessions.setdefault(run, set()).add(borrow.session)
        lend = self._accounts.asked(loan_asked(borrow, _name(run, borrow.session)), now)
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

    def departed(self, run: str, session: str) -> None:
        """A step process is no more."""
        self._sessions.get(run, set()).discard(session)
        self._accounts.gone(_name(run, session))

    def over(self, run: str) -> None:
        """A run is over, and so are all processes that it had."""
        for session in self._sessions.pop(run, set()):
            self._accounts.gone(_name(run, session))

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


def _name(run: str, session: str) -> str:
    """Of a process among those of all runs."""
    return f"{run}/{session}"
