"""What crosses the launcher's socket: one JSON object a packet, descriptors beside it.

Nothing secret crosses it. What only the sandbox may know (tokens, environment) goes straight from the
caller to the sandbox, over a socket whose far end is handed through as a descriptor.
"""

import array
import json
import socket
from dataclasses import asdict, dataclass
from typing import Any, Final

from berm.launcher.policy import Policy

MAX_PACKET: Final = 64 * 1024
MAX_FDS: Final = 253
"""SCM_MAX_FD of the kernel."""


KERNEL: Final = ("/proc", "/sys", "/dev")
"""What a sandbox has of the kernel's; nothing is mounted there."""

MAX_TREES: Final = 200
"""Most layers and kept directories of one sandbox, all its mounts taken together: each is a descriptor."""


_WRITTEN: Final = ("caches/", "volumes/")
"""The sources that a sandbox writes to for all to see."""


def is_kernels(path: str) -> bool:
    """Whether an absolute path without `..` is one of the kernel's, or in it."""
    return any(path == own or path.startswith(f"{own}/") for own in KERNEL)


@dataclass(frozen=True, slots=True)
class MountSpec:
    """One mount at `target`, an absolute path. `path` is the part of the content that is mounted.

    The content is memory if `size_mb` is not 0, else `sources`: `layers/NAME`, bottom first, or a kept
    directory, `caches/NAME`, `volumes/NAME` or `files/NAME`. Of these a sandbox writes to caches and volumes
    only: what it writes to the others is its own, and goes with it. `trees` are those on the way to the
    sandbox: indices of what is handed over.
    """

    target: str
    path: str = ""
    sources: tuple[str, ...] = ()
    size_mb: int = 0
    read_only: bool = False
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    trees: tuple[int, ...] = ()

    @property
    def is_overlaid(self) -> bool:
        """Whether what is written must not reach the content."""
        others = any(not source.startswith(_WRITTEN) for source in self.sources)
        return others and not self.read_only

    @classmethod
    def from_wire(cls, message: dict[str, Any]) -> "MountSpec":
        lists = {"sources": tuple(message["sources"]), "trees": tuple(message["trees"])}
        return cls(**{**message, **lists})


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
    mounts: tuple[MountSpec, ...] = ()
    generation: int = 0
    """How often it has been paused, if it is to go on from the files it had then; 0 for a new one."""
    policy: Policy | None = None
    """What it may reach, if more is to be said of that than `internet`."""

    @classmethod
    def from_wire(cls, message: dict[str, Any]) -> "LaunchSpec":
        mounts = tuple(map(MountSpec.from_wire, message["mounts"]))
        policy = message["policy"] and Policy.from_wire(message["policy"])
        layers = tuple(message["layers"])
        return cls(**{**message, "layers": layers, "mounts": mounts, "policy": policy})

    def to_wire(self) -> dict[str, Any]:
        return {**asdict(self), "policy": self.policy and self.policy.to_wire()}


def send(sock: socket.socket, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
    """Send one packet; a closed or full peer is an OSError, a packet that is too large a ValueError."""
    data = json.dumps(message).encode()
    if len(data) > MAX_PACKET:
        raise ValueError(f"a packet of {len(data)} bytes is more than {MAX_PACKET}")
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], ancillary)


def receive(sock: socket.socket, flags: int = 0) -> tuple[dict[str, Any], list[int]] | None:
    """Receive one packet and its descriptors (close-on-exec); None when the peer has closed.

    Raises BlockingIOError when there is none, if `flags` has MSG_DONTWAIT (recv(2)).
    """
    # socket.recv_fds() of Python 3.11 takes flags and passes none of them on.
    space = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)
    data, ancillary, _, _ = sock.recvmsg(MAX_PACKET, space, socket.MSG_CMSG_CLOEXEC | flags)
    if not data:
        return None
    fds = array.array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(content[: len(content) // fds.itemsize * fds.itemsize])
    return json.loads(data), list(fds)
