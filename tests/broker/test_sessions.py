"""Who is connected, and which supervisor has a step process."""

from __future__ import annotations

from distilmq.protocol.messages import Hello
from distilmq.transport.ports import PeerId
from distilmq_broker.sessions import Sessions


def test_a_process_belongs_to_the_supervisor_that_came_last_under_the_name_of_its_host() -> None:
    sessions = Sessions()
    for session in ("killed", "following"):
        sessions.join(Hello(role="supervisor", worker="h", session=session), PeerId(session.encode()))
    sessions.join(Hello(role="worker", worker="h", session="process"), PeerId(b"p"))

    supervisor = sessions.supervisor_of("process")

    assert supervisor is not None
    assert supervisor.hello.session == "following"


def test_a_process_belongs_to_the_supervisor_that_names_it_whatever_name_they_go_by() -> None:
    sessions = Sessions()
    for session, worker in (("renamed", "h-4e6b7e"), ("other", "h")):
        sessions.join(Hello(role="supervisor", worker=worker, session=session), PeerId(session.encode()))
    sessions.join(Hello(role="worker", worker="h", session="process"), PeerId(b"p"))
    renamed = sessions.find("renamed")
    assert renamed is not None
    renamed.children = ("process",)

    sessions.join(Hello(role="supervisor", worker="h-4e6b7e", session="renamed"), PeerId(b"another connection"))

    supervisor = sessions.supervisor_of("process")
    assert supervisor is not None
    assert supervisor.hello.session == "renamed"
