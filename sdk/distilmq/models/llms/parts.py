"""The parts of a message, text and images in OpenAI's way, read once for providers that have another way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """An image, by what it holds or by where it lies."""

    media_type: str
    data: str | None = None
    """In base64."""
    url: str | None = None


def parts_of(content: Any) -> list[Text | Image]:
    """The parts of a message's content, which may be bare text."""
    if isinstance(content, str):
        return [Text(content)]
    return [_part(part) for part in cast("Iterable[dict[str, Any]]", content or [])]


def text_of(content: Any) -> str:
    """The text of a message's content; images are left out."""
    return "".join(part.text for part in parts_of(content) if isinstance(part, Text))


def _part(part: dict[str, Any]) -> Text | Image:
    if part.get("type") != "image_url":
        return Text(part.get("text", ""))
    given = part["image_url"]
    url = cast("str", given["url"] if isinstance(given, dict) else given)
    if url.startswith("data:"):
        kind, _, data = url.removeprefix("data:").partition(";base64,")
        return Image(kind or "image/jpeg", data=data)
    return Image("image/png" if url.lower().endswith(".png") else "image/jpeg", url=url)
