"""A server of SSH: its machine is a shell of this one, with a home of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import asyncssh
import psutil


class SshServer:
    """Serves on a port of loopback, in a thread, until the block ends.

    Args:
        folder: for keys, and for the home of whoever comes in.
        name: under which `config` has the machine.
        environment: of commands, over that of this process.
    """

    def __init__(self, folder: Path, name: str, **environment: str) -> None:
        self.home = folder / f"home of {name}"
        self.home.mkdir()
        self._folder = folder
        self._name = name
        self._environment = {**os.environ, "HOME": str(self.home), **environment}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._client_key = asyncssh.generate_private_key("ssh-ed25519")
        self.port = 0

    def __enter__(self) -> SshServer:
        self._thread.start()
        self._server = self._await(self._listen())
        self.port = self._server.get_port()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes():
            process.kill()
        self._await(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def processes(self) -> list[psutil.Process]:
        """What runs on the machine: all that was started with its home."""
        return [process for process in psutil.process_iter() if self._has(process)]

    def _has(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("HOME") == str(self.home)
        except psutil.Error:
            return False

    def config(self) -> str:
        """What a user's `~/.ssh/config` says of it: it is known by its key, and lets in by one."""
        identity, known = self._folder / f"{self._name}-key", self._folder / f"{self._name}-known"
        self._client_key.write_private_key(identity)
        identity.chmod(0o600)
        known.write_text(f"[127.0.0.1]:{self.port} {self._host_key.export_public_key().decode()}")
        return (
            f"Host {self._name}\n HostName 127.0.0.1\n Port {self.port}\n IdentityFile {identity}\n"
            f" IdentitiesOnly yes\n UserKnownHostsFile {known}\n StrictHostKeyChecking yes\n BatchMode yes\n"
        )

    def _await(self, coroutine):  # type: ignore[no-untyped-def]  # whatever it gives
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30.0)

    async def _listen(self) -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[self._host_key],
            authorized_client_keys=asyncssh.import_authorized_keys(self._client_key.export_public_key().decode()),
            process_factory=self._run,
            encoding=None,
        )

    async def _close(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        shell = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", process.command or ""),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
        )
        said, complained = await shell.communicate(await process.stdin.read())
        process.stdout.write(said)
        process.stderr.write(complained)
        process.exit(shell.returncode or 0)
