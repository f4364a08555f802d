"""The parts of a message."""

from __future__ import annotations

from distilmq.models.llms.parts import Image, Text, parts_of, text_of


def test_bare_text_is_one_part() -> None:
    assert parts_of("Hi") == [Text("Hi")]


def test_an_image_is_known_by_what_it_holds_or_by_where_it_lies() -> None:
    content = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}},
        {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}},
        {"type": "image_url", "image_url": "https://example.org/cat.jpg"},
    ]

    assert parts_of(content) == [
        Text("What is it?"),
        Image("image/png", data="aGVsbG8="),
        Image("image/png", url="https://example.org/cat.png"),
        Image("image/jpeg", url="https://example.org/cat.jpg"),
    ]
    assert text_of(content) == "What is it?"


def test_no_content_has_no_parts() -> None:
    assert parts_of(None) == []
