"""A switch between machines that are network namespaces: it delays every frame, loses some, and takes links down.

A machine is a namespace with one device, `eth0`, whose frames this process reads and writes (a TAP device). The
namespaces have no names, no way to the network of this machine, and no owner but this process and those that were
started in them: when these end, however they end, the kernel removes them with their devices.

On standard output it says, first, which of its files is which namespace, or why it can make none; then each link that
it takes down. On standard input it is told which: `cut NAME SECONDS AFTER`, at once or when so many bytes more have
come to the machine. It ends with its standard input.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field

ADDRESS = "192.0.2.{}"
"""RFC 5737: addresses that are nobody's."""
_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x400454CA, 0x8913, 0x8914
_IFF_UP, _IFF_TAP, _IFF_NO_PI = 0x1, 0x2, 0x1000
_DEVICE = b"eth0"
_FRAME = 2048
_CARRIED = (b"\x08\x00", b"\x08\x06")
"""IPv4 and ARP; what IPv6 says of itself would only take the place of others in the draws."""
_SET_UP = """\
link set lo up
link set eth0 address {mac}
address add {address}/24 dev eth0
link set eth0 up
"""


@dataclass
class Port:
    """Where a machine is plugged in."""

    name: str
    mac: bytes
    namespace: int
    """An open file, by which others get into the machine."""
    frames: int
    """The other end of its device."""
    control: socket.socket
    """A socket inside the machine, by which its device is taken up and down."""
    draws: random.Random
    received: int = 0
    """Bytes that came to the machine."""
    cut_at: float = float("inf")
    """How many are to have come when its link goes down."""
    cut_for: float = 0.0
    mended_at: float | None = None
    """When its link comes up again; None while it is up."""

    def switch(self, *, up: bool) -> None:
        """Takes its link up or down."""
        request = struct.pack("16sH22x", _DEVICE, 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(self.control, _SIOCGIFFLAGS, request), 16)
        wanted = flags | _IFF_UP if up else flags & ~_IFF_UP
        fcntl.ioctl(self.control, _SIOCSIFFLAGS, struct.pack("16sH22x", _DEVICE, wanted))


def plug_in(number: int, name: str, seed: int) -> Port:
    """Makes a machine; this process is inside it afterwards.

    Raises:
        OSError: this user may not, or the kernel cannot.
    """
    leave_for_a_new_namespace()
    mac = bytes([2, 0, 0, 0, 0, number])
    frames = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(frames, _TUNSETIFF, struct.pack("16sH22x", _DEVICE, _IFF_TAP | _IFF_NO_PI))
    commands = _SET_UP.format(mac=mac.hex(":"), address=ADDRESS.format(number))
    subprocess.run(["ip", "-batch", "-"], input=commands, text=True, check=True, stdout=subprocess.DEVNULL)
    return Port(
        name=name,
        mac=mac,
        namespace=os.open("/proc/self/ns/net", os.O_RDONLY),
        frames=frames,
        control=socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        draws=random.Random(f"{seed} {name}"),
    )


def leave_for_a_new_namespace() -> None:
    """An empty one."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "a network namespace")


@dataclass
class Switch:
    """Carries frames from port to port.

    Args:
        ports: of all machines.
        delay: seconds that a frame is on its way.
        loss: share of the frames that never arrive.
    """

    ports: list[Port]
    delay: float
    loss: float
    _on_the_way: deque[tuple[float, Port, bytes]] = field(default_factory=deque)
    _told: bytes = b""

    def serve(self, orders: int) -> None:
        """Until there are no more orders."""
        of_file = {port.frames: port for port in self.ports}
        while True:
            ready, _, _ = select.select([orders, *of_file], [], [], self._patience())
            if orders in ready and not self._obey(orders):
                return
            for file in ready:
                if file != orders:
                    self._take(of_file[file])
            self._deliver(time.monotonic())
            self._mend(time.monotonic())

    def _patience(self) -> float | None:
        times = [port.mended_at for port in self.ports if port.mended_at is not None]
        times += [due for due, _, _ in list(self._on_the_way)[:1]]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _take(self, port: Port) -> None:
        while True:
            try:
                frame = os.read(port.frames, _FRAME)
            except OSError:
                return  # there is no more, or its link is down
            if frame[12:14] in _CARRIED and port.draws.random() >= self.loss:
                due = time.monotonic() + self.delay
                self._on_the_way.extend((due, other, frame) for other in self._meant(port, frame))

    def _meant(self, port: Port, frame: bytes) -> list[Port]:
        to_all = bool(frame[0] & 1)
        return [other for other in self.ports if other is not port and (to_all or other.mac == frame[:6])]

    def _deliver(self, now: float) -> None:
        while self._on_the_way and self._on_the_way[0][0] <= now:
            _, port, frame = self._on_the_way.popleft()
            try:
                port.received += os.write(port.frames, frame)
            except OSError:
                continue  # its link is down
            if port.received >= port.cut_at:
                self._cut(port, now)

    def _obey(self, orders: int) -> bool:
        """Whether there can be more orders."""
        told = os.read(orders, _FRAME)
        *lines, self._told = (self._told + told).split(b"\n")
        for line in lines:
            _, name, seconds, after = line.decode().split()
            port = next(port for port in self.ports if port.name == name)
            port.cut_at, port.cut_for = port.received + int(after), float(seconds)
            if not int(after):
                self._cut(port, time.monotonic())
        return bool(told)

    def _cut(self, port: Port, now: float) -> None:
        port.cut_at, port.mended_at = float("inf"), now + port.cut_for
        port.switch(up=False)
        print(port.name, flush=True)

    def _mend(self, now: float) -> None:
        for port in self.ports:
            if port.mended_at is not None and port.mended_at <= now:
                port.mended_at = None
                port.switch(up=True)


def main() -> None:
    """Makes the machines, says where they are, and carries their frames."""
    parser = argparse.ArgumentParser()
    parser.add_argument("machines", nargs="+")
    parser.add_argument("--delay", type=float, required=True)
    parser.add_argument("--loss", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    given = parser.parse_args()
    try:
        ports = [plug_in(number, name, given.seed) for number, name in enumerate(given.machines, 1)]
        leave_for_a_new_namespace()
    except OSError as error:
        print(json.dumps({"reason": str(error)}), flush=True)
        return
    print(json.dumps({"namespaces": {port.name: port.namespace for port in ports}}), flush=True)
    Switch(ports, given.delay, given.loss).serve(sys.stdin.fileno())


if __name__ == "__main__":
    main()
