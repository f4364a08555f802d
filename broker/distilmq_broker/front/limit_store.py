"""What was learnt of the limits of providers' accounts, kept over restarts of the broker.

It is advice: a process that begins with a wrong limit learns the right one. So a file that cannot be read, or written,
is logged and done without, and nothing waits for the disk.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from distilmq_broker.core.facts import LimitLearnt
from distilmq_broker.logbook import Logbook

MOST = 1000
"""Accounts kept: those of which something was learnt last."""


class _Kept(BaseModel):
    account: str
    """In hexadecimal digits."""
    places: float | None = Field(default=None, ge=1, allow_inf_nan=False)
    requests: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    settled: bool = False


class _File(BaseModel):
    limits: list[_Kept] = []


class LimitStore:
    """A file of the broker's folder, written whole or not at all.

    Args:
        path: of the file; it need not be there.
        log: of the broker.
        most: accounts kept.
    """

    def __init__(self, path: Path, log: Logbook, *, most: int = MOST) -> None:
        self._path = path
        self._log = log
        self._most = most
        self._known: dict[bytes, LimitLearnt] = {}

    def load(self) -> list[LimitLearnt]:
        """What earlier brokers in this folder have learnt."""
        try:
            kept = _File.model_validate_json(self._path.read_bytes()).limits
            facts = [LimitLearnt(bytes.fromhex(of.account), of.places, of.requests, of.settled) for of in kept]
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:  # a ValidationError is a ValueError
            self._log.error("limits_unreadable", path=str(self._path), reason=_reason(error))
            return []
        self._known = {fact.account: fact for fact in facts}
        return facts

    def save(self, fact: LimitLearnt) -> None:
        """Keeps what is known of an account by now."""
        self._known.pop(fact.account, None)
        self._known[fact.account] = fact
        for account in list(self._known)[: -self._most]:
            del self._known[account]
        try:
            self._write()
        except OSError as error:
            self._log.error("limits_not_saved", path=str(self._path), reason=str(error))

    def _write(self) -> None:
        kept = [
            _Kept(account=fact.account.hex(), places=fact.places, requests=fact.requests, settled=fact.settled)
            for fact in self._known.values()
        ]
        draft = self._path.with_suffix(".draft")
        draft.write_text(_File(limits=kept).model_dump_json(indent=1))
        draft.rename(self._path)


def _reason(error: Exception) -> str:
    return f"{error.error_count()} entries are wrong" if isinstance(error, ValidationError) else str(error)
