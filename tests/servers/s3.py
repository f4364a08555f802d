"""An object store on this machine that speaks S3: moto's server, made slow, strict about its key, or absent at will."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from fsspec import asyn
from moto.core.models import default_user_config
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from s3fs import S3FileSystem
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

KEY, SECRET = "rows-key", "rows-secret-0123456789"
_REFUSED = b'<?xml version="1.0"?><Error><Code>InvalidAccessKeyId</Code><Message>no such key</Message></Error>'


class ObjectStore:
    """What is kept in it survives its absence."""

    def __init__(self) -> None:
        self.delay = 0.0
        """Seconds that each request takes."""
        self.refuse = False
        """Whether it lets nobody in."""
        self.requests: list[tuple[str, str]] = []
        """Method and path of each request that was let in."""
        self.port = 0
        self._open = threading.Event()
        self._open.set()
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server: BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def environment(self, *, key: str = KEY) -> dict[str, str]:
        """What those who use it have in their environment."""
        return {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def options(self) -> dict[str, Any]:
        """The same as arguments of the file system."""
        return {"key": KEY, "secret": SECRET, "client_kwargs": {"endpoint_url": self.url, "region_name": "us-east-1"}}

    @property
    def buckets(self) -> list[str]:
        """Their names."""
        return sorted(self._backend().buckets)

    def make_bucket(self, name: str) -> None:
        """An empty one."""
        self._backend().create_bucket(name, "us-east-1")

    def objects(self, bucket: str) -> list[str]:
        """The names of what is in a bucket."""
        return sorted(self._backend().buckets[bucket].keys)

    def come(self) -> None:
        """It answers, at the port where it was before."""
        self._server = make_server("127.0.0.1", self.port, self._answer, threaded=True, request_handler=_Silent)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="s3")
        self._thread.start()

    def hold(self) -> None:
        """From now on it answers nobody."""
        self._open.clear()

    def release(self) -> None:
        """It answers again, those first who have waited."""
        self._open.set()

    def go(self) -> None:
        """Nobody listens there any more."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if self.refuse or f"Credential={KEY}/" not in environ.get("HTTP_AUTHORIZATION", ""):
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [_REFUSED]
        self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        self._open.wait()
        time.sleep(self.delay)
        return self._app(environ, start_response)

    def _backend(self) -> Any:
        return s3_backends["123456789012"]["aws"]


class _Silent(WSGIRequestHandler):
    """Says nothing of each request."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """See `WSGIRequestHandler`."""


@contextmanager
def object_store(*buckets: str) -> Iterator[ObjectStore]:
    """A store with empty buckets."""
    default_user_config["core"]["reset_boto3_session"] = False
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    s3_backends.reset()
    store = ObjectStore()
    for bucket in buckets:
        store.make_bucket(bucket)
    store.come()
    try:
        yield store
    finally:
        store.release()
        _let_go_of_clients()
        store.go()


def _let_go_of_clients() -> None:
    """Closes the connections of this process, and ends the thread that fsspec has for them."""
    loop, thread = asyn.loop[0], asyn.iothread[0]
    if loop is None or thread is None:
        return
    for client in S3FileSystem._cache.values():
        if client._s3creator is not None:
            asyncio.run_coroutine_threadsafe(client._s3creator.__aexit__(None, None, None), loop).result(10)
    S3FileSystem.clear_instance_cache()
    asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    asyn.loop[0] = asyn.iothread[0] = None
