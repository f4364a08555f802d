"""Messages as frames: whatever stands in their texts arrives."""

from __future__ import annotations

from distilmq.protocol.codec import FROM_PEER, decode, encode
from distilmq.protocol.messages import Note


def test_a_text_that_has_no_utf8_arrives_spelled_out() -> None:
    note = Note(session="s", event="logged", text="half of an emoji: \ud83d")

    assert decode(encode(note), FROM_PEER)[0].text == "half of an emoji: \\ud83d"
