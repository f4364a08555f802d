"""Which options are secrets, and that they are not shown."""

from __future__ import annotations

from distilmq.utils.secret_options import has_password, hidden, secrets_in

OPTIONS = {
    "key": "rows-key",
    "region": "somewhere",
    "client_kwargs": {"aws_secret_access_key": "rows-secret", "endpoint_url": "http://store"},
    "credentials": {"private": ["first-line", "second-line"]},
}


def test_secrets_are_found_by_their_names_wherever_they_are() -> None:
    assert list(secrets_in(OPTIONS)) == [
        ("key", "rows-key"),
        ("client_kwargs.aws_secret_access_key", "rows-secret"),
        ("credentials", "first-line"),
        ("credentials", "second-line"),
    ]


def test_a_text_is_shown_without_them() -> None:
    text = "rows-secret of rows-key at ftp://rows:pass@host/x in somewhere: second-line"

    assert hidden(text, OPTIONS) == "*** of *** at ftp://rows:***@host/x in somewhere: ***"


def test_what_is_too_short_to_be_told_from_other_text_is_left() -> None:
    assert hidden("an error", {"key": "an"}) == "an error"


def test_a_url_may_hold_a_password() -> None:
    assert has_password("ftp://rows:pass@host/x")
    assert not has_password("s3://rows@bucket/x")
    assert not has_password("s3://bucket/a:b@c")
