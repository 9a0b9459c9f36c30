"""What crosses the launcher's socket: one JSON object a packet, descriptors beside it.

Nothing secret crosses it. What only the sandbox may know (tokens, environment) goes straight from the
caller to the sandbox, over a socket whose far end is handed through as a descriptor.
"""

import array
import json
import socket
from dataclasses import asdict, dataclass
from typing import Any, Final

MAX_PACKET: Final = 64 * 1024
MAX_FDS: Final = 253
"""SCM_MAX_FD of the kernel."""


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """One sandbox to start. `layers` are directory names in the pool, bottom first; sizes are in MiB."""

    sandbox_id: str
    layers: tuple[str, ...]
    cpu_count: int
    memory_mb: int
    disk_mb: int
    pids: int
    internet: bool

    @classmethod
    def from_wire(cls, message: dict[str, Any]) -> "LaunchSpec":
        return cls(**{**message, "layers": tuple(message["layers"])})

    def to_wire(self) -> dict[str, Any]:
        return asdict(self)


def send(sock: socket.socket, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
    """Send one packet; a closed or full peer is an OSError."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([json.dumps(message).encode()], ancillary)


def receive(sock: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Receive one packet and its descriptors (close-on-exec); None when the peer has closed."""
    data, fds, _, _ = socket.recv_fds(sock, MAX_PACKET, MAX_FDS, socket.MSG_CMSG_CLOEXEC)
    if not data:
        return None
    return json.loads(data), fds
