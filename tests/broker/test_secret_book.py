"""Where the value of a secret comes from."""

from __future__ import annotations

from distilmq.protocol.plan import Plan, StepSpec
from distilmq_broker.secret_book import SecretBook

PLAN = Plan(
    pipeline="test",
    steps=(
        StepSpec(name="load", kind="generator", size=5),
        StepSpec(
            name="ask",
            kind="normal",
            size=5,
            predecessors=("load",),
            secrets={"llm.api_key": "OPENAI_API_KEY", "llm.other": ""},
        ),
    ),
)


def test_what_the_broker_keeps_counts_before_what_a_client_sent_but_not_before_what_a_user_gave() -> None:
    book = SecretBook(PLAN, {"ask": {"llm.api_key": "sent", "llm.other": "given"}})
    book.store({"OPENAI_API_KEY": "kept"})

    assert book.values("ask") == {"llm.api_key": "kept", "llm.other": "given"}
    assert book.variables("ask") == {"llm.api_key": "OPENAI_API_KEY"}
    assert book.values("load") == {}


def test_what_nobody_has_told_is_missing_until_somebody_does() -> None:
    sent: dict[str, dict[str, str]] = {}
    book = SecretBook(PLAN, sent)
    nothing = book.missing()
    book.store({"OPENAI_API_KEY": "kept"})
    half = book.missing()
    sent["ask"] = {"llm.other": "given"}

    assert nothing == {"ask": ("llm.api_key", "llm.other")}
    assert half == {"ask": ("llm.other",)}
    assert book.missing() == {}
