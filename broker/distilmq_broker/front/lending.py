"""The limits of providers' accounts over all runs: one holder lends to the step processes of each."""

from __future__ import annotations

from distilmq.protocol.messages import Borrow
from distilmq.protocol.messages.broker import Lent
from distilmq_broker.core.accounts import Accounts
from distilmq_broker.core.events import LoanAsked


class Lender:
    """Lends of all accounts.

    Args:
        cautious: whether an earlier broker may have lent what is not over yet.
    """

    def __init__(self, *, cautious: bool) -> None:
        self._accounts = Accounts(cautious=cautious)

    def start(self, now: float) -> None:
        """The broker begins."""
        self._accounts.start(now)

    def asked(self, run: str, borrow: Borrow, now: float) -> Lent:
        """A step process of a run asks for its share."""
        asked = LoanAsked(
            f"{run}/{borrow.session}",
            borrow.account,
            borrow.told,
            borrow.wanted,
            borrow.out,
            borrow.held,
            borrow.asked,
        )
        lend = self._accounts.asked(asked, now)
        return Lent(
            session=borrow.session, account=lend.account, loan=lend.loan, seconds=lend.seconds, asked=lend.asked
        )
