"""Messages for a run that is not up yet: kept in order, and never more than there is room for."""

from __future__ import annotations

from distilmq.transport.ports import PeerId
from distilmq_broker.front.mailbox import Mailbox

PEER = PeerId(b"peer")


def test_a_box_gives_what_was_put_into_it_once_and_in_order() -> None:
    mailbox = Mailbox()
    mailbox.put("one", PEER, "worker", [b"a"])
    mailbox.put("two", PEER, "client", [b"x"])
    mailbox.put("one", PEER, "worker", [b"b"])

    assert mailbox.take("one") == [(PEER, "worker", [b"a"]), (PEER, "worker", [b"b"])]
    assert mailbox.take("one") == []
    assert mailbox.take("two") == [(PEER, "client", [b"x"])]


def test_the_oldest_make_room_for_those_that_come() -> None:
    mailbox = Mailbox(messages=2, size=100)
    for number in range(4):
        mailbox.put("one", PEER, "worker", [b"%d" % number])
    few = mailbox.take("one")
    for _ in range(3):
        mailbox.put("one", PEER, "worker", [b"x" * 40])
    small = mailbox.take("one")

    assert [frames for _, _, frames in few] == [[b"2"], [b"3"]]
    assert len(small) == 2
    assert mailbox.dropped == 3
