"""Between the models of a step process, which ask for a share of an account's limits, and who lends."""

from __future__ import annotations

from collections.abc import Callable

from distilmq.models.requests.lending import LoanDesk
from distilmq.models.requests.loan import Application, Lent, Loan
from distilmq.models.requests.rates import Limits
from distilmq.protocol import messages


class LoanOffice:
    """Speaks for the models of this process.

    Args:
        session: of this process.
        desk: where models apply.
        say: takes what is to be sent.
    """

    def __init__(self, session: str, desk: LoanDesk, say: Callable[[messages.Borrow], None]) -> None:
        self._session = session
        self._desk = desk
        self._say = say
        desk.open(self._apply)

    def lend(self, lend: messages.Lend) -> None:
        """A loan came in."""
        # Counted from when it was asked for: it is over here before it is over there.
        until = lend.asked + lend.seconds
        lent = Lent(_loan(lend.loan), until, _loan(lend.learnt), settled=lend.settled, full=lend.full, asked=lend.asked)
        self._desk.lend(lend.account, lend.borrower, lent)

    def _apply(self, application: Application) -> None:
        self._say(
            messages.Borrow(
                session=self._session,
                account=application.account,
                borrower=application.borrower,
                told=_message(application.told),
                wanted=application.wanted,
                out=application.out,
                held=None if application.held is None else _message(application.held),
                asked=application.asked,
                learnt=_message(application.learnt),
                share=_message(application.share),
                settled=application.settled,
                leaving=application.leaving,
                heard=application.heard,
            )
        )


def _message(loan: Loan) -> messages.Loan:
    limits = loan.limits
    return messages.Loan(
        places=loan.places,
        requests=limits.requests,
        input_tokens=limits.input_tokens,
        output_tokens=limits.output_tokens,
    )


def _loan(loan: messages.Loan) -> Loan:
    return Loan(loan.places, Limits(loan.requests, loan.input_tokens, loan.output_tokens))
