"""What a worker shows to be heard by a run: that the broker has given it a slot of that run.

A token follows from the broker's own secret and the run, so that nothing has to be kept, and what hosts have stays good
when the broker is started again. It is no lease: what a result is worth is for the run's ledger to say.
"""

from __future__ import annotations

from hashlib import blake2b
from hmac import compare_digest

_BYTES = 16


class RunTokens:
    """Makes and checks tokens.

    Args:
        secret: of the broker; None for one whose socket only its own user can reach, which asks for no token.
    """

    def __init__(self, secret: str | None) -> None:
        self._secret = None if secret is None else secret.encode()

    def of(self, run: str) -> str:
        """What a host is given along with a slot of a run; empty where nothing is asked for."""
        if self._secret is None:
            return ""
        return blake2b(run.encode(), key=self._secret, digest_size=_BYTES, person=b"run token").hexdigest()

    def opens(self, run: str, token: str) -> bool:
        """Whether it is the token of a run."""
        return compare_digest(token.encode(), self.of(run).encode())
