"""An FTP server on this machine: a file system that has no path here, as far as its users can tell."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import ThreadedFTPServer

USER, PASSWORD = "rows", "pass"


@contextmanager
def ftp_server(folder: Path, received: list[str] | None = None) -> Iterator[str]:
    """Serves a folder, and notes the files that it receives; its URL."""
    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, PASSWORD, str(folder), perm="elradfmwMT")

    class Handler(FTPHandler):
        """Of this server alone."""

        def on_file_received(self, file: str) -> None:
            if received is not None:
                received.append(Path(file).name)

    Handler.authorizer = authorizer
    server = ThreadedFTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"handle_exit": False}, name="ftp")
    thread.start()
    try:
        host, port = server.address
        yield f"ftp://{USER}:{PASSWORD}@{host}:{port}/"
    finally:
        server.close_all()
        thread.join()
